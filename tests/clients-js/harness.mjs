// Servers, clients, pushes, and waiting with a deadline.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import WS from 'ws';

import { Websock } from '../../clients/js/websock.mjs';
import { within } from './proxies.mjs';

export { listen, startHttpProxy, startProxy, within } from './proxies.mjs';

/** What the browser has and this Node may not. */
export const WebSocket = WS;

/** The next event of that type. */
export async function event(target, type) {
  const [happened] = await within(once(target, type), type);
  return happened;
}

/** The next event of that type for which `is` holds. */
export function eventWhere(target, type, is) {
  const found = new Promise((resolve) => {
    const listener = (happened) => {
      if (!is(happened)) return;
      target.removeEventListener(type, listener);
      resolve(happened);
    };
    target.addEventListener(type, listener);
  });
  return within(found, `${type} as expected`);
}

/** A client that comes back quickly and is closed when the test ends. */
export function connect(t, url, options) {
  const controller = new AbortController();
  t.after(() => controller.abort());
  const { signal } = controller;
  return new Websock(url, {
    WebSocket,
    log() {},
    firstDelay: 20,
    maxDelay: 100,
    signal,
    ...options,
  });
}

/** A client that is ready. */
export async function connected(t, url, options) {
  const client = connect(t, url, options);
  await event(client, 'ready');
  return client;
}

/** Starts the real server; ended with the test, if not before. */
export async function startServer(t, { port = 0, ini = {} } = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'websock-'));
  const settings = { adress: `ws://127.0.0.1:${port}`, console: 'true', ...ini };
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
  writeFileSync(join(directory, 'websock.ini'), lines.join('\n'));
  const child = spawn(process.env.WEBSOCK, ['-i', join(directory, 'websock.ini')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const end = once(child, 'exit');
  const stop = async (signal = 'SIGTERM') => {
    child.kill(signal);
    await within(end, 'the end of the server');
  };
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) await stop();
    rmSync(directory, { recursive: true });
  });
  const url = await within(listeningUrl(child.stdout), 'the line "Listening on"');
  return { url, port: Number(new URL(url).port), stop };
}

async function listeningUrl(output) {
  for await (const line of createInterface(output)) {
    const found = /Listening on (ws:\/\/[^ ,]+)/.exec(line);
    if (found) {
      output.resume();
      return found[1];
    }
  }
  throw new Error('the server ended before it listened');
}

/** A folder for what the server writes down. */
export function stateDirectory(t) {
  const directory = mkdtempSync(join(tmpdir(), 'websock-state-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** A port on which nobody listens. */
export async function unusedPort() {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** A push; its status and what is answered. */
export async function push({ port }, packet) {
  const response = await fetch(`http://127.0.0.1:${port}/push`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(packet),
  });
  return [response.status, await response.json()];
}

/** The numbers below `end`. */
export const range = (end) => Array.from({ length: end }, (_, number) => number);

/** Small, repeatable random numbers. */
export function randomFrom(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
