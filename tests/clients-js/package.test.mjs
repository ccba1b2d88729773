import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import vm from 'node:vm';
import { gzipSync } from 'node:zlib';
import { buildSync } from 'esbuild';

import { classic, commonJs } from './classic.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = fileURLToPath(new URL('../../clients/js/', import.meta.url));
const websockJs = readFileSync(join(root, 'websock.js'), 'utf8');

/** A folder that is gone after the test, and is nowhere near node_modules. */
function temporaryDirectory(t) {
  const directory = mkdtempSync(join(tmpdir(), 'websock-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

function npmPack(t, ...args) {
  const output = execFileSync('npm', ['pack', '--json', '--silent', ...args], {
    cwd: root,
    env: { ...process.env, npm_config_cache: temporaryDirectory(t) },
  });
  return JSON.parse(output)[0];
}

const NAMES = ['Websock', 'WebsockError', 'socketWebClient'];

/** A folder in which the package, as it is packed, is installed. */
function installation(t) {
  const directory = temporaryDirectory(t);
  const { filename } = npmPack(t, '--pack-destination', directory);
  writeFileSync(join(directory, 'package.json'), '{"private":true}');
  execFileSync(
    'npm',
    ['install', '--offline', '--silent', '--no-audit', join(directory, filename)],
    {
      cwd: directory,
      env: { ...process.env, npm_config_cache: join(directory, 'cache') },
    },
  );
  return directory;
}

test('websock.js and websock.cjs are what their source makes', () => {
  assert.ok(websockJs === classic(), 'run: node tests/clients-js/classic.mjs');
  assert.ok(readFileSync(join(root, 'websock.cjs'), 'utf8') === commonJs(), 'likewise');
});

test('both kinds of modules have the same types', () => {
  const [mts, cts] = ['d.mts', 'd.cts'].map((end) => readFileSync(join(root, `websock.${end}`)));
  assert.ok(mts.equals(cts), 'run: cp websock.d.mts websock.d.cts');
});

test('websock.js is less than 8 KB gzipped', () => {
  assert.ok(gzipSync(websockJs, { level: 9 }).length < 8 << 10);
});

test('websock.js is a classic script that may be loaded twice', () => {
  const page = vm.createContext({ EventTarget });
  for (let times = 0; times < 2; times++) vm.runInContext(websockJs, page);
  for (const name of NAMES) {
    assert.equal(typeof page[name], 'function', name);
  }
});

test('websock.js is an ES module too, and then leaves no global', async (t) => {
  const file = join(temporaryDirectory(t), 'websock.mjs');
  copyFileSync(join(root, 'websock.js'), file);
  const module = await import(pathToFileURL(file).href);
  assert.deepEqual(Object.keys(module), NAMES);
  assert.equal(globalThis.Websock, undefined);
});

test('the package holds what it names, and nothing else', (t) => {
  const { files } = npmPack(t, '--dry-run');
  assert.deepEqual(files.map((file) => file.path).sort(), [
    'README.md',
    'package.json',
    'src/client.mjs',
    'src/errors.mjs',
    'src/legacy.mjs',
    'src/sse.mjs',
    'src/text.mjs',
    'websock.cjs',
    'websock.d.cts',
    'websock.d.mts',
    'websock.js',
    'websock.mjs',
  ]);
});

test('the package has no dependencies', () => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  assert.equal(dependencies, undefined);
});

test('the installed package is imported and required by its names', (t) => {
  const directory = installation(t);
  const run = (type, program) =>
    execFileSync(process.execPath, [`--input-type=${type}`, '-e', program], {
      cwd: directory,
      encoding: 'utf8',
    }).trim();
  for (const name of ['websock-client', 'websock-client/websock.js']) {
    const imported = `import * as all from '${name}'; console.log(Object.keys(all).join())`;
    assert.equal(run('module', imported), NAMES.join(), `import ${name}`);
    const required = `console.log(Object.keys(require('${name}')).join())`;
    assert.equal(run('commonjs', required), NAMES.join(), `require ${name}`);
  }
});

test('bundles of every format can be made of the installed package', (t) => {
  const directory = installation(t);
  for (const name of ['websock-client', 'websock-client/websock.js']) {
    for (const statement of [`import * as all from '${name}'`, `const all = require('${name}')`]) {
      for (const format of ['iife', 'cjs', 'esm']) {
        const contents = `${statement}; keys = Object.keys(all).join()`;
        const stdin = { contents, resolveDir: directory };
        const { outputFiles } = buildSync({ stdin, bundle: true, format, write: false });
        const page = vm.createContext({ EventTarget });
        vm.runInContext(outputFiles[0].text, page);
        assert.equal(page.keys, NAMES.join(), `${statement} as ${format}`);
      }
    }
  }
});

test('a copy of websock.js is required where files are CommonJS', (t) => {
  const directory = temporaryDirectory(t);
  copyFileSync(join(root, 'websock.js'), join(directory, 'websock.js'));
  const required = createRequire(join(directory, 'any.cjs'))('./websock.js');
  assert.deepEqual(Object.keys(required), NAMES);
});

// Where the types are used: what else is known there, and what is compiled.
const PLATFORMS = {
  'no library': [{}],
  'lib "dom"': [{ lib: ['es2022', 'dom'] }, 'types-dom.mts'],
  'lib "webworker"': [{ lib: ['es2022', 'webworker'] }, 'types-dom.mts'],
  '@types/node': [{ types: ['node'] }, 'types-dom.mts'],
  '@types/node and lib "dom"': [{ lib: ['es2022', 'dom'], types: ['node'] }, 'types-dom.mts'],
};

for (const [name, [compilerOptions, ...more]] of Object.entries(PLATFORMS)) {
  test(`the types fit their use, and refuse misuse, with ${name}`, (t) => {
    const files = ['types.mts', 'types-require.cts', ...more].map((file) => join(here, file));
    const typeRoots = [join(here, 'node_modules/@types')];
    const project = join(temporaryDirectory(t), 'tsconfig.json');
    writeFileSync(
      project,
      JSON.stringify({
        extends: join(here, 'tsconfig.json'),
        compilerOptions: { typeRoots, ...compilerOptions },
        files,
      }),
    );
    execFileSync(join(here, 'node_modules/.bin/tsc'), ['--project', project], { stdio: 'inherit' });
  });
}
