// What the suites share: the server, waiting with a deadline, and pages of another site.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const DEADLINE_MS = 20_000;

/** The promise, or an error that says what was waited for. */
export function within(promise, what) {
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), DEADLINE_MS);
  });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}

/** A port that nobody listens on; a server gets it again after a restart. */
export async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  await new Promise(resolve => probe.close(resolve));
  return port;
}

/** Starts the server, with the demo page, on a port; its ini goes into the directory, with `more` lines. */
export async function startServer(directory, port, more = '') {
  const ini = join(directory, 'websock.ini');
  await writeFile(ini, `adress=ws://127.0.0.1:${port}\nconsole=true\ndemo=true\n${more}`);
  const child = spawn(process.env.WEBSOCK, ['-i', ini]);
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.includes('Demo page:')) break;
  }
  child.stdout.resume();
  return child;
}

/** A site on a port of its own, with the client as /websock.js; `pages`: path to {html, headers}. */
export async function startSite(pages) {
  const client = await readFile(new URL('../../clients/js/websock.js', import.meta.url));
  const site = http.createServer(({ url }, response) => {
    const { html = '<!doctype html>', headers } = pages[url] ?? {};
    const [type, body] = url === '/websock.js' ? ['text/javascript', client] : ['text/html', html];
    response.writeHead(200, { 'Content-Type': type, ...headers }).end(body);
  });
  site.listen(0, '127.0.0.1');
  await once(site, 'listening');
  const stop = () => {
    site.closeAllConnections();
    site.close();
  };
  return { url: `http://127.0.0.1:${site.address().port}`, stop };
}
