// Where WebSockets do not get through: a stream of events in their place, from a server that the
// test plays (docs/protocol.md 9.9).
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Websock } from '../../clients/js/websock.mjs';
import { fakeFetch } from './fake-fetch.mjs';
import { fakeClock, fakePage, fakeWebSocket, record } from './fake-socket.mjs';

const MINUTE = 60_000;
const flush = () => new Promise(setImmediate);

/** A client that comes back at once, where HTTP works; with its own fetch and WebSocket. */
function setUp(t, { url = 'wss://h/app/web', ...options } = {}) {
  t.mock.method(Math, 'random', () => 0);
  const pass = fakeClock(t);
  const browser = fakePage(t);
  const WebSocket = fakeWebSocket();
  const fetch = fakeFetch();
  fetch.auto = (request) => request.method === 'HEAD' && request.answer(200, 'text/event-stream');
  const lines = [];
  const log = (text) => lines.push(text);
  const end = new AbortController();
  t.after(() => end.abort());
  const { signal } = end;
  const client = new Websock(url, { WebSocket, fetch, log, signal, ...options });
  const events = record(client, 'transport', 'ready', 'gap', 'message', 'close', 'error');
  const about = ({ transport, uuid, reason, packet, code, error }) =>
    transport ?? uuid ?? packet?.message ?? error?.code ?? (reason || code);
  const told = () => events.splice(0).map(([type, event]) => [type, about(event)]);
  return { pass, ...browser, WebSocket, fetch, client, told, lines };
}

const ready = (number, more) => ({
  opcode: 'ready',
  uuid: `e${number}`,
  send: `p${number}`,
  cursor: `E-${number * 100}`,
  ...more,
});

const kept = (number) => ({ opcode: 'broadcast', message: number, cursor: `E-${number}` });

/** Two WebSockets fail. */
async function block({ pass, WebSocket }) {
  for (let times = 0; times < 2; times++) {
    await WebSocket.last.end();
    await flush();
    await pass(0);
  }
}

/** A client on a stream of events. */
async function onEvents(t, options) {
  const context = setUp(t, options);
  await block(context);
  await context.fetch.stream.open();
  await context.fetch.stream.say(ready(1));
  context.told();
  return context;
}

test('WebSockets that fail twice in a row where HTTP works are replaced by events', async (t) => {
  const context = setUp(t);
  const { WebSocket, fetch, client, told, lines } = context;
  assert.equal(client.transport, 'websocket');
  await block(context);
  assert.equal(WebSocket.all.length, 2);
  const { url, headers, options } = fetch.stream;
  assert.equal(url, 'https://h/app/sse?user=1&resume=1');
  assert.deepEqual(headers, { Accept: 'text/event-stream' });
  assert.deepEqual([options.credentials, options.redirect], ['include', 'error']);
  await fetch.stream.open();
  await fetch.stream.say(ready(1, { user: '42' }));
  assert.deepEqual(
    [client.state, client.transport, client.uuid, client.user],
    ['open', 'sse', 'e1', '42'],
  );
  await fetch.stream.say(kept(101));
  assert.deepEqual(told(), [
    ['error', 'unreachable'],
    ['close', 1006],
    ['error', 'unreachable'],
    ['close', 1006],
    ['transport', 'sse'],
    ['ready', 'e1'],
    ['message', 101],
  ]);
  assert.match(lines.at(-1), /WebSockets to wss:\/\/h\/app\/web do not get through/);
});

for (const [name, answer] of Object.entries({
  'no server answers': (request) => request.fail(),
  'a server answers that has no events': (request) => request.answer(404),
  'a site answers everything': (request) => request.answer(200, 'text/html'),
  'a proxy says that the server is away': (request) => request.answer(502, 'text/html'),
})) {
  test(`WebSockets that fail are tried again where ${name}`, async (t) => {
    const context = setUp(t);
    const { WebSocket, fetch, client } = context;
    fetch.auto = answer;
    for (let times = 0; times < 3; times++) await block(context);
    assert.deepEqual([WebSocket.all.length, fetch.stream], [7, undefined]);
    await WebSocket.last.open();
    assert.equal(client.transport, 'websocket');
  });
}

const ENDS = {
  'that was open': async (socket) => (await socket.open(), socket.end()),
  'that was refused with a reason': async (socket) => {
    socket.onopen({});
    await socket.say({ opcode: 'close', error: 'Too many connections' });
    await socket.end(1013);
  },
  'that was closed with a code': (socket) => socket.end(1013),
};

for (const [name, end] of Object.entries(ENDS)) {
  test(`a WebSocket ${name} has got through`, async (t) => {
    const { pass, WebSocket, fetch } = setUp(t);
    for (let times = 0; times < 3; times++) {
      await WebSocket.last.end();
      await pass(0);
      await end(WebSocket.last);
      await pass(0);
    }
    assert.deepEqual([WebSocket.all.length, fetch.stream], [7, undefined]);
  });
}

test('a WebSocket that says nothing, or ends at once behind its opening, has not got through', async (t) => {
  const { pass, WebSocket, fetch } = setUp(t);
  WebSocket.last.onopen({});
  await pass(10_000);
  await flush();
  await pass(0);
  WebSocket.last.onopen({});
  await WebSocket.last.end();
  await flush();
  assert.ok(fetch.stream);
});

test('a server that restarts is not taken for a proxy in the way', async (t) => {
  const context = setUp(t);
  const { pass, WebSocket, fetch } = context;
  await WebSocket.last.open();
  await WebSocket.last.say({ opcode: 'restart', after: 10 });
  await WebSocket.last.end(1012);
  await pass(10);
  for (let times = 0; times < 3; times++) await block(context);
  assert.deepEqual(fetch.requests, []);
});

test('events that do not come, either, are tried in turn with WebSockets', async (t) => {
  const context = setUp(t);
  const { pass, WebSocket, fetch, client } = context;
  await block(context);
  for (let times = 1; times <= 3; times++) {
    assert.equal(fetch.streams.length, times);
    await fetch.stream.answer(503);
    await pass(0);
    assert.equal(WebSocket.all.length, 2 + times);
    await WebSocket.last.end();
    await pass(0);
  }
  await fetch.stream.open();
  await fetch.stream.say(ready(1));
  assert.equal(client.transport, 'sse');
});

test('who asks for none of it, or has to send first, or is elsewhere, gets no events', async (t) => {
  for (const options of [
    { sse: false },
    { user: false },
    { token: 'abc' },
    { url: 'ws://h/chat' },
    { fetch: undefined },
  ]) {
    const context = setUp(t, options);
    for (let times = 0; times < 2; times++) await block(context);
    assert.equal(context.WebSocket.all.length, 5, JSON.stringify(options));
    assert.deepEqual(context.fetch.requests, []);
    context.client.quit();
  }
});

test('the address of the events is beside that of the WebSocket', async (t) => {
  for (const [url, expected] of [
    ['ws://h:8096/web', 'http://h:8096/sse?user=1&resume=1'],
    ['ws://h:8096', 'http://h:8096/sse?user=1&resume=1'],
    ['wss://h/websock/?a=%20', 'https://h/websock/sse?a=%20&user=1&resume=1'],
  ]) {
    const context = setUp(t, { url });
    await block(context);
    assert.equal(context.fetch.stream.url, expected);
    context.client.quit();
  }
});

test('what is sent goes by requests, one after the other, and next comes as ever', async (t) => {
  const { fetch, client } = await onEvents(t);
  const [first, second] = [client.broadcast('ä'), client.echo('b')];
  await flush();
  assert.equal(fetch.posts.length, 1);
  const [{ url, headers, packet, options }] = fetch.posts;
  assert.equal(url, 'https://h/app/send');
  assert.deepEqual(headers, { 'Content-Type': 'application/json' });
  assert.deepEqual([options.credentials, options.keepalive], ['include', true]);
  const { message, ...sender } = packet;
  assert.deepEqual(sender, { uuid: 'e1', secret: 'p1' });
  const { once, ...sent } = JSON.parse(message);
  assert.deepEqual([typeof once, sent], ['string', { opcode: 'broadcast', message: 'ä' }]);
  await fetch.posts[0].answer(204);
  await fetch.posts[1].answer(204);
  await fetch.stream.next();
  await first;
  await fetch.stream.next();
  await second;
});

test('a long message is not sent as one that outlives its page', async (t) => {
  const { fetch, client } = await onEvents(t);
  client.echo('x'.repeat(20_000));
  assert.equal(fetch.posts[0].options.keepalive, false);
});

for (const [name, lose] of Object.entries({
  'the network fails': (post) => post.fail(),
  'the server does not know the stream': (post) => post.answer(403),
  'a proxy is broken': (post) => post.answer(502),
})) {
  test(`a message is sent again on the next stream where ${name}`, async (t) => {
    const { pass, fetch, client } = await onEvents(t);
    const promise = client.broadcast('kept');
    await flush();
    const { message } = fetch.posts[0].packet;
    const before = fetch.stream;
    await lose(fetch.posts[0]);
    assert.ok(before.isAborted);
    await pass(0);
    await fetch.stream.open();
    await fetch.stream.say(ready(2));
    await flush();
    assert.deepEqual(fetch.posts[1].packet, { uuid: 'e2', secret: 'p2', message });
    await fetch.posts[1].answer(204);
    await fetch.stream.next();
    await promise;
  });
}

test('a message that is too long is refused alone, and those around it arrive', async (t) => {
  const { pass, fetch, client } = await onEvents(t);
  const [before, long, behind] = ['before', 'long', 'behind'].map((word) => client.echo(word));
  await flush();
  await fetch.posts[0].answer(204);
  await fetch.posts[1].answer(413);
  assert.equal(client.state, 'open', 'the first one has no answer yet');
  await fetch.stream.next();
  await before;
  await assert.rejects(long, { code: 'too-long' });
  await pass(0);
  await fetch.stream.open();
  await fetch.stream.say(ready(2));
  await flush();
  assert.equal(JSON.parse(fetch.posts[2].packet.message).message, 'behind');
  await fetch.posts[2].answer(204);
  await fetch.stream.next();
  await behind;
});

test('a stream that breaks goes on from its cursor, under another uuid', async (t) => {
  const { pass, fetch, client, told } = await onEvents(t);
  await fetch.stream.say(kept(101));
  await fetch.stream.end();
  assert.equal(client.uuid, null);
  await pass(0);
  assert.equal(fetch.stream.url, 'https://h/app/sse?user=1&resume=1');
  assert.equal(fetch.stream.headers['Last-Event-ID'], 'E-101');
  await fetch.stream.open();
  await fetch.stream.say(ready(2));
  await fetch.stream.say(kept(102));
  await fetch.stream.end(false);
  await pass(0);
  assert.equal(fetch.stream.headers['Last-Event-ID'], 'E-102');
  await fetch.stream.open();
  await fetch.stream.say(ready(3));
  await fetch.stream.say({ opcode: 'gap', gap: 'overflow', cursor: 'E-300' });
  assert.deepEqual(
    told().filter(([type]) => type !== 'close'),
    [
      ['message', 101],
      ['ready', 'e2'],
      ['message', 102],
      ['ready', 'e3'],
      ['gap', 'overflow'],
    ],
  );
});

test('what was for the old uuid is missing where WebSocket was there before: a gap', async (t) => {
  const context = setUp(t);
  const { pass, WebSocket, fetch, client, told } = context;
  await WebSocket.last.say({ opcode: 'ready', uuid: 'w1', resume: 's1', cursor: 'E-10' });
  await WebSocket.last.say(kept(11));
  await WebSocket.last.end();
  await pass(0);
  await block(context);
  assert.equal(fetch.stream.headers['Last-Event-ID'], undefined, 'a gap is not filled in part');
  assert.equal(client.uuid, 'w1');
  told();
  await fetch.stream.open();
  await fetch.stream.say(ready(1));
  assert.deepEqual(told(), [
    ['transport', 'sse'],
    ['ready', 'e1'],
    ['gap', 'transport'],
  ]);
  await fetch.stream.end();
  await pass(0);
  assert.equal(fetch.stream.headers['Last-Event-ID'], 'E-100');
});

test('the stream is read in whatever pieces it comes', async (t) => {
  const { fetch, client } = await onEvents(t);
  const messages = record(client, 'message');
  const text = [
    ': a comment\n\n',
    'id: E-1\ndata: {"opcode":"broadcast",\ndata: "message":"zwölf 🎈"}\n\n',
    'event: binary\ndata: AAAA\n\n',
    'event: unknown\ndata: {}\n\n',
    'data:{"opcode":"broadcast","message":2}\r\n\r\n',
    '\n\nretry: 5\n\n',
  ].join('');
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 2, 7, 1000]) {
    for (let at = 0; at < bytes.length; at += size) {
      await fetch.stream.write(bytes.slice(at, at + size));
    }
    const got = messages.splice(0).map(([, { packet }]) => packet.message);
    assert.deepEqual(got, ['zwölf 🎈', 2], `${size} bytes at a time`);
  }
});

test('an event that has not ended is none', async (t) => {
  const { fetch, client } = await onEvents(t);
  const messages = record(client, 'message');
  await fetch.stream.write('data: {"opcode":"broadcast","message":1}\n');
  await fetch.stream.end(false);
  assert.deepEqual(messages, []);
});

test('a stream tells its end by a code, as a WebSocket does', async (t) => {
  const { pass, fetch, client, told } = await onEvents(t);
  await fetch.stream.say({ opcode: 'restart', after: 500 });
  await fetch.stream.write('event: close\ndata: {"code":1012,"reason":"the server restarts"}\n\n');
  assert.deepEqual(told(), [['close', 'the server restarts']]);
  await pass(500);
  await fetch.stream.open();
  await fetch.stream.say(ready(2));
  assert.equal(client.uuid, 'e2');
  await fetch.stream.write('event: close\ndata: {"code":4401,"reason":"logged out"}\n\n');
  assert.equal(client.state, 'unauthorized');
});

test('a server that restarts is asked for a stream until it is back', async (t) => {
  const { pass, WebSocket, fetch, client } = await onEvents(t);
  await fetch.stream.say({ opcode: 'restart', after: 10 });
  await fetch.stream.write('event: close\ndata: {"code":1012,"reason":""}\n\n');
  await pass(10);
  for (let times = 0; times < 5; times++) {
    await fetch.stream.fail();
    await pass(0);
  }
  assert.deepEqual([WebSocket.all.length, fetch.streams.length], [2, 7]);
  await fetch.stream.open();
  await fetch.stream.say(ready(2));
  assert.equal(client.state, 'open');
});

test('whoever is not signed in is told so at once', async (t) => {
  const context = setUp(t);
  const { fetch, client } = context;
  const unauthorized = record(client, 'unauthorized');
  await block(context);
  await fetch.stream.answer(401);
  assert.deepEqual([client.state, unauthorized.length], ['unauthorized', 1]);
});

test('quit is said, and the end of the stream is the end', async (t) => {
  const { fetch, client } = await onEvents(t);
  const quit = client.quit();
  await flush();
  assert.deepEqual(JSON.parse(fetch.posts[0].packet.message), { opcode: 'quit' });
  await fetch.posts[0].answer(204);
  await fetch.stream.next();
  await fetch.stream.write('event: close\ndata: {"code":1000,"reason":""}\n\n');
  await quit;
  assert.equal(client.state, 'closed');
});

test('silence is found out by a heartbeat', async (t) => {
  const { pass, fetch, client } = await onEvents(t);
  await pass(25_000);
  assert.deepEqual(JSON.parse(fetch.posts[0].packet.message), { opcode: 'ping' });
  const { stream } = fetch;
  await pass(20_000);
  assert.ok(stream.isAborted);
  assert.notEqual(client.state, 'open');
});

test('a page that is frozen leaves its stream, and goes on with it', async (t) => {
  const { page, fetch, client } = await onEvents(t);
  await fetch.stream.say(kept(101));
  const { stream } = fetch;
  page.dispatchEvent(new Event('freeze'));
  assert.ok(stream.isAborted);
  page.dispatchEvent(new Event('resume'));
  assert.notEqual(fetch.stream, stream);
  assert.equal(fetch.stream.headers['Last-Event-ID'], 'E-101');
  assert.equal(client.transport, 'sse');
});

const onSocket = (number) => ({
  opcode: 'ready',
  uuid: `w${number}`,
  resume: `s${number}`,
  cursor: 'E-101',
});

test('WebSocket is tried again beside the stream, which stays if that fails', async (t) => {
  const { pass, WebSocket, client, told } = await onEvents(t, { heartbeat: 0 });
  const trials = [];
  for (const minutes of [1, 2, 4, 8, 16, 16]) {
    await pass(minutes * MINUTE - 1);
    const before = WebSocket.all.length;
    await pass(1);
    trials.push(WebSocket.all.length - before);
    await WebSocket.last.end();
  }
  assert.deepEqual(trials, [1, 1, 1, 1, 1, 1]);
  assert.deepEqual([client.uuid, told()], ['e1', []]);
});

test('WebSocket that is there again takes over without a loss or a copy', async (t) => {
  const { pass, WebSocket, fetch, client, told } = await onEvents(t, { heartbeat: 0 });
  await fetch.stream.say(kept(101));
  await pass(MINUTE);
  assert.equal(WebSocket.last.url, 'wss://h/app/web?user=1&resume=1&since=E-101');
  const { stream } = fetch;
  await stream.say(kept(102));
  assert.equal(stream.isAborted, false);
  await WebSocket.last.say(onSocket(1));
  assert.ok(stream.isAborted);
  for (const number of [102, 103]) await WebSocket.last.say(kept(number));
  assert.deepEqual(told(), [
    ['message', 101],
    ['message', 102],
    ['transport', 'websocket'],
    ['ready', 'w1'],
    ['message', 103],
  ]);
  assert.deepEqual([client.transport, client.uuid, client.cursor], ['websocket', 'w1', 'E-103']);
  await WebSocket.last.end();
  await pass(0);
  await WebSocket.last.say(onSocket(2));
  const { secret, cursor } = WebSocket.last.packets[0];
  assert.deepEqual([secret, cursor], ['s1', 'E-103']);
});

test('what the page has said over the stream itself does not come back by the WebSocket', async (t) => {
  const { pass, WebSocket, fetch, client, told } = await onEvents(t, { heartbeat: 0 });
  await pass(MINUTE);
  const own = client.broadcast('own');
  await flush();
  const { once } = JSON.parse(fetch.posts[0].packet.message);
  await fetch.posts[0].answer(204);
  await fetch.stream.next();
  await own;
  await WebSocket.last.say(onSocket(1));
  await WebSocket.last.say({ ...kept('own'), once });
  await WebSocket.last.say(kept(103));
  assert.deepEqual(
    told().filter(([type]) => type === 'message'),
    [['message', 103]],
  );
});

test('it takes over when nothing is under way', async (t) => {
  const { pass, WebSocket, fetch, client } = await onEvents(t, { heartbeat: 0 });
  await pass(MINUTE);
  const own = client.send({ opcode: 'own' });
  await flush();
  await WebSocket.last.say(onSocket(1));
  await WebSocket.last.say(kept(102));
  const behind = client.send({ opcode: 'behind' });
  assert.deepEqual([client.transport, fetch.posts.length], ['sse', 1]);
  await fetch.posts[0].answer(204);
  await fetch.stream.next();
  await own;
  assert.equal(client.transport, 'websocket');
  assert.deepEqual(WebSocket.last.packets, [{ opcode: 'behind' }]);
  await WebSocket.last.next();
  await behind;
});

test('WebSocket is tried at once when the network has changed, and once at a time', async (t) => {
  const { window, WebSocket } = await onEvents(t);
  window.dispatchEvent(new Event('online'));
  window.dispatchEvent(new Event('online'));
  assert.equal(WebSocket.all.length, 3);
});

test('a trial ends with the client', async (t) => {
  const { window, pass, WebSocket, client } = await onEvents(t);
  window.dispatchEvent(new Event('online'));
  const trial = WebSocket.last;
  client.quit();
  client.quit();
  await pass(20_000);
  assert.deepEqual([client.state, trial.isClosed], ['closed', true]);
  await pass(60 * MINUTE);
  assert.equal(WebSocket.all.length, 3);
});

test('a trial ends with the stream that it was beside', async (t) => {
  const { window, pass, WebSocket, fetch, client } = await onEvents(t);
  window.dispatchEvent(new Event('online'));
  const trial = WebSocket.last;
  await fetch.stream.end();
  assert.equal(trial.isClosed, true);
  await pass(0);
  await fetch.stream.open();
  await fetch.stream.say(ready(2));
  await trial.say(onSocket(1));
  assert.deepEqual([client.transport, client.uuid], ['sse', 'e2']);
});

test('a stream that is lost later is preceded by a WebSocket', async (t) => {
  const { page, pass, WebSocket, fetch } = await onEvents(t);
  page.dispatchEvent(new Event('freeze'));
  await pass(MINUTE);
  page.dispatchEvent(new Event('resume'));
  assert.deepEqual([WebSocket.all.length, fetch.streams.length], [3, 1]);
  await WebSocket.last.end();
  assert.equal(fetch.streams.length, 2, 'one failure is enough');
});

test('a policy that forbids the events leaves WebSockets their chance', async (t) => {
  const context = setUp(t);
  const { window, pass, WebSocket, fetch, client } = context;
  await block(context);
  const { url: blockedURI } = fetch.stream;
  const violation = Object.assign(new Event('securitypolicyviolation'), {
    blockedURI,
    disposition: 'enforce',
  });
  window.dispatchEvent(violation);
  await fetch.stream.fail();
  await pass(0);
  assert.equal(WebSocket.all.length, 3);
  await WebSocket.last.open();
  assert.equal(client.transport, 'websocket');
});
