// The examples of docs/sign-in.md, as they are written there.
//
// A comment in front of each one names it: <!-- example: plain/login.php -->
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const MARKED = /<!-- example: (\S+) -->\n+```(\w+)\n(.*?)^```$/gms;

const text = readFileSync(new URL('../../docs/sign-in.md', import.meta.url), 'utf8');
const examples = new Map([...text.matchAll(MARKED)].map(([, name, , code]) => [name, code]));
const used = new Set();

/**
 * The text of an example. `replace` is for what only its reader knows, such as folders and
 * addresses: each key has to be there.
 */
export function example(name, replace = {}) {
  if (!examples.has(name)) throw new Error(`docs/sign-in.md has no example ${name}`);
  used.add(name);
  return Object.entries(replace).reduce((code, [from, to]) => {
    if (!code.includes(from)) throw new Error(`the example ${name} has no ${from}`);
    return code.replaceAll(from, to);
  }, examples.get(name));
}

/** For an address of the docs, where a test's nginx has a port of its own. */
export const onPort = (port) => ({ 'http://127.0.0.1/': `http://127.0.0.1:${port}/` });

/** Writes an example into a file, with the folders that it needs. */
export function install(name, file, replace) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, example(name, replace));
}

/** Examples that nobody has asked for yet. */
export function unused() {
  return [...examples.keys()].filter((name) => !used.has(name));
}

/** Languages of the code in the text, and how much of it has no name and so cannot be run. */
export function unnamed() {
  const fences = [...text.matchAll(/^```(\w+)$/gm)].map(([, language]) => language);
  const runnable = fences.filter((language) => language !== 'sh' && language !== 'text');
  return runnable.length - examples.size;
}

/** A path beside this file. */
export function beside(...names) {
  return join(import.meta.dirname, ...names);
}
