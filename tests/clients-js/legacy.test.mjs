import assert from 'node:assert/strict';
import { test } from 'node:test';

import { socketWebClient } from '../../clients/js/websock.mjs';
import { fakeClock, fakePage, fakeWebSocket } from './fake-socket.mjs';

/** A page of the PHP server's kind. */
function setUp(t, ...args) {
  t.after(() => sock.quit()); // while the clock still stands
  const pass = fakeClock(t);
  const WebSocket = fakeWebSocket();
  const original = globalThis.WebSocket;
  globalThis.WebSocket = WebSocket;
  t.mock.method(console, 'warn', () => {});
  const calls = [];
  const sock = socketWebClient(...(args.length ? args : ['ws://localhost:8096', '/web']));
  sock.setCallbackStatus((text) => calls.push(['status', text]));
  sock.setCallbackReady((packet) => calls.push(['ready', packet]));
  sock.setCallbackReadMessage((packet) => calls.push(['message', packet]));
  sock.setCallbackClose(() => calls.push(['close']));
  t.after(() => (globalThis.WebSocket = original));
  return { pass, WebSocket, sock, calls };
}

test('the calls of the deployed page do what they did', async (t) => {
  const { WebSocket, sock, calls } = setUp(t);
  assert.equal(sock.isOpen(), false);
  assert.equal(sock.uuid(), null);
  sock.init();
  assert.equal(WebSocket.last.url, 'ws://localhost:8096/web');
  await WebSocket.last.open('my-uuid');
  assert.equal(sock.isOpen(), true);
  assert.equal(sock.uuid(), 'my-uuid');
  assert.deepEqual(calls, [
    ['status', 'Try to connect ...'],
    ['status', 'Connected'],
    ['ready', { opcode: 'ready', uuid: 'my-uuid' }],
  ]);
  const packet = { opcode: 'feedback', message: 'ping pong' };
  await WebSocket.last.say(packet);
  assert.deepEqual(calls.at(-1), ['message', packet]);
  sock.broadcast('all');
  sock.feedback('one', 'other-uuid');
  sock.echo('me');
  sock.sendMsg({ opcode: 'own', message: 1 });
  const sent = sock.sendAsync({ opcode: 'last' });
  for (let count = 0; count < 5; count++) {
    assert.equal(WebSocket.last.sent.length, count + 1, 'one after the other');
    await WebSocket.last.next();
  }
  await sent;
  assert.deepEqual(WebSocket.last.packets, [
    { opcode: 'broadcast', message: 'all' },
    { opcode: 'feedback', message: 'one', uuid: 'other-uuid', from: 'my-uuid' },
    { opcode: 'echo', message: 'me' },
    { opcode: 'own', message: 1 },
    { opcode: 'last' },
  ]);
});

test('quit says quit; the page is told; init connects anew', async (t) => {
  const { WebSocket, sock, calls } = setUp(t);
  sock.init();
  await WebSocket.last.open();
  sock.quit();
  assert.equal(sock.isOpen(), false);
  assert.deepEqual(WebSocket.last.packets, [{ opcode: 'quit' }]);
  await WebSocket.last.end(1000);
  assert.deepEqual(calls.at(-1), ['close']);
  sock.init();
  assert.equal(WebSocket.all.length, 2);
});

test('it comes back by itself, and a page that calls init then does not make it two', async (t) => {
  const { pass, WebSocket, sock, calls } = setUp(t);
  sock.setCallbackClose(() => sock.init());
  sock.init();
  await WebSocket.last.open('first');
  await WebSocket.last.end();
  await pass(1000);
  assert.equal(WebSocket.all.length, 2);
  await WebSocket.last.open('second');
  assert.equal(sock.uuid(), 'second');
  assert.equal(calls.filter(([name]) => name === 'ready').length, 2);
});

test('a page that calls init when it is left does not connect until it returns', async (t) => {
  const { page } = fakePage(t);
  const { WebSocket, sock } = setUp(t);
  sock.setCallbackClose(() => sock.init());
  sock.init();
  await WebSocket.last.open();
  page.dispatchEvent(new Event('freeze'));
  await new Promise(setImmediate);
  assert.equal(WebSocket.all.length, 1);
  page.dispatchEvent(new Event('resume'));
  assert.equal(WebSocket.all.length, 2);
});

test('init on an open connection replaces it, and the old one is heard no more', async (t) => {
  const { WebSocket, sock, calls } = setUp(t);
  sock.init();
  const old = WebSocket.last;
  await old.open('old');
  sock.init();
  await WebSocket.last.open('new');
  await old.say({ opcode: 'broadcast', message: 'late' });
  await old.end(1000);
  assert.equal(sock.uuid(), 'new');
  assert.ok(!calls.some(([name]) => name === 'message' || name === 'close'));
});

test('the status texts of failures begin as they did', async (t) => {
  const { pass, WebSocket, sock, calls } = setUp(t);
  sock.init();
  await WebSocket.last.end();
  assert.match(
    calls.find(([, text]) => text?.startsWith('Cannot'))[1],
    /^Cannot connect to specified server/,
  );
  await pass(1000);
  WebSocket.last.onopen({});
  await WebSocket.last.say({ opcode: 'close', error: 'no resource /nope' });
  await WebSocket.last.end(1008);
  const text = calls.findLast(([name]) => name === 'status')[1];
  assert.match(text, /^Server closed connection.*no resource/);
});

test('an address that is none is a status, as it was', (t) => {
  const { sock, calls } = setUp(t, 'localhost', '/web');
  sock.init();
  assert.match(calls[0][1], /no address/);
});

test('setCallback takes the names in any case, and warns of others', (t) => {
  const { sock } = setUp(t);
  const f = () => {};
  for (const name of ['status', 'Ready', 'readMessage', 'CLOSE']) sock.setCallback(name, f);
  assert.deepEqual(sock.callbacks, { status: f, ready: f, readmessage: f, close: f });
  for (const [name, then] of [
    ['redy', f],
    ['ready', 'text'],
    ['constructor', f],
    [undefined, f],
  ]) {
    sock.setCallback(name, then);
  }
  assert.equal(console.warn.mock.callCount(), 4);
  assert.equal(sock.callbacks.ready, f);
});

test('the port may be an argument of its own, as it was once', (t) => {
  const { WebSocket, sock } = setUp(t, 'ssl://example.org', 8096, '/web');
  sock.init();
  assert.equal(WebSocket.last.url, 'wss://example.org:8096/web');
});

test('what is sent before init is lost, as it was; a promise says so', async (t) => {
  const { WebSocket, sock } = setUp(t);
  sock.broadcast('early');
  await assert.rejects(sock.sendAsync({ opcode: 'x' }), /init/);
  assert.equal(WebSocket.all.length, 0);
});
