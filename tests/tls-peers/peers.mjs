// Node's ws and headless Chromium against a server that speaks TLS.
//   WEBSOCK_PORT, WEBSOCK_CA: where it is and who vouches for it. CHROMIUM: the browser, which
//   trusts what the NSS database of $HOME trusts.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { chromium } from 'playwright-core';
import WebSocket from 'ws';

const { WEBSOCK_PORT: port, WEBSOCK_CA: caFile, CHROMIUM: executablePath } = process.env;
const ca = await readFile(caFile);
const limit = { timeout: 60_000 };

/** A client with its uuid and the packets that it has got. */
async function open(options = {}) {
  const socket = new WebSocket(`wss://localhost:${port}/web`, { ca, ...options });
  const packets = [], waiting = [];
  socket.on('message', data => {
    const packet = JSON.parse(data);
    waiting.length > 0 ? waiting.shift()(packet) : packets.push(packet);
  });
  socket.packet = () => packets.length > 0 ? packets.shift() : new Promise(take => waiting.push(take));
  await once(socket, 'open');
  const ready = await socket.packet();
  assert.equal(ready.opcode, 'ready');
  socket.uuid = ready.uuid;
  return socket;
}

async function echo(socket, packet) {
  socket.send(JSON.stringify(packet));
  assert.equal((await socket.packet()).opcode, 'next');
  assert.deepEqual(await socket.packet(), packet);
}

async function close(socket) {
  socket.close(1000, 'done');
  const [code] = await once(socket, 'close');
  assert.equal(code, 1000);
}

/** What curl says to a push. */
async function push(packet) {
  const json = ['-H', 'Content-Type: application/json', '-d', JSON.stringify(packet)];
  const { stdout } = await promisify(execFile)('curl',
    ['--silent', '--cacert', caFile, ...json, `https://localhost:${port}/push`]);
  return JSON.parse(stdout);
}

for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
  test(`ws: echo, 1 MiB, ping and close over ${maxVersion}`, limit, async () => {
    const socket = await open({ maxVersion });
    assert.equal(socket._socket.getProtocol(), maxVersion);
    await echo(socket, { opcode: 'echo', message: 'ä€𐍈' });
    await echo(socket, { opcode: 'echo', message: 'x'.repeat(1 << 20) });
    socket.ping('there?');
    const [payload] = await once(socket, 'pong');
    assert.equal(String(payload), 'there?');
    await close(socket);
  });
}

test('ws: two hundred connections at once', limit, async () => {
  const sockets = await Promise.all(Array.from({ length: 200 }, () => open()));
  await Promise.all(sockets.map((socket, number) => echo(socket, { opcode: 'echo', number })));
  await Promise.all(sockets.map(close));
});

test('ws: who does not trust the CA goes, and others stay', limit, async () => {
  const socket = await open();
  const stranger = new WebSocket(`wss://localhost:${port}/web`);
  const [error] = await once(stranger, 'error');
  assert.match(error.code, /SELF_SIGNED|UNABLE_TO/);
  await echo(socket, { opcode: 'echo' });
  await close(socket);
});

test('curl: a push reaches its client', limit, async () => {
  const socket = await open();
  const packet = { opcode: 'feedback', uuid: socket.uuid, message: 'from curl' };
  assert.deepEqual(await push(packet), { delivered: 1 });
  assert.deepEqual(await socket.packet(), packet);
  await close(socket);
});

test('Chromium: the page connects by wss and a push reaches it', limit, async () => {
  const browser = await chromium.launch({ executablePath, args: ['--headless', '--no-sandbox'] });
  try {
    const page = await browser.newPage();
    await page.goto(`https://localhost:${port}/`);
    await page.locator('#state[data-state="open"]').waitFor();
    const uuid = await page.locator('#uuid').textContent();
    assert.deepEqual(await push({ opcode: 'feedback', uuid, message: 'over TLS' }), { delivered: 1 });
    await page.locator('#log p', { hasText: 'over TLS' }).first().waitFor();
  } finally {
    await browser.close();
  }
});
