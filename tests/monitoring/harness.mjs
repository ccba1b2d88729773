// What both suites share: the server with an address for its status, clients, and waiting.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import WebSocket from 'ws';

import { freePort, within } from '../browser/harness.mjs';

export { freePort, within };

export const TOKEN = '0123456789abcdef';

/** A directory that goes with the suite. */
export async function workDirectory() {
  const path = await mkdtemp(join(tmpdir(), 'websock-monitoring-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** The server, with lines of its own in the ini. */
export async function startServer(directory, lines = [], ports) {
  ports ??= { clients: await freePort(), status: await freePort() };
  const ini = join(directory, `websock-${ports.clients}.ini`);
  await writeFile(ini, [
    `adress=ws://127.0.0.1:${ports.clients}`,
    `status=http://127.0.0.1:${ports.status}`,
    `pushToken=${TOKEN}`,
    'console=true',
    ...lines,
    '',
  ].join('\n'));
  const child = spawn(process.env.WEBSOCK, ['-i', ini]);
  const log = [];
  const listening = new Promise((resolve, reject) => {
    child.once('exit', code => reject(new Error(`the server has ended with ${code}: ${log.join('\n')}`)));
    createInterface({ input: child.stdout }).on('line', line => {
      log.push(line);
      if (line.includes('Status and metrics:')) resolve();
    });
  });
  await within(listening, 'the server');
  const server = {
    ports,
    log,
    pid: child.pid,
    clients: `ws://127.0.0.1:${ports.clients}`,
    http: `http://127.0.0.1:${ports.clients}`,
    status: `http://127.0.0.1:${ports.status}`,
    signal: name => child.kill(name),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      const [code] = await within(exit, 'the end of the server');
      if (code !== 0) throw new Error(`the server has ended with ${code}`);
    },
  };
  return server;
}

/** A client that has its `ready`; `next()` is its next message, `closed()` how it has ended. */
export async function connect(url, headers = {}) {
  const socket = new WebSocket(url, { headers });
  const arrived = [];
  const waiting = [];
  socket.on('message', data => {
    const take = waiting.shift();
    if (take) take(data.toString().trimEnd());
    else arrived.push(data.toString().trimEnd());
  });
  const end = new Promise(resolve => socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() })));
  const refused = new Promise((_, reject) => socket.once('error', reject));
  refused.catch(() => {});
  const client = {
    socket,
    closed: () => within(end, 'the end of a client'),
    next: () => (arrived.length ? Promise.resolve(arrived.shift()) : within(new Promise(resolve => waiting.push(resolve)), 'a message')),
    say: text => socket.send(text),
  };
  const first = JSON.parse(await Promise.race([client.next(), refused]));
  if (first.opcode !== 'ready') throw new Error(first.error);
  client.uuid = first.uuid;
  return client;
}

/** Asks until `done` says so of the answer. */
export async function until(what, ask, done) {
  let answer;
  const asking = (async () => {
    for (;;) {
      answer = await ask();
      if (done(answer)) return answer;
      await new Promise(resolve => setTimeout(resolve, 50));
    }
  })();
  return within(asking, what).catch(error => {
    throw new Error(`${error.message}; the last answer: ${JSON.stringify(answer)}`);
  });
}

/** The samples of /metrics: name with labels → value. */
export async function samples(url) {
  const response = await fetch(`${url}/metrics`);
  if (response.status !== 200) throw new Error(`/metrics: ${response.status}`);
  const text = await response.text();
  const lines = text.split('\n').filter(line => line && !line.startsWith('#'));
  return new Map(lines.map(line => {
    const at = line.lastIndexOf(' ');
    return [line.slice(0, at), Number(line.slice(at + 1))];
  }));
}
