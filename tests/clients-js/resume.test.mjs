// Nothing is lost while away: what the client says and does, to a server that the test plays.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { socketWebClient, Websock } from '../../clients/js/websock.mjs';
import { fakeClock, fakePage, fakeWebSocket, record } from './fake-socket.mjs';

const HOUR = 3_600_000;

/** A client with a clock of its own; `told()` is what it has told since it was asked last. */
function setUp(t, options) {
  const pass = fakeClock(t);
  t.mock.method(Math, 'random', () => 0); // it comes back at once
  const browser = fakePage(t);
  const WebSocket = fakeWebSocket();
  const end = new AbortController();
  t.after(() => end.abort());
  const { signal } = end;
  const client = new Websock('ws://h/web', { WebSocket, log() {}, signal, ...options });
  const events = record(client, 'ready', 'resumed', 'gap', 'message', 'error');
  const about = ({ uuid, replayed, reason, packet, error }) =>
    uuid ?? replayed ?? reason ?? error?.code ?? packet.message;
  const told = () => events.splice(0).map(([type, event]) => [type, about(event)]);
  return { pass, ...browser, WebSocket, client, told };
}

const ready = (number, more) => ({
  opcode: 'ready',
  uuid: `u${number}`,
  cursor: `E-${number * 100}`,
  resume: `s${number}`,
  ...more,
});

const kept = (number, more) => ({
  opcode: 'broadcast',
  message: number,
  cursor: `E-${number}`,
  ...more,
});

const resumed = (more) => ({
  opcode: 'resumed',
  uuid: 'u1',
  replayed: 0,
  gap: null,
  cursor: 'E-101',
  resume: 's2',
  ...more,
});

/** The connection breaks, and the next one has said `ready`. */
async function comeBack({ pass, WebSocket }, packet = ready(2), code = 1006) {
  await WebSocket.last.end(code);
  await pass(1);
  await WebSocket.last.say(packet);
}

const request = (more) => ({
  opcode: 'resume',
  uuid: 'u1',
  secret: 's1',
  cursor: 'E-101',
  ...more,
});

/** As `setUp`; connected, and a message has come. */
async function connected(t, options) {
  const context = setUp(t, options);
  await context.WebSocket.last.say(ready(1));
  await context.WebSocket.last.say(kept(101));
  context.told();
  return context;
}

test('it asks for resume, shows neither cursor nor secret, and says nothing of its own', async (t) => {
  const { WebSocket, client } = setUp(t);
  const events = record(client, 'ready', 'message');
  assert.equal(WebSocket.last.url, 'ws://h/web?user=1&resume=1');
  assert.equal(client.cursor, null);
  await WebSocket.last.say(ready(1));
  assert.equal(client.cursor, 'E-100');
  await WebSocket.last.say(kept(101));
  const [[, first], [, second]] = events;
  assert.deepEqual(first.packet, { opcode: 'ready', uuid: 'u1', cursor: 'E-100' });
  assert.deepEqual(second.packet, { opcode: 'broadcast', message: 101 });
  assert.deepEqual([client.cursor, WebSocket.last.sent], ['E-101', []]);
});

test('it becomes the old tab, under the old uuid, and what it missed follows', async (t) => {
  const context = await connected(t);
  const { WebSocket, client, told } = context;
  await comeBack(context);
  assert.equal(WebSocket.last.url, 'ws://h/web?user=1&resume=1', 'no since beside a resume');
  assert.deepEqual(WebSocket.last.sent, [JSON.stringify(request())], 'the first message');
  assert.equal(client.state, 'connecting');
  await WebSocket.last.next();
  await WebSocket.last.say(resumed({ replayed: 2 }));
  for (const number of [102, 103, 104]) await WebSocket.last.say(kept(number));
  assert.deepEqual(told(), [
    ['ready', 'u1'],
    ['resumed', 2],
    ['message', 102],
    ['message', 103],
    ['message', 104],
  ]);
  assert.deepEqual([client.state, client.uuid, client.cursor], ['open', 'u1', 'E-104']);
});

// protocol.md 2.9
// protocol.md 9.3
test('it takes over the uuid that resumed says: a name that was chosen for the old tab', async (t) => {
  const context = await connected(t);
  const { WebSocket, client } = context;
  await comeBack(context);
  assert.deepEqual(WebSocket.last.sent, [JSON.stringify(request())], 'what it was told');
  await WebSocket.last.next();
  await WebSocket.last.say(resumed({ uuid: 'kiosk' }));
  assert.equal(client.uuid, 'kiosk');
  await comeBack(context, ready(3));
  const again = request({ uuid: 'kiosk', secret: 's2' });
  assert.deepEqual(WebSocket.last.sent, [JSON.stringify(again)]);
});

test('a second loss asks by the new secret, from where it had come to', async (t) => {
  const context = await connected(t);
  const { WebSocket, told } = context;
  await comeBack(context);
  await WebSocket.last.say(resumed({ replayed: 2, resume: 'new' }));
  await WebSocket.last.say(kept(102));
  await comeBack(context, ready(3));
  const again = request({ secret: 'new', cursor: 'E-102' });
  assert.deepEqual(WebSocket.last.packets, [again]);
  await WebSocket.last.say(resumed({ replayed: 1, cursor: 'E-102' }));
  await WebSocket.last.say(kept(103));
  assert.deepEqual(
    told().filter(([type]) => type === 'message'),
    [
      ['message', 102],
      ['message', 103],
    ],
  );
});

test('a loss before the answer to resume asks the same again', async (t) => {
  const context = await connected(t);
  const { WebSocket, client, told } = context;
  for (const number of [2, 3, 4]) {
    await comeBack(context, ready(number));
    assert.deepEqual(WebSocket.last.packets, [request()]);
    await WebSocket.last.next();
  }
  await WebSocket.last.say(resumed());
  assert.equal(client.uuid, 'u1');
  assert.deepEqual(told(), [
    ['ready', 'u1'],
    ['resumed', 0],
  ]);
});

test('nothing received before the loss is no reason to lose what follows', async (t) => {
  const context = setUp(t);
  const { WebSocket, told } = context;
  await WebSocket.last.say(ready(1));
  await comeBack(context);
  assert.deepEqual(WebSocket.last.packets, [request({ cursor: 'E-100' })]);
  await WebSocket.last.say(resumed({ replayed: 1, cursor: 'E-100' }));
  await WebSocket.last.say(kept(101));
  assert.deepEqual(told().at(-1), ['message', 101]);
});

test('the uuid stays while it is away', async (t) => {
  const { pass, WebSocket, client } = await connected(t);
  await WebSocket.last.end();
  assert.equal(client.uuid, 'u1');
  await pass(1);
  assert.equal(client.uuid, 'u1');
  await WebSocket.last.say(ready(2));
  assert.equal(client.uuid, 'u1', 'not for a moment another one');
});

for (const reason of ['restart', 'overflow', 'expired', 'unknown', 'backplane']) {
  test(`what is missing is said, and nothing is made up: ${reason}`, async (t) => {
    const context = await connected(t);
    const { WebSocket, client, told } = context;
    await comeBack(context);
    await WebSocket.last.say(kept(299));
    await WebSocket.last.next();
    const uuid = reason === 'unknown' ? 'u2' : 'u1';
    await WebSocket.last.say(resumed({ uuid, gap: reason, cursor: 'F-300', resume: 'new' }));
    assert.equal(client.cursor, 'F-300');
    await WebSocket.last.say(kept(301));
    assert.deepEqual(told(), [
      ['ready', uuid],
      ['gap', reason],
      ['message', 299],
      ['message', 301],
    ]);
    await comeBack(context, ready(3));
    assert.deepEqual(WebSocket.last.packets, [request({ uuid, secret: 'new', cursor: 'E-301' })]);
    assert.equal(client.uuid, uuid);
  });
}

test('what comes between ready and resumed is repeated behind it, and shown once', async (t) => {
  const context = await connected(t);
  const { WebSocket, told } = context;
  await comeBack(context);
  await WebSocket.last.say(kept(103));
  await WebSocket.last.next();
  await WebSocket.last.say(resumed({ replayed: 2 }));
  await WebSocket.last.say(kept(102));
  await WebSocket.last.say(kept(103));
  assert.deepEqual(
    told().filter(([type]) => type === 'message'),
    [
      ['message', 102],
      ['message', 103],
    ],
  );
});

test('a message that has been here is dropped, whatever it is', async (t) => {
  const { WebSocket, client, told } = await connected(t);
  await WebSocket.last.say(kept(102, { opcode: 'feedback' }));
  await WebSocket.last.say(kept(101));
  await WebSocket.last.say(kept(102, { opcode: 'feedback' }));
  assert.deepEqual(told(), [['message', 102]]);
  assert.equal(client.cursor, 'E-102');
});

test('a cursor in an echo, or in an id, is the business of its sender', async (t) => {
  const { WebSocket, client } = await connected(t);
  const packets = record(client, 'message');
  const echo = { opcode: 'echo', message: 1, cursor: 'E-900' };
  await WebSocket.last.say(echo);
  await WebSocket.last.say({ ...kept(102), once: 'E-103' });
  await WebSocket.last.say({ ...kept(103), once: 'E-102' });
  assert.deepEqual(packets[0][1].packet, echo);
  assert.deepEqual([packets.length, client.cursor], [3, 'E-103']);
});

test('whatever its opcode, a message with a cursor has been here, and comes without it', async (t) => {
  const context = await connected(t);
  const { WebSocket, client, told } = context;
  const price = { opcode: 'price', message: 7, cursor: 'E-102' };
  const events = record(client, 'message');
  await WebSocket.last.say(price);
  assert.deepEqual(events[0][1].packet, { opcode: 'price', message: 7 });
  assert.equal(client.cursor, 'E-102');
  await comeBack(context);
  assert.deepEqual(WebSocket.last.sent, [JSON.stringify(request({ cursor: 'E-102' }))]);
  await WebSocket.last.next();
  await WebSocket.last.say(resumed({ replayed: 1, cursor: 'E-102' }));
  for (const packet of [price, kept(103)]) await WebSocket.last.say(packet);
  assert.deepEqual(told().filter(([type]) => type === 'message'), [['message', 7], ['message', 103]]);
});

test('what comes before resumed and is not kept is not repeated, and shown behind it', async (t) => {
  const context = await connected(t);
  const { WebSocket, told } = context;
  await comeBack(context);
  await WebSocket.last.say({ opcode: 'notice', message: 'unnumbered' });
  await WebSocket.last.say(kept(102));
  await WebSocket.last.next();
  await WebSocket.last.say(resumed({ replayed: 1 }));
  await WebSocket.last.say(kept(102));
  assert.deepEqual(told(), [
    ['ready', 'u1'],
    ['resumed', 1],
    ['message', 'unnumbered'],
    ['message', 102],
  ]);
});

test('what it has sent waits for the answer to resume', async (t) => {
  const context = await connected(t);
  const { WebSocket, client } = context;
  const promises = [client.broadcast('in doubt')];
  await WebSocket.last.end();
  promises.push(client.broadcast('while away'));
  await context.pass(1);
  await WebSocket.last.say(ready(2));
  promises.push(client.broadcast('while resuming'));
  assert.deepEqual(WebSocket.last.packets, [request()]);
  await WebSocket.last.next();
  await WebSocket.last.say(resumed());
  assert.deepEqual(
    WebSocket.last.packets.slice(1).map(({ message }) => message),
    ['in doubt', 'while away', 'while resuming'],
  );
  for (const promise of promises) {
    await WebSocket.last.next();
    await promise;
  }
});

for (const [name, { leave, come }] of Object.entries({
  'was in the back/forward cache': {
    leave: ({ window }) => window.dispatchEvent(pageEvent('pagehide')),
    come: ({ window }) => window.dispatchEvent(pageEvent('pageshow')),
  },
  'was frozen': {
    leave: ({ page }) => page.dispatchEvent(new Event('freeze')),
    come: ({ page }) => page.dispatchEvent(new Event('resume')),
  },
})) {
  test(`a page that ${name} becomes the old tab`, async (t) => {
    const context = await connected(t);
    const { WebSocket, client, told } = context;
    leave(context);
    assert.deepEqual([client.state, client.uuid], ['away', 'u1']);
    come(context);
    await WebSocket.last.say(ready(2));
    assert.deepEqual(WebSocket.last.packets, [request()]);
    await WebSocket.last.say(resumed({ replayed: 1 }));
    await WebSocket.last.say(kept(102));
    assert.deepEqual(told(), [
      ['ready', 'u1'],
      ['resumed', 1],
      ['message', 102],
    ]);
  });

  test(`a page that ${name} while it resumed asks again`, async (t) => {
    const context = await connected(t);
    const { WebSocket } = context;
    await comeBack(context);
    leave(context);
    come(context);
    await WebSocket.last.say(ready(3));
    assert.deepEqual(WebSocket.last.packets, [request()]);
  });
}

const pageEvent = (type) => Object.assign(new Event(type), { persisted: true });

test('a tab that another one has taken over comes back as a new one, and does not fight', async (t) => {
  const context = await connected(t);
  const { WebSocket, client, told } = context;
  await comeBack(context, ready(2), 4409);
  assert.equal(WebSocket.last.url, 'ws://h/web?user=1&resume=1');
  assert.deepEqual(WebSocket.last.sent, []);
  assert.equal(client.uuid, 'u2');
  assert.deepEqual(told(), [
    ['ready', 'u2'],
    ['gap', 'taken-over'],
  ]);
  await comeBack(context, ready(3));
  assert.deepEqual(WebSocket.last.packets, [request({ uuid: 'u2', secret: 's2', cursor: 'E-200' })]);
});

for (const [name, packet] of Object.entries({
  'does not know the word': { opcode: 'ready', uuid: 'u2' },
  'numbers, but cannot resume': ready(2, { resume: undefined }),
})) {
  test(`a server that ${name} leaves a gap, once`, async (t) => {
    const context = await connected(t);
    const { WebSocket, told } = context;
    await comeBack(context, packet);
    assert.deepEqual(WebSocket.last.sent, []);
    assert.deepEqual(told(), [
      ['ready', 'u2'],
      ['gap', 'unsupported'],
    ]);
    await comeBack(context, packet);
    assert.deepEqual(told(), [['ready', 'u2']]);
  });
}

test('a server that does not know the word is as it was, also where packets have a cursor', async (t) => {
  const { pass, WebSocket, client, told } = setUp(t);
  const packets = record(client, 'message');
  await WebSocket.last.open('u1');
  for (const packet of [kept(1), kept(1), { opcode: 'gap', gap: 'overflow', cursor: 'x' }]) {
    await WebSocket.last.say(packet);
    assert.deepEqual(packets.pop()[1].packet, packet);
  }
  assert.equal(client.cursor, null);
  await WebSocket.last.end();
  assert.equal(client.uuid, null);
  await pass(1);
  await WebSocket.last.open('u2');
  assert.deepEqual([client.uuid, WebSocket.last.sent], ['u2', []]);
  assert.deepEqual(
    told().filter(([type]) => type !== 'message'),
    [
      ['ready', 'u1'],
      ['ready', 'u2'],
    ],
  );
});

test('a page that cannot resume, or does not want to, asks for nothing', async (t) => {
  for (const [options, url] of [
    [{ resume: false }, 'ws://h/web?user=1'],
    [{ user: false }, 'ws://h/web'],
    [{ user: false, resume: true }, 'ws://h/web?resume=1'],
    [{ resume: false, since: 'E-5' }, 'ws://h/web?user=1'],
  ]) {
    const { WebSocket, client } = setUp(t, options);
    assert.equal(WebSocket.last.url, url);
    client.quit();
  }
  const WebSocket = fakeWebSocket();
  globalThis.WebSocket = WebSocket;
  const sock = socketWebClient('ws://h', '/web');
  sock.init();
  assert.equal(WebSocket.last.url, 'ws://h/web');
  sock.quit();
});

test('a page rendered by PHP asks for what came since, until it is connected', async (t) => {
  const context = setUp(t, { since: 'E-5+' });
  const { pass, WebSocket, client, told } = context;
  const url = 'ws://h/web?user=1&resume=1&since=E-5%2B';
  assert.deepEqual([WebSocket.last.url, client.cursor], [url, 'E-5+']);
  await WebSocket.last.end();
  await pass(1);
  assert.equal(WebSocket.last.url, url);
  await WebSocket.last.say(ready(1));
  told();
  await comeBack(context);
  assert.deepEqual(WebSocket.last.packets, [request({ cursor: 'E-5+' })], 'nothing has come yet');
  await WebSocket.last.say(resumed({ replayed: 2, cursor: 'E-5+' }));
  await WebSocket.last.say(kept(6));
  await WebSocket.last.say(kept(101));
  assert.equal(client.cursor, 'E-101');
  assert.deepEqual(told(), [
    ['ready', 'u1'],
    ['resumed', 2],
    ['message', 6],
    ['message', 101],
  ]);
});

test('a gap behind ready is told, and what follows begins there', async (t) => {
  const context = setUp(t, { since: 'D-5' });
  const { WebSocket, client, told } = context;
  await WebSocket.last.say(ready(1));
  await WebSocket.last.say({ opcode: 'gap', gap: 'restart', cursor: 'E-100' });
  assert.deepEqual(told(), [
    ['ready', 'u1'],
    ['gap', 'restart'],
  ]);
  assert.equal(client.cursor, 'E-100');
  await WebSocket.last.say({ opcode: 'gap', gap: 'backplane', cursor: 'E-120' });
  assert.deepEqual(told(), [['gap', 'backplane']], 'at any time');
  await comeBack(context);
  assert.deepEqual(WebSocket.last.packets, [request({ cursor: 'E-120' })]);
});

test('since at a server that does not know the word is a gap', async (t) => {
  const { WebSocket, told } = setUp(t, { since: 'E-5' });
  await WebSocket.last.open('u1');
  assert.deepEqual(told(), [
    ['ready', 'u1'],
    ['gap', 'unsupported'],
  ]);
});

test('a server that takes resume without a word is asked once', async (t) => {
  const context = await connected(t);
  const { pass, WebSocket, told } = context;
  await comeBack(context);
  await WebSocket.last.next();
  await pass(10_000);
  await pass(1);
  await WebSocket.last.say(ready(3));
  assert.deepEqual(WebSocket.last.sent, []);
  assert.deepEqual(told(), [
    ['ready', 'u3'],
    ['gap', 'unknown'],
  ]);
});

test('a server that is silent is asked again', async (t) => {
  const context = await connected(t);
  const { pass, WebSocket, told } = context;
  await comeBack(context);
  await pass(10_000);
  assert.equal(WebSocket.all.at(-2).isClosed, true);
  await WebSocket.last.say(ready(3));
  assert.deepEqual(WebSocket.last.packets, [request()]);
  await WebSocket.last.say(resumed());
  assert.deepEqual(told(), [
    ['ready', 'u1'],
    ['resumed', 0],
  ]);
});

test('with a token: auth, then ready, then resume', async (t) => {
  const context = setUp(t, { token: 'abc' });
  const { WebSocket } = context;
  const auth = { opcode: 'auth', token: 'abc' };
  await WebSocket.last.say(ready(1));
  await WebSocket.last.end();
  await context.pass(1);
  WebSocket.last.onopen({});
  await new Promise(setImmediate);
  await WebSocket.last.next();
  await WebSocket.last.say(ready(2));
  assert.deepEqual(WebSocket.last.packets, [auth, request({ cursor: 'E-100' })]);
});

test('after a logout nothing of who was there is asked for', async (t) => {
  const { WebSocket, client, told } = await connected(t);
  await WebSocket.last.end(4401, 'logged out');
  assert.deepEqual([client.uuid, client.cursor], [null, null]);
  client.signIn();
  assert.equal(WebSocket.last.url, 'ws://h/web?user=1&resume=1');
  await WebSocket.last.say(ready(2, { user: '7' }));
  assert.deepEqual([WebSocket.last.sent, told()], [[], [['ready', 'u2']]]);
});

test('signIn on a connection that stands resumes; the server judges who it is', async (t) => {
  const { WebSocket, client, told } = await connected(t);
  client.signIn();
  await WebSocket.last.say(ready(2, { user: '7' }));
  assert.deepEqual(WebSocket.last.packets, [request()]);
  await WebSocket.last.say(resumed({ uuid: 'u2', gap: 'unknown', cursor: 'E-200' }));
  assert.deepEqual(told(), [
    ['ready', 'u2'],
    ['gap', 'unknown'],
  ]);
  assert.equal(client.user, '7');
});

test('after quit there is neither uuid nor cursor', async (t) => {
  const { pass, WebSocket, client } = await connected(t);
  client.quit();
  await WebSocket.last.end(1000);
  assert.deepEqual([client.uuid, client.cursor], [null, null]);
  await pass(HOUR);
  assert.equal(WebSocket.all.length, 1);
});

test('nothing is kept in storage: a page that is loaded anew, or duplicated, is a new tab', async (t) => {
  const touched = [];
  const storage = new Proxy({}, { get: (_, name) => touched.push(name) });
  for (const name of ['sessionStorage', 'localStorage', 'indexedDB']) {
    const known = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value: storage, configurable: true });
    t.after(() =>
      known ? Object.defineProperty(globalThis, name, known) : delete globalThis[name],
    );
  }
  const context = await connected(t);
  await comeBack(context);
  await context.WebSocket.last.say(resumed());
  const copy = new Websock('ws://h/web', { WebSocket: context.WebSocket, log() {} });
  await context.WebSocket.last.say(ready(3));
  assert.deepEqual([copy.uuid, context.client.uuid], ['u3', 'u1']);
  assert.deepEqual([context.WebSocket.last.sent, touched], [[], []]);
  copy.quit();
});
