// Users: who is signed in, the end of that, and the way back.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { socketWebClient, Websock } from '../../clients/js/websock.mjs';
import { fakeClock, fakePage, fakeWebSocket, record } from './fake-socket.mjs';

const failure = (code) => ({ name: 'WebsockError', code });
const HOUR = 3_600_000;
const flush = () => new Promise(setImmediate);

/** A client on a page, with a clock of its own; its events by type and what tells. */
function setUp(t, options) {
  const pass = fakeClock(t);
  const browser = fakePage(t);
  const WebSocket = fakeWebSocket();
  const client = new Websock('ws://h/web', { WebSocket, log() {}, ...options });
  t.after(() => void client.quit());
  const events = record(client, 'ready', 'close', 'unauthorized', 'error');
  const told = () => events.splice(0).map(([type, e]) => [type, e.code ?? e.reason ?? e.user]);
  return { pass, ...browser, WebSocket, client, told };
}

const ready = (user) => ({ opcode: 'ready', uuid: 'u1', ...(user && { user }) });

async function logOut(socket, error = 'logged out') {
  await socket.say({ opcode: 'close', error });
  await socket.end(4401, error);
}

test('ready tells the user, who is there as long as the connection', async (t) => {
  const { WebSocket, client, told } = setUp(t);
  assert.equal(client.user, null);
  await WebSocket.last.say(ready('42'));
  assert.equal(client.user, '42');
  assert.deepEqual(told(), [['ready', '42']]);
  await WebSocket.last.end();
  assert.equal(client.user, null);
});

test('whoever is anonymous has no user', async (t) => {
  const { WebSocket, client, told } = setUp(t);
  await WebSocket.last.say(ready());
  assert.equal(client.user, null);
  assert.deepEqual(told(), [['ready', null]]);
});

test('after a logout it stays away until signIn is called', async (t) => {
  const { pass, WebSocket, client, told } = setUp(t);
  await WebSocket.last.say(ready('42'));
  await logOut(WebSocket.last);
  assert.deepEqual(told().slice(1), [
    ['close', 4401],
    ['unauthorized', 'logged out'],
  ]);
  assert.deepEqual([client.state, client.user, client.uuid], ['unauthorized', null, null]);
  await pass(HOUR);
  assert.equal(WebSocket.all.length, 1);
  client.signIn();
  await WebSocket.last.say(ready('7'));
  assert.deepEqual([WebSocket.all.length, client.state, client.user], [2, 'open', '7']);
});

test('whoever was refused at once is told the same, and no error', async (t) => {
  const { WebSocket, client, told } = setUp(t);
  WebSocket.last.onopen({});
  await logOut(WebSocket.last, 'not signed in');
  assert.deepEqual(told(), [
    ['close', 4401],
    ['unauthorized', 'not signed in'],
  ]);
  client.signIn();
  await logOut(WebSocket.last, 'not signed in');
  assert.deepEqual(told(), [
    ['close', 4401],
    ['unauthorized', 'not signed in'],
  ]);
});

test('what waited for one user is not sent by the next', async (t) => {
  const { WebSocket, client } = setUp(t, { inFlight: 1 });
  await WebSocket.last.say(ready('42'));
  const promises = [client.broadcast('sent'), client.broadcast('waits')];
  const results = Promise.allSettled(promises);
  await logOut(WebSocket.last);
  for (const { reason } of await results) assert.equal(reason.code, 'unauthorized');
  await assert.rejects(client.broadcast('later'), failure('unauthorized'));
  client.signIn();
  await WebSocket.last.say(ready('7'));
  assert.deepEqual(WebSocket.last.packets, []);
  const next = client.broadcast('mine');
  await WebSocket.last.next();
  await next;
});

for (const [name, show] of Object.entries({
  'is visible again': ({ page }) => page.dispatchEvent(new Event('visibilitychange')),
  'comes out of the cache': ({ window }) =>
    window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true })),
})) {
  test(`it asks once when the page ${name}, and tells only what is new`, async (t) => {
    const context = setUp(t);
    const { pass, WebSocket, client, told } = context;
    await WebSocket.last.say(ready('42'));
    await logOut(WebSocket.last);
    told();
    show(context);
    await flush();
    assert.deepEqual([client.state, WebSocket.all.length], ['connecting', 2]);
    await logOut(WebSocket.last, 'not signed in');
    await pass(HOUR);
    assert.deepEqual(told(), [['close', 4401]]);
    assert.equal(WebSocket.all.length, 2);
    show(context);
    await WebSocket.last.say(ready('42'));
    assert.deepEqual(told(), [['ready', '42']]);
    await logOut(WebSocket.last);
    assert.deepEqual(told().at(-1), ['unauthorized', 'logged out']);
  });
}

test('it comes back by its last ticket, which neither a logout nor a login survives', async (t) => {
  const { pass, WebSocket, client } = setUp(t);
  const messages = record(client, 'message');
  const url = 'ws://h/web?user=1&resume=1';
  assert.equal(WebSocket.last.url, url);
  await WebSocket.last.say({ ...ready('42'), ticket: 'a+b' });
  await WebSocket.last.end();
  await pass(9000); // longer than any delay so far
  assert.equal(WebSocket.last.url, `${url}&ticket=a%2Bb`);
  await WebSocket.last.say({ ...ready('42'), ticket: 'c' });
  await WebSocket.last.say({ opcode: 'ticket', ticket: 'd' });
  assert.deepEqual(messages, []);
  await WebSocket.last.end();
  await pass(9000); // longer than any delay so far
  assert.equal(WebSocket.last.url, `${url}&ticket=d`);
  client.signIn();
  assert.equal(WebSocket.last.url, url);
  await WebSocket.last.say({ ...ready('7'), ticket: 'e' });
  await logOut(WebSocket.last);
  client.signIn();
  assert.equal(WebSocket.last.url, url);
  await WebSocket.last.say(ready());
  await WebSocket.last.end();
  await pass(9000); // longer than any delay so far
  assert.equal(WebSocket.last.url, url);
});

test('a page that is shown for the first time does not ask again', async (t) => {
  const { window, WebSocket, client } = setUp(t);
  await logOut(WebSocket.last, 'not signed in');
  window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: false }));
  assert.deepEqual([client.state, WebSocket.all.length], ['unauthorized', 1]);
  window.dispatchEvent(Object.assign(new Event('pagehide'), { persisted: true }));
  assert.equal(client.state, 'unauthorized');
});

test('signIn makes a connection that stands anew, and repeats what is in doubt', async (t) => {
  const { WebSocket, client, told } = setUp(t);
  await WebSocket.last.say(ready());
  const promise = client.broadcast('hello');
  const [first] = WebSocket.all;
  client.signIn();
  assert.ok(first.isClosed);
  await WebSocket.last.say(ready('42'));
  assert.deepEqual(told(), [
    ['ready', null],
    ['close', 1001],
    ['ready', '42'],
  ]);
  assert.deepEqual(WebSocket.last.packets, [{ opcode: 'broadcast', message: 'hello' }]);
  await WebSocket.last.next();
  await promise;
});

test('signIn on a client that has been closed does nothing', async (t) => {
  const { WebSocket, client } = setUp(t);
  await WebSocket.last.say(ready());
  client.quit();
  client.signIn();
  await WebSocket.last.end(1000);
  client.signIn();
  assert.deepEqual([client.state, WebSocket.all.length], ['closed', 1]);
});

test('a token is the first message, ready comes behind it, and the rest behind that', async (t) => {
  const { WebSocket, client } = setUp(t, { token: 'abc' });
  const promise = client.broadcast('hello');
  WebSocket.last.onopen({});
  await flush();
  const auth = { opcode: 'auth', token: 'abc' };
  assert.deepEqual(WebSocket.last.packets, [auth]);
  await WebSocket.last.next();
  assert.deepEqual(WebSocket.last.packets, [auth]);
  await WebSocket.last.say(ready('42'));
  assert.deepEqual(WebSocket.last.packets, [auth, { opcode: 'broadcast', message: 'hello' }]);
  await WebSocket.last.next();
  await promise;
  assert.equal(client.user, '42');
});

test('a function gives a token for each connection; one that fails is tried again', async (t) => {
  const tokens = ['first', new Error('no login server'), 'third'];
  const token = async () => {
    const next = tokens.shift();
    if (next instanceof Error) throw next;
    return next;
  };
  const { pass, WebSocket, client } = setUp(t, { token, firstDelay: 1, maxDelay: 1 });
  for (const expected of ['first', undefined, 'third']) {
    const socket = WebSocket.last;
    socket.onopen({});
    await flush();
    assert.equal(socket.packets[0]?.token, expected);
    if (expected === 'first') await WebSocket.last.end();
    await pass(1);
  }
  WebSocket.last.onopen({});
  client.signIn('fourth');
  WebSocket.last.onopen({});
  await flush();
  assert.equal(WebSocket.last.packets[0].token, 'fourth');
});

test('a token that comes late is not sent on another connection', async (t) => {
  let give;
  const token = () => new Promise((resolve) => (give = resolve));
  const { WebSocket, client } = setUp(t, { token });
  WebSocket.last.onopen({});
  const late = give;
  client.signIn();
  WebSocket.last.onopen({});
  late('old');
  await flush();
  assert.deepEqual(WebSocket.all.flatMap((socket) => socket.packets), []);
  give('new');
  await flush();
  assert.deepEqual(WebSocket.last.packets, [{ opcode: 'auth', token: 'new' }]);
});

test('what the server does not allow is an error and a message', async (t) => {
  const { WebSocket, client } = setUp(t);
  const events = record(client, 'message', 'error');
  await WebSocket.last.say(ready());
  const packet = { opcode: 'error', error: 'webSends does not allow them' };
  await WebSocket.last.say(packet);
  const [[, message], [, { error }]] = events;
  assert.deepEqual(message.packet, packet);
  assert.deepEqual([error.code, error.message], ['forbidden', packet.error]);
});

test('a feedback may be for a user, whose id may be a number', async (t) => {
  const { WebSocket, client } = setUp(t);
  await WebSocket.last.say(ready());
  client.feedback('hello', { user: '42' });
  client.feedback('hello', { user: 0 });
  const packet = { opcode: 'feedback', message: 'hello' };
  assert.deepEqual(WebSocket.last.packets, [
    { ...packet, user: '42' },
    { ...packet, user: 0 },
  ]);
  await assert.rejects(client.feedback('hello', { user: '' }), failure('invalid'));
});

test('a page of the PHP server that calls init at each close does not storm', async (t) => {
  const pass = fakeClock(t);
  const WebSocket = fakeWebSocket();
  const original = globalThis.WebSocket;
  globalThis.WebSocket = WebSocket;
  t.after(() => (globalThis.WebSocket = original));
  const calls = [];
  const sock = socketWebClient('ws://h', '/web');
  t.after(() => sock.quit());
  sock.setCallbackStatus((text) => calls.push(text));
  sock.setCallbackClose(() => (calls.push('close'), sock.init()));
  sock.init();
  assert.equal(WebSocket.last.url, 'ws://h/web');
  WebSocket.last.onopen({});
  await logOut(WebSocket.last, 'not signed in');
  await pass(HOUR);
  assert.equal(WebSocket.all.length, 1);
  const closed = 'Server closed connection. not signed in';
  assert.deepEqual(calls, ['Try to connect ...', 'close', closed]);
  sock.quit();
  sock.init();
  assert.equal(WebSocket.all.length, 2);
});
