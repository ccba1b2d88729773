// Servers, a proxy that fails as told, and waiting with a deadline.
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import WS from 'ws';

import { Websock } from '../../clients/js/websock.mjs';

const DEADLINE_MS = 20_000;

/** What the browser has and this Node may not. */
export const WebSocket = WS;

/** The promise, or an error that says what was waited for. */
export function within(promise, what) {
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), DEADLINE_MS);
  });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}

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

/** Listens on a free port of this machine with `server`, until the test ends. */
export async function listen(t, server) {
  const sockets = new Set();
  server.on('connection', (socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    sockets.forEach((socket) => socket.destroy());
    server.close();
  });
  return server.address().port;
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

/**
 * Passes bytes between clients and the server at `port`, until told otherwise: `hold('up')` keeps
 * what clients send, `hold('down')` what they get, until `release()`; `held(way)` resolves when
 * something has been kept; `cut()` breaks every connection, and what was kept is lost.
 */
export async function startProxy(t, port) {
  const ways = { up: new Way(), down: new Way() };
  const sockets = new Set();
  const server = net.createServer((client) => {
    const upstream = net.connect(port, '127.0.0.1');
    ways.up.join(client, upstream);
    ways.down.join(upstream, client);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {}); // `close` follows
      socket.on('close', () => {
        [client, upstream].forEach((end) => sockets.delete(end.destroy()));
      });
    }
  });
  return {
    url: `ws://127.0.0.1:${await listen(t, server)}/web`,
    hold: (way) => (ways[way].isHeld = true),
    held: (way) => within(ways[way].kept(), `bytes on the way ${way}`),
    release: () => Object.values(ways).forEach((way) => way.release()),
    cut: () => sockets.forEach((socket) => socket.destroy()),
  };
}

/** One of the two directions of a proxy. */
class Way extends EventEmitter {
  isHeld = false;
  #kept = [];

  join(from, to) {
    from.on('data', (bytes) => {
      if (!this.isHeld) return to.write(bytes);
      this.#kept.push({ to, bytes });
      this.emit('kept');
    });
  }

  async kept() {
    if (!this.#kept.length) await once(this, 'kept');
  }

  release() {
    this.isHeld = false;
    for (const { to, bytes } of this.#kept.splice(0)) if (!to.destroyed) to.write(bytes);
  }
}
