// A browser's own EventSource against the server, and what its page sends by fetch (protocol.md 9.9, 9.10).
//   node --test events.mjs      WEBSOCK: the program. CHROMIUM: the browser.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { freePort, startServer, startSite } from './harness.mjs';

let browser, directory, port, server, site;
const url = path => `http://127.0.0.1:${port}${path}`;

/** Opens a stream in the page; what comes is kept in `events`, by its kind. */
const READER = `
  window.events = [];
  window.read = (url, init) => {
    window.source = new EventSource(url, init);
    source.onopen = () => events.push({ type: 'open' });
    source.onerror = () => events.push({ type: 'error', state: source.readyState });
    source.onmessage = ({ data, lastEventId }) => {
      const packet = JSON.parse(data);
      if (packet.opcode === 'ready') window.own = packet;
      events.push({ type: 'message', packet, lastEventId });
    };
    source.addEventListener('close', ({ data }) => events.push({ type: 'close', ...JSON.parse(data) }));
  };
  window.say = (url, packet, secret = own.send) =>
    fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ uuid: own.uuid, secret, message: JSON.stringify(packet) }),
    }).then(({ status }) => status);
  window.count = (type, opcode) =>
    events.filter((event) => event.type === type && (!opcode || event.packet?.opcode === opcode)).length;
`;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'websock-events-'));
  port = await freePort();
  server = await startServer(directory, port);
  site = await startSite({ '/page': { html: '<!doctype html><title>Another site</title>' } });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ['--headless', '--no-sandbox'],
  });
});

after(async () => {
  await browser?.close();
  site?.stop();
  if (server?.exitCode === null) await stop(server);
  await rm(directory, { recursive: true });
});

async function stop(child) {
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [0, null]);
}

async function open(address) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(address);
  await page.evaluate(READER);
  return page;
}

const awaitCount = (page, number, type, opcode) =>
  page.waitForFunction(([number, type, opcode]) => count(type, opcode) >= number, [number, type, opcode]);

async function push(packet) {
  const response = await fetch(url('/push'), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(packet),
  });
  return response.json();
}

for (const [name, address, init] of [
  ['of its own site', () => url('/')],
  ['of another site, with cookies', () => `${site.url}/page`, { withCredentials: true }],
]) {
  test(`a page ${name} reads events and sends packets`, async () => {
    const page = await open(address());
    await page.evaluate(([url, init]) => read(url, init), [url('/sse?user=1'), init]);
    await awaitCount(page, 1, 'message', 'ready');
    const { uuid } = await page.evaluate(() => own);
    const text = 'ä\n\r\n"line ends" data: x';
    assert.deepEqual(await push({ opcode: 'feedback', uuid, text }), { delivered: 1 });
    await awaitCount(page, 1, 'message', 'feedback');
    const told = await page.evaluate(() => events.find(({ packet }) => packet?.opcode === 'feedback').packet.text);
    assert.equal(told, text);
    assert.equal(await page.evaluate(url => say(url, { opcode: 'echo', a: [1] }), url('/send')), 204);
    await awaitCount(page, 1, 'message', 'echo');
    assert.equal(await page.evaluate(() => count('message', 'next')), 1);
    assert.equal(await page.evaluate(url => say(url, { opcode: 'echo' }, 'wrong'), url('/send')), 403);
    assert.equal(await page.evaluate(url => say(url, { opcode: 'quit' }), url('/send')), 204);
    await awaitCount(page, 1, 'close');
    assert.deepEqual(
      await page.evaluate(() => events.find(({ type }) => type === 'close')),
      { type: 'close', code: 1000, reason: 'quit' },
    );
    await page.context().close();
  });
}

test('a browser comes back by itself when the server has been replaced', async () => {
  const page = await open(url('/'));
  await page.evaluate(url => read(url), url('/sse'));
  await awaitCount(page, 1, 'message', 'ready');
  await stop(server);
  await awaitCount(page, 1, 'close');
  assert.equal(await page.evaluate(() => events.find(({ type }) => type === 'close').code), 1001);
  server = await startServer(directory, port);
  await awaitCount(page, 2, 'message', 'ready');
  const states = await page.evaluate(() => events.filter(({ type }) => type === 'error').map(({ state }) => state));
  assert.ok(states.every(state => state === 0), `it has given up: ${states}`);
  await page.context().close();
});

test('what was said while the server was replaced comes to a browser that reads again, once and in order', async () => {
  await stop(server);
  const state = `stateDir=${join(directory, 'state')}\n`;
  server = await startServer(directory, port, state);
  const page = await open(url('/'));
  await page.evaluate(url => read(url), url('/sse?resume=1'));
  await awaitCount(page, 1, 'message', 'ready');
  await push({ opcode: 'broadcast', number: 1 });
  await awaitCount(page, 1, 'message', 'broadcast');
  for (let round = 2; round < 6; round += 2) {
    await stop(server);
    server = await startServer(directory, port, state);
    // Most likely before it has come back.
    await push({ opcode: 'broadcast', number: round });
    await awaitCount(page, round, 'message', 'broadcast');
    await push({ opcode: 'broadcast', number: round + 1 });
    await awaitCount(page, round + 1, 'message', 'broadcast');
  }
  const told = await page.evaluate(() =>
    events.filter(({ packet }) => packet?.opcode === 'broadcast').map(({ packet, lastEventId }) => [packet.number, packet.cursor === lastEventId]),
  );
  assert.deepEqual(told, [1, 2, 3, 4, 5].map(number => [number, true]));
  assert.equal(await page.evaluate(() => count('message', 'gap')), 0);
  await page.context().close();
});

test('a browser comes back that has asked a server which was about to end', async () => {
  await stop(server);
  server = await startServer(directory, port, 'closeTimeout=20\nshutdownTimeout=20\n');
  // It does not leave when it is told to, so that the end takes its time.
  const staying = connect(port, '127.0.0.1');
  staying.write(
    'GET /web HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  await once(staying, 'data');
  const page = await open(url('/'));
  await page.evaluate(url => read(url), url('/sse'));
  await awaitCount(page, 1, 'message', 'ready');
  const ended = once(server, 'exit');
  server.kill('SIGTERM');
  await awaitCount(page, 2, 'close');
  const codes = await page.evaluate(() => events.filter(({ type }) => type === 'close').map(({ code }) => code));
  assert.deepEqual(codes, [1001, 1012]);
  assert.equal(await page.evaluate(() => source.readyState), 0);
  staying.destroy();
  assert.deepEqual(await ended, [0, null]);
  server = await startServer(directory, port);
  await awaitCount(page, 2, 'message', 'ready');
  await page.context().close();
});

test('a no ends the attempts of a browser', async () => {
  const page = await open(`${site.url}/page`);
  await page.evaluate(url => read(url), url('/sse/none'));
  await awaitCount(page, 1, 'error');
  assert.equal(await page.evaluate(() => source.readyState), 2);
  await page.context().close();
});
