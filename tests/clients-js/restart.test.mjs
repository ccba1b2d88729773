// The server restarts and says when to come back (docs/protocol.md 12.1).
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Websock } from '../../clients/js/websock.mjs';
import { fakeClock, fakePage, fakeWebSocket, record } from './fake-socket.mjs';
import { connected, event, eventWhere, startServer, within } from './harness.mjs';

const URL = 'ws://localhost:8096/web';

async function openClient() {
  const WebSocket = fakeWebSocket();
  const client = new Websock(URL, { WebSocket, log() {} });
  await WebSocket.last.open();
  return { WebSocket, client };
}

async function setUp(t) {
  return { pass: fakeClock(t), ...(await openClient()) };
}

const restart = (after) => ({ opcode: 'restart', after });

test('it comes back when the server has said, and tells nobody of an error', async (t) => {
  const { pass, WebSocket, client } = await setUp(t);
  const events = record(client, 'close', 'error', 'message');
  await WebSocket.last.say(restart(4321));
  assert.equal(client.state, 'open', 'the server closes');
  await WebSocket.last.end(1012, 'the server restarts');
  assert.deepEqual(events.map(([type]) => type), ['close']);
  const { code, isFinal, delay } = events[0][1];
  assert.deepEqual([code, isFinal, delay], [1012, false, 4321]);
  await pass(4320);
  assert.equal(WebSocket.all.length, 1, 'not before');
  await pass(1);
  assert.equal(WebSocket.all.length, 2);
  await WebSocket.last.open('u2');
  assert.equal(client.uuid, 'u2');
});

test('a server that is not back yet is no error for a minute, and is asked more and more rarely', async (t) => {
  const { pass, WebSocket, client } = await setUp(t);
  t.mock.method(Math, 'random', () => 0.999);
  const events = record(client, 'close', 'error');
  await WebSocket.last.say(restart(1000));
  await WebSocket.last.end(1012);
  await pass(1000);
  const delays = [];
  for (let passed = 0; passed < 59_000; ) {
    await WebSocket.last.end();
    const { delay } = events.at(-1)[1];
    delays.push(Math.round(delay));
    passed += delay;
    await pass(delay);
  }
  assert.ok(events.every(([type]) => type === 'close'), 'no error in the first minute');
  assert.deepEqual(delays.slice(0, 4), [999, 1998, 3996, 7992]);
  await WebSocket.last.end();
  assert.equal(events.filter(([type]) => type === 'error').length, 1, 'an error from then on');
});

test('once it is back, a loss is a loss as ever', async (t) => {
  const { pass, WebSocket, client } = await setUp(t);
  t.mock.method(Math, 'random', () => 0.5);
  const events = record(client, 'close', 'error');
  await WebSocket.last.say(restart(10));
  await WebSocket.last.end(1012);
  await pass(10);
  await WebSocket.last.open();
  await WebSocket.last.end(1006);
  assert.equal(events.at(-1)[1].delay, 500);
  await pass(500);
  await WebSocket.last.end(1006);
  assert.ok(events.some(([type, { error }]) => type === 'error' && error.code === 'unreachable'));
});

test('the time counts from the packet, also if the connection breaks instead of being closed', async (t) => {
  const pass = fakeClock(t);
  for (const [passed, delay] of [
    [400, 600],
    [5000, 0],
  ]) {
    const { WebSocket, client } = await openClient();
    const closings = record(client, 'close');
    await WebSocket.last.say(restart(1000));
    await pass(passed);
    await WebSocket.last.end(1006);
    assert.equal(closings[0][1].delay, delay);
    client.quit();
  }
});

test('a page that is shown or online again waits as it was asked to', async (t) => {
  const { page, window } = fakePage(t);
  const { pass, WebSocket } = await setUp(t);
  await WebSocket.last.say(restart(3000));
  await WebSocket.last.end(1012);
  window.dispatchEvent(new Event('online'));
  page.dispatchEvent(new Event('visibilitychange'));
  assert.equal(WebSocket.all.length, 1);
  await pass(3000);
  assert.equal(WebSocket.all.length, 2);
  await WebSocket.last.end();
  window.dispatchEvent(new Event('online'));
  assert.equal(WebSocket.all.length, 3, 'from then on as ever');
});

test('what has no answer is sent again when it is back', async (t) => {
  const { pass, WebSocket, client } = await setUp(t);
  const own = client.send({ opcode: 'own', n: 1 });
  await WebSocket.last.say(restart(50));
  const later = client.echo('later');
  await WebSocket.last.end(1012);
  await pass(50);
  await WebSocket.last.open();
  assert.deepEqual(WebSocket.last.packets, [
    { opcode: 'own', n: 1 },
    { opcode: 'echo', message: 'later' },
  ]);
  await WebSocket.last.next();
  await WebSocket.last.next();
  await Promise.all([own, later]);
});

test('times that are none are messages, absurd ones are cut', async (t) => {
  const { WebSocket, client } = await setUp(t);
  const events = record(client, 'message', 'close');
  for (const after of ['5', null, [5], undefined]) await WebSocket.last.say(restart(after));
  assert.equal(events.length, 4);
  await WebSocket.last.say(restart(1e300));
  await WebSocket.last.end(1012);
  assert.equal(events.at(-1)[1].delay, 3_600_000);
  client.quit();

  const other = await openClient();
  const closings = record(other.client, 'close');
  await other.WebSocket.last.say(restart(-5));
  await other.WebSocket.last.end(1012);
  assert.equal(closings[0][1].delay, 0);
});

test('1012 alone, as other servers say it, is a closing like 1001', async (t) => {
  const { WebSocket, client } = await setUp(t);
  t.mock.method(Math, 'random', () => 0.5);
  const events = record(client, 'close', 'error');
  await WebSocket.last.end(1012);
  assert.deepEqual(events.map(([type]) => type), ['close']);
  assert.equal(events[0][1].delay, 500);
});

test('a page that is closed while it waits does not come back', async (t) => {
  const { pass, WebSocket, client } = await setUp(t);
  await WebSocket.last.say(restart(100));
  await WebSocket.last.end(1012);
  await client.quit();
  await pass(3_600_000);
  assert.equal(WebSocket.all.length, 1);
});

test('forty clients come back to the next server, each after its time, with what they had to say', async (t) => {
  const first = await startServer(t, { ini: { drainSpread: '2' } });
  const clients = [];
  for (let n = 0; n < 40; n++) clients.push(await connected(t, `${first.url}/web`));
  const old = await connected(t, `${first.url}/web`, { user: false });
  const errors = [];
  clients.forEach((client) => client.addEventListener('error', ({ error }) => errors.push(error)));
  const closings = clients.map((client) => event(client, 'close'));
  const oldClose = event(old, 'close');
  await first.stop();
  const delays = (await Promise.all(closings)).map(({ code, delay }) => {
    assert.equal(code, 1012);
    return delay;
  });
  assert.equal((await oldClose).code, 1001);
  // Random times within the spread: half a second has no more than chance allows.
  assert.ok(delays.every((delay) => delay <= 2000));
  for (let from = 0; from < 2000; from += 500) {
    const count = delays.filter((delay) => from <= delay && delay < from + 500).length;
    assert.ok(count <= 25, `${count} of 40 come back within ${from} to ${from + 500} ms`);
  }
  const echoes = clients.map((client, n) => [
    client.echo(n),
    eventWhere(client, 'echo', ({ packet }) => packet.message === n),
  ]);
  await startServer(t, { port: first.port });
  await within(Promise.all(echoes.flat()), 'all echoes');
  assert.deepEqual(errors, []);
});
