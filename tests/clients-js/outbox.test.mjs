import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Websock, WebsockError } from '../../clients/js/websock.mjs';
import { fakeClock, fakeWebSocket, record } from './fake-socket.mjs';

function setUp(t, options) {
  const pass = fakeClock(t);
  const WebSocket = fakeWebSocket();
  const client = new Websock('ws://localhost:8096/web', { WebSocket, log() {}, ...options });
  return { pass, WebSocket, client };
}

/** Ends the connection and waits for the next one to be ready. */
async function reconnect({ pass, WebSocket }, code) {
  await WebSocket.last.end(code);
  await pass(1000);
  await WebSocket.last.open('u2');
}

const failure = (code) => (error) => error instanceof WebsockError && error.code === code;
const settled = (promise) =>
  Promise.race([
    promise.then(
      () => 'resolved',
      () => 'rejected',
    ),
    new Promise((resolve) => setImmediate(resolve, 'pending')),
  ]);

test('a promise resolves on its own next, in order', async (t) => {
  const { WebSocket, client } = setUp(t);
  await WebSocket.last.open();
  const [first, second] = [client.broadcast('a'), client.feedback('b', 'somebody')];
  assert.deepEqual(WebSocket.last.packets, [
    { opcode: 'broadcast', message: 'a' },
    { opcode: 'feedback', uuid: 'somebody', message: 'b' },
  ]);
  await WebSocket.last.next();
  assert.equal(await settled(first), 'resolved');
  assert.equal(await settled(second), 'pending');
  await WebSocket.last.next();
  assert.equal(await settled(second), 'resolved');
});

test('no more than inFlight messages are sent ahead', async (t) => {
  const { WebSocket, client } = setUp(t, { inFlight: 2 });
  await WebSocket.last.open();
  for (const word of 'abcd') client.echo(word);
  assert.deepEqual(
    WebSocket.last.packets.map((packet) => packet.message),
    ['a', 'b'],
  );
  await WebSocket.last.next();
  assert.deepEqual(
    WebSocket.last.packets.map((packet) => packet.message),
    ['a', 'b', 'c'],
  );
});

test('what is sent while away waits in the outbox and leaves in order', async (t) => {
  const { WebSocket, client } = setUp(t);
  client.echo('a');
  client.echo('b');
  assert.deepEqual(WebSocket.last.sent, []);
  await WebSocket.last.open();
  assert.deepEqual(
    WebSocket.last.packets.map((packet) => packet.message),
    ['a', 'b'],
  );
});

test('a full outbox refuses, one long message always fits', async (t) => {
  const { WebSocket, client } = setUp(t, { outboxLimit: 200 });
  const errors = record(client, 'error');
  const long = client.echo('x'.repeat(1000));
  await assert.rejects(client.echo('b'), failure('full'));
  assert.equal(errors[0][1].error.packet.message, 'b');
  await WebSocket.last.open();
  await WebSocket.last.next();
  await long;
  client.echo('c');
  assert.equal(WebSocket.last.packets.at(-1).message, 'c');
});

test('outboxLimit is counted to the character', async (t) => {
  const { client } = setUp(t, { resend: false, outboxLimit: 3 * '{"opcode":"x"}'.length });
  const accepted = [1, 2, 3].map(() => client.send({ opcode: 'x' }));
  assert.equal(await settled(accepted[2]), 'pending');
  await assert.rejects(client.send({ opcode: 'x' }), failure('full'));
});

test('what is in doubt is sent again, first and in order, with the same id', async (t) => {
  const context = setUp(t);
  const { WebSocket, client } = context;
  await WebSocket.last.open();
  const promises = ['a', 'b', 'c'].map((word) => client.broadcast(word));
  await WebSocket.last.next();
  const before = WebSocket.last.sent;
  await WebSocket.last.end();
  client.broadcast('d');
  await context.pass(1000);
  await WebSocket.last.open('u2');
  assert.deepEqual(WebSocket.last.sent.slice(0, 2), before.slice(1));
  assert.equal(WebSocket.last.packets[2].message, 'd');
  await WebSocket.last.next();
  await WebSocket.last.next();
  await Promise.all(promises);
});

test('resend=false puts no id into packets and rejects what is in doubt', async (t) => {
  const context = setUp(t, { resend: false });
  const { WebSocket, client } = context;
  await WebSocket.last.open();
  const promise = client.broadcast('a');
  assert.equal(WebSocket.last.sent[0], '{"opcode":"broadcast","message":"a"}');
  await reconnect(context);
  await assert.rejects(promise, failure('in-doubt'));
  assert.deepEqual(WebSocket.last.sent, []);
});

test('a packet that is not passed on is not repeated: nobody drops a copy', async (t) => {
  const context = setUp(t);
  const { WebSocket, client } = context;
  await WebSocket.last.open();
  const promise = client.send({ opcode: 'count' });
  assert.equal(WebSocket.last.sent[0], '{"opcode":"count"}');
  await reconnect(context);
  await assert.rejects(promise, failure('in-doubt'));
});

for (const code of [1001, 1012, 1013]) {
  test(`after ${code} everything unanswered is sent again: it was not handled`, async (t) => {
    const context = setUp(t, { resend: false });
    const { WebSocket, client } = context;
    await WebSocket.last.open();
    const promise = client.send({ opcode: 'count' });
    await reconnect(context, code);
    assert.deepEqual(WebSocket.last.packets, [{ opcode: 'count' }]);
    await WebSocket.last.next();
    await promise;
  });
}

test('1009 rejects the message that was too long, those behind it are sent again', async (t) => {
  const context = setUp(t);
  const { WebSocket, client } = context;
  await WebSocket.last.open();
  const [ok, long, behind] = ['ok', 'long', 'behind'].map((word) => client.echo(word));
  await WebSocket.last.next();
  await reconnect(context, 1009);
  await ok;
  await assert.rejects(long, failure('too-long'));
  assert.deepEqual(WebSocket.last.packets, [{ opcode: 'echo', message: 'behind' }]);
  await WebSocket.last.next();
  await behind;
});

test('1009 is about the first message, even if nobody waits for it any more', async (t) => {
  const context = setUp(t);
  const { WebSocket, client } = context;
  const controller = new AbortController();
  await WebSocket.last.open();
  client.echo('long', { signal: controller.signal });
  client.echo('behind');
  controller.abort();
  await reconnect(context, 1009);
  assert.deepEqual(WebSocket.last.packets, [{ opcode: 'echo', message: 'behind' }]);
});

test('a message that every connection breaks on is given up', async (t) => {
  const context = setUp(t);
  const { WebSocket, client } = context;
  t.mock.method(Math, 'random', () => 0);
  await WebSocket.last.open();
  const promise = client.echo('poison');
  for (let connections = 1; connections <= 10; connections++) {
    assert.equal(WebSocket.last.sent.length, 1, `connection ${connections}`);
    await reconnect(context);
  }
  assert.equal(WebSocket.last.sent.length, 0);
  await assert.rejects(promise, failure('in-doubt'));
});

test('a heartbeat is not sent again on the next connection', async (t) => {
  const context = setUp(t);
  const { pass, WebSocket } = context;
  await WebSocket.last.open();
  await pass(25_000);
  assert.equal(WebSocket.last.sent.length, 1);
  await reconnect(context);
  assert.deepEqual(WebSocket.last.sent, []);
});

test('a second copy of a packet is dropped, equal packets of different ids are not', async (t) => {
  const context = setUp(t);
  const { WebSocket, client } = context;
  const events = record(client, 'message', 'broadcast');
  await WebSocket.last.open();
  await WebSocket.last.say({ opcode: 'broadcast', message: 'a', once: '1' });
  await reconnect(context);
  await WebSocket.last.say({ opcode: 'broadcast', message: 'a', once: '1' });
  await WebSocket.last.say({ opcode: 'broadcast', message: 'a', once: '2' });
  await WebSocket.last.say({ opcode: 'broadcast', message: 'a' });
  await WebSocket.last.say({ opcode: 'broadcast', message: 'a' });
  assert.equal(events.filter(([type]) => type === 'message').length, 4);
  assert.equal(events.filter(([type]) => type === 'broadcast').length, 4);
});

test('a thousand ids are remembered, the oldest goes first', async (t) => {
  const { WebSocket, client } = setUp(t);
  const events = record(client, 'message');
  await WebSocket.last.open();
  for (let id = 0; id <= 1000; id++) {
    WebSocket.last.onmessage({ data: JSON.stringify({ opcode: 'echo', once: `${id}` }) });
  }
  await WebSocket.last.say({ opcode: 'echo', once: '1' });
  assert.equal(events.length, 1001);
  await WebSocket.last.say({ opcode: 'echo', once: '0' });
  assert.equal(events.length, 1002);
});

test('an aborted message that waits is not sent', async (t) => {
  const { WebSocket, client } = setUp(t);
  const controller = new AbortController();
  const promise = client.echo('a', { signal: controller.signal });
  client.echo('b');
  controller.abort();
  await assert.rejects(promise, { name: 'AbortError' });
  await WebSocket.last.open();
  assert.deepEqual(
    WebSocket.last.packets.map((packet) => packet.message),
    ['b'],
  );
});

test('an aborted message that was sent is not repeated, its next is its own', async (t) => {
  const context = setUp(t);
  const { WebSocket, client } = context;
  const controller = new AbortController();
  await WebSocket.last.open();
  const promise = client.echo('a', { signal: controller.signal });
  const second = client.echo('b');
  controller.abort(new Error('enough'));
  await assert.rejects(promise, { message: 'enough' });
  await WebSocket.last.next();
  assert.equal(await settled(second), 'pending');
  await reconnect(context);
  assert.deepEqual(
    WebSocket.last.packets.map((packet) => packet.message),
    ['b'],
  );
});

test('a signal that is aborted already sends nothing', async (t) => {
  const { WebSocket, client } = setUp(t);
  await WebSocket.last.open();
  await assert.rejects(client.echo('a', { signal: AbortSignal.abort() }), { name: 'AbortError' });
  assert.deepEqual(WebSocket.last.sent, []);
});

test('the signal of the client closes it at once', async (t) => {
  const controller = new AbortController();
  const { WebSocket, client } = setUp(t, { signal: controller.signal });
  await WebSocket.last.open();
  const [sent] = [client.echo('a')];
  controller.abort();
  await assert.rejects(sent, failure('in-doubt'));
  assert.equal(client.state, 'closed');
  assert.equal(WebSocket.last.isClosed, true);
  await assert.rejects(client.echo('b'), failure('closed'));
});

test('a client with an aborted signal never is', async (t) => {
  const { WebSocket, client } = setUp(t, { signal: AbortSignal.abort() });
  assert.equal(client.state, 'closed');
  assert.ok(WebSocket.all.every((socket) => socket.isClosed));
  await client.quit();
});

test('quit sends what waits, then quit, and resolves at the close', async (t) => {
  const { WebSocket, client } = setUp(t, { inFlight: 1 });
  await WebSocket.last.open();
  const [a, b] = [client.echo('a'), client.echo('b')];
  const quit = client.quit();
  await assert.rejects(client.echo('c'), failure('closed'));
  for (let count = 0; count < 3; count++) await WebSocket.last.next();
  await Promise.all([a, b]);
  assert.deepEqual(WebSocket.last.packets.at(-1), { opcode: 'quit' });
  assert.equal(await settled(quit), 'pending');
  await WebSocket.last.end(1000);
  await quit;
  assert.equal(client.state, 'closed');
  await client.quit();
});

test('quit while away rejects what waits', async (t) => {
  const { WebSocket, client } = setUp(t);
  await WebSocket.last.end();
  const promise = client.echo('a');
  await client.quit();
  await assert.rejects(promise, failure('closed'));
});

test('a server that ignores quit is left after the timeout', async (t) => {
  const { pass, WebSocket, client } = setUp(t);
  await WebSocket.last.open();
  const quit = client.quit();
  await pass(20_000);
  await quit;
  assert.equal(WebSocket.last.isClosed, true);
});

test('nonsense is refused with its reason, and sends nothing', async (t) => {
  const { WebSocket, client } = setUp(t);
  await WebSocket.last.open();
  const circular = { opcode: 'echo' };
  circular.message = circular;
  for (const packet of [
    undefined,
    null,
    'echo',
    {},
    { opcode: 1 },
    circular,
    { opcode: 'echo', message: 1n },
  ]) {
    await assert.rejects(client.send(packet), failure('invalid'));
  }
  await assert.rejects(client.echo('half \ud83d'), failure('invalid'));
  for (const to of [undefined, null, '', {}, { uuid: '' }]) {
    await assert.rejects(client.feedback('to whom?', to), failure('invalid'));
  }
  await assert.rejects(client.echo('\\\\\udc00'), failure('invalid'));
  assert.deepEqual(WebSocket.last.sent, []);
  for (const text of ['whole \u{1f600}', 'written \\ud83d', '\\\\ud83d']) client.echo(text);
  assert.equal(WebSocket.last.sent.length, 3);
});

test('events come after their cause is done with: a listener may quit or send', async (t) => {
  const { pass, WebSocket, client } = setUp(t);
  client.addEventListener('close', () => client.quit());
  await WebSocket.last.open();
  await WebSocket.last.end();
  assert.equal(client.state, 'closed');
  await pass(3_600_000);
  assert.equal(WebSocket.all.length, 1);
});

test('a failure is an event and one line in the log, and needs no catch', async (t) => {
  const lines = [];
  const { WebSocket, client } = setUp(t, { log: (text) => lines.push(text) });
  const errors = record(client, 'error');
  await WebSocket.last.open();
  client.send({});
  client.send({});
  await new Promise(setImmediate);
  assert.equal(errors.length, 2);
  assert.equal(lines.length, 1);
});

test('addresses are understood as the browser, PHP and the page write them', (t) => {
  fakeClock(t);
  const WebSocket = fakeWebSocket();
  const table = [
    ['ws://h:1/web', 'ws://h:1/web?user=1&resume=1'],
    ['wss://h/web?token=1', 'wss://h/web?token=1&user=1&resume=1'],
    ['wss://h/web?user=1&a=%20', 'wss://h/web?user=1&a=%20&resume=1'],
    ['tcp://h:1/php', 'ws://h:1/php?user=1&resume=1'],
    ['SSL://h/', 'wss://h/?user=1&resume=1'],
    ['http://h/web', 'ws://h/web?user=1&resume=1'],
    ['https://h/web#top', 'wss://h/web?user=1&resume=1'],
    [new URL('wss://h/web'), 'wss://h/web?user=1&resume=1'],
    ['ws://h:1/web', 'ws://h:1/web', { user: false }],
    ['ws://h:1/web?a', 'ws://h:1/web?a&user=1&resume=1&auth=1', { token: 'x' }],
  ];
  for (const [given, expected, options] of table) {
    const client = new Websock(given, { WebSocket, log() {}, ...options });
    assert.equal(WebSocket.last.url, expected);
    client.quit();
  }
  for (const given of [
    '',
    '/web',
    'localhost',
    'localhost:8096/web',
    'ftp://h/',
    undefined,
    'ws://',
  ]) {
    assert.throws(() => new Websock(given, { WebSocket }), failure('address'), String(given));
  }
});

test('a path is one on the server of the page', (t) => {
  fakeClock(t);
  const WebSocket = fakeWebSocket();
  globalThis.location = { href: 'https://www.example.org/page?x#y' };
  t.after(() => delete globalThis.location);
  const client = new Websock('/web', { WebSocket, log() {} });
  assert.equal(WebSocket.last.url, 'wss://www.example.org/web?user=1&resume=1');
  client.quit();
});

test('an option that does not exist or makes no sense is named', () => {
  const WebSocket = fakeWebSocket();
  assert.throws(() => new Websock('ws://h/', { WebSocket, hartbeat: 1 }), /hartbeat/);
  for (const inFlight of [0, -1, NaN, null, 'many']) {
    assert.throws(() => new Websock('ws://h/', { WebSocket, inFlight }), /inFlight/);
  }
});

test('what the browser refuses is told, for good', async (t) => {
  class WebSocket {
    constructor() {
      throw new Error('An insecure WebSocket connection may not be initiated from HTTPS.');
    }
  }
  const { client } = setUp(t, { WebSocket });
  const events = record(client, 'error', 'close');
  await new Promise(setImmediate);
  assert.equal(events[0][1].error.code, 'address');
  assert.match(events[0][1].error.message, /insecure.*wss:/);
  assert.equal(events[1][1].isFinal, true);
});
