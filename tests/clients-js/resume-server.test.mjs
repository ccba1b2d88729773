// Nothing is lost while away, against the real server (docs/protocol.md 9).
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';

import { fakePage, record } from './fake-socket.mjs';
import {
  connect,
  connected,
  event,
  eventWhere,
  push,
  randomFrom,
  range,
  startProxy,
  startServer,
  stateDirectory,
  WebSocket,
  within,
} from './harness.mjs';

const feedback = (uuid, message) => ({ opcode: 'feedback', uuid, message });

/** A server, a proxy that fails as told, and a tab behind it that tells what it sees. */
async function setUp(t, { ini, path = '/web', ...options } = {}) {
  const server = await startServer(t, { ini });
  const proxy = await startProxy(t, server.port);
  const tab = await connected(t, new URL(path, proxy.url).href, options);
  return { server, proxy, tab, ...watch(tab) };
}

/** What a tab tells from now on: `told()`, and `next(n)`, which waits for that many messages. */
function watch(tab) {
  const events = record(tab, 'ready', 'resumed', 'gap', 'message');
  const about = ({ uuid, replayed, reason, packet }) =>
    uuid ?? replayed ?? reason ?? packet.message;
  const told = () => events.map(([type, event]) => [type, about(event)]);
  const messages = () => told().filter(([type]) => type === 'message').map(([, text]) => text);
  const next = async (count) => {
    while (messages().length < count) await event(tab, 'message');
    return messages();
  };
  return { told, messages, next };
}

/** The connection breaks, `then` happens while the tab is away, and it comes back. */
async function away({ proxy, tab }, then) {
  const close = event(tab, 'close');
  proxy.isClosed = true;
  proxy.cut();
  await close;
  await then();
  const ready = event(tab, 'ready');
  proxy.isClosed = false;
  await ready;
}

/** Waits until the server has noticed that nobody is at a uuid; what it said then. */
async function queued(server, packet) {
  const ask = async () => {
    for (;;) {
      const [status, answer] = await push(server, packet);
      if (status !== 200) return [status, answer];
    }
  };
  return within(ask(), 'a push that finds nobody');
}

test('a tab that has received nothing yet misses nothing, and keeps its uuid', async (t) => {
  const context = await setUp(t);
  const { server, tab, told, next } = context;
  const { uuid } = tab;
  await away(context, async () => {
    for (const number of range(10)) {
      assert.deepEqual(await push(server, feedback(uuid, number)), [
        202,
        { delivered: 0, queued: 1 },
      ]);
    }
  });
  assert.deepEqual(await next(10), range(10));
  assert.deepEqual(told().slice(0, 2), [
    ['ready', uuid],
    ['resumed', 10],
  ]);
  assert.equal(tab.uuid, uuid);
});

test('a blip of which nobody has noticed anything is told as such', async (t) => {
  const context = await setUp(t);
  const { tab, told } = context;
  for (let times = 0; times < 3; times++) {
    const resumed = event(tab, 'resumed');
    context.proxy.cut();
    assert.equal((await resumed).replayed, 0);
  }
  assert.ok(told().every(([type]) => type !== 'gap'));
});

test('losses in a row, each in the middle of the replay, lose and double nothing', async (t) => {
  const context = await setUp(t, { ini: { replaySize: 5000 } });
  const { server, proxy, tab, next, told } = context;
  const { uuid } = tab;
  const other = await connected(t, `${server.url}/web`);
  await away(context, async () => {
    for (const number of range(300)) await push(server, feedback(uuid, number));
  });
  for (const count of [1, 50, 120]) {
    await next(count);
    proxy.cut();
  }
  await next(300);
  for (const number of range(20)) {
    await other.broadcast(300 + number);
    proxy.cut();
  }
  assert.deepEqual(await next(320), range(320));
  assert.equal(tab.uuid, uuid);
  assert.ok(told().every(([type]) => type !== 'gap'));
});

test('a half-open connection loses nothing', async (t) => {
  // A tab that answers in time is not left on a busy machine, either.
  const context = await setUp(t, { heartbeat: 1000, timeout: 2000 });
  const { server, proxy, tab, next, told } = context;
  proxy.hold('down');
  assert.deepEqual(await push(server, feedback(tab.uuid, 'deaf')), [200, { delivered: 1 }]);
  await event(tab, 'close');
  proxy.cut();
  proxy.release();
  assert.deepEqual(await next(1), ['deaf']);
  assert.deepEqual(told()[1], ['resumed', 1]);
});

for (const [count, expected] of [
  [5, ['resumed', 5]],
  [6, ['gap', 'overflow']],
]) {
  test(`${count} messages where five are kept`, async (t) => {
    const context = await setUp(t, { ini: { replaySize: 5 } });
    const { server, tab, told, messages, next } = context;
    const { uuid } = tab;
    await away(context, async () => {
      for (const number of range(count)) await push(server, feedback(uuid, number));
    });
    await push(server, feedback(uuid, 'live'));
    const all = count === 5 ? [...range(5), 'live'] : ['live'];
    await next(all.length);
    assert.deepEqual(messages(), all);
    assert.deepEqual(told().slice(0, 2), [['ready', uuid], expected]);
  });
}

test('what a page has said itself does not count as missed', async (t) => {
  const context = await setUp(t, { ini: { replaySize: 5 } });
  const { tab, told } = context;
  for (const number of range(20)) await tab.broadcast(number);
  const resumed = event(tab, 'resumed');
  context.proxy.cut();
  assert.equal((await resumed).replayed, 0);
  assert.ok(told().every(([type]) => type !== 'gap'));
});

test('numbered, unnumbered and own packets in turn come once and in order', async (t) => {
  const context = await setUp(t);
  const { server, proxy, tab, messages } = context;
  const other = await connected(t, `${server.url}/web`);
  const expected = [];
  for (const number of range(30)) {
    await other.broadcast(`b${number}`);
    expected.push(`b${number}`);
    if (number % 10 === 4) proxy.cut();
    const echo = eventWhere(tab, 'echo', ({ packet }) => packet.message === `e${number}`);
    await tab.echo(`e${number}`);
    if (number % 10 !== 4) await echo;
  }
  const end = event(tab, 'feedback');
  await push(server, feedback(tab.uuid, 'end'));
  await end;
  assert.deepEqual(
    messages().filter((text) => text[0] === 'b'),
    expected,
  );
});

test('a tab that was away for too long is told', async (t) => {
  const { page } = fakePage(t);
  const context = await setUp(t, { ini: { replayTime: 1 } });
  const { server, tab, told } = context;
  const { uuid } = tab;
  page.dispatchEvent(new Event('freeze'));
  const gone = async () => {
    while ((await push(server, feedback(uuid, 'anybody?')))[0] !== 404) {
      await new Promise(setImmediate);
    }
  };
  await within(gone(), 'the end of what is kept');
  const gap = event(tab, 'gap');
  page.dispatchEvent(new Event('resume'));
  assert.equal((await gap).reason, 'expired');
  assert.equal(told().filter(([type]) => type === 'message').length, 0);
});

// protocol.md 2.9
// protocol.md 9.3
test('a page that has chosen a name loses nothing, and then knows it', async (t) => {
  const context = await setUp(t, { path: '/' });
  const { server, tab, told, next } = context;
  await tab.send({ opcode: 'uuid', message: 'kiosk' });
  for (const number of [0, 1]) {
    await away(context, () => queued(server, feedback('kiosk', number)));
    assert.equal(tab.uuid, 'kiosk');
  }
  await push(server, feedback('kiosk', 2));
  while (!(await next(1)).includes(2)) await event(tab, 'message');
  assert.ok(told().every(([type]) => type !== 'gap'));
});

test('over a restart nothing is lost where the server writes down what it keeps', async (t) => {
  const ini = { stateDir: stateDirectory(t) };
  const { server, tab, told, next, proxy } = await setUp(t, { ini });
  const { uuid } = tab;
  await push(server, feedback(uuid, 0));
  await next(1);
  proxy.hold('down');
  await push(server, feedback(uuid, 1));
  await server.stop();
  proxy.cut();
  proxy.release();
  const again = await startServer(t, { port: server.port, ini });
  const [status] = await push(again, feedback(uuid, 2));
  assert.ok(status === 202 || status === 200, `${status}`);
  assert.deepEqual(await next(3), range(3));
  assert.equal(tab.uuid, uuid);
  assert.ok(told().every(([type]) => type !== 'gap'));
});

for (const signal of ['SIGTERM', 'SIGKILL']) {
  test(`a server that has written down nothing leaves a gap (${signal})`, async (t) => {
    const { server, tab, told } = await setUp(t);
    const { uuid } = tab;
    const gap = event(tab, 'gap');
    await server.stop(signal);
    await startServer(t, { port: server.port });
    assert.equal((await gap).reason, 'restart');
    assert.notEqual(tab.uuid, uuid);
    assert.deepEqual(
      told().map(([type]) => type),
      ['ready', 'gap'],
    );
  });
}

test('a tab that another one takes over comes back as a new one, and they do not fight', async (t) => {
  const secrets = [];
  class Spied extends WebSocket {
    set onmessage(handle) {
      super.onmessage = (message) => {
        const { opcode, uuid, resume, cursor } = JSON.parse(message.data);
        if (opcode === 'ready') secrets.push({ uuid, secret: resume, cursor });
        handle?.(message);
      };
    }
  }
  const { tab, told, server } = await setUp(t, { WebSocket: Spied });
  const { uuid } = tab;
  const thief = new WebSocket(`${server.url}/web?resume=1`);
  t.after(() => thief.terminate());
  const got = [];
  thief.on('message', (data) => {
    const packet = JSON.parse(data);
    got.push(packet);
    if (packet.opcode === 'ready') thief.send(JSON.stringify({ opcode: 'resume', ...secrets[0] }));
  });
  const gap = await event(tab, 'gap');
  assert.equal(gap.reason, 'taken-over');
  assert.notEqual(tab.uuid, uuid);
  assert.deepEqual(await push(server, feedback(tab.uuid, 'new')), [200, { delivered: 1 }]);
  assert.deepEqual(await push(server, feedback(uuid, 'old')), [200, { delivered: 1 }]);
  assert.deepEqual(
    told().map(([type]) => type),
    ['ready', 'gap', 'message'],
  );
  assert.equal(thief.readyState, WebSocket.OPEN);
});

test('a page rendered by PHP misses nothing until it is connected', async (t) => {
  const server = await startServer(t);
  const other = await connected(t, `${server.url}/web`);
  const response = await fetch(`http://127.0.0.1:${server.port}/position`);
  const { cursor } = await response.json();
  await other.broadcast('rendered');
  await other.broadcast('loading');
  const tab = connect(t, `${server.url}/web`, { since: cursor });
  const { next, told } = watch(tab);
  assert.deepEqual(await next(2), ['rendered', 'loading']);
  const reloaded = connect(t, `${server.url}/web`, { since: tab.cursor });
  const seen = watch(reloaded);
  await event(reloaded, 'ready');
  await other.broadcast('live');
  assert.deepEqual(await seen.next(1), ['live']);
  assert.deepEqual(await next(3), ['rendered', 'loading', 'live']);
  assert.ok([...told(), ...seen.told()].every(([type]) => type !== 'gap'));
});

test('a position that is none is a gap, and the page goes on', async (t) => {
  const server = await startServer(t);
  const tab = connect(t, `${server.url}/web`, { since: 'nonsense & <b>' });
  const [gap] = await Promise.all([event(tab, 'gap'), event(tab, 'ready')]);
  assert.equal(gap.reason, 'unknown');
  const live = event(tab, 'feedback');
  await push(server, feedback(tab.uuid, 'live'));
  await live;
});

const KEY = 'a secret of thirty-two bytes or more';

function token(user) {
  const exp = Math.floor(Date.now() / 1000) + 600;
  const parts = [{ alg: 'HS256', typ: 'JWT' }, { sub: user, exp, aud: 'websock' }];
  const signed = parts
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return `${signed}.${createHmac('sha256', KEY).update(signed).digest('base64url')}`;
}

test('messages to a user are caught up with by each of its tabs; nobody else gets them', async (t) => {
  const context = await setUp(t, { ini: { authKey: KEY }, token: token('42') });
  const { server, tab, next, told } = context;
  await away(context, async () => {
    for (const number of range(3)) {
      await queued(server, { opcode: 'feedback', user: '42', message: number });
    }
  });
  assert.deepEqual(await next(3), range(3));
  const ready = event(tab, 'ready');
  tab.signIn(token('42'));
  await ready;
  assert.deepEqual(told().at(-1), ['resumed', 0], 'the same user is the same tab');
  const gap = event(tab, 'gap');
  tab.signIn(token('7'));
  assert.equal((await gap).reason, 'unknown');
  assert.equal(tab.user, '7');
});

const TABS = Number(process.env.WEBSOCK_TABS ?? 300);

test(`${TABS} tabs through a proxy that cuts at random: nothing lost, nothing double`, async (t) => {
  const random = randomFrom(Number(process.env.WEBSOCK_SEEDS?.split(',')[0] ?? 7));
  const server = await startServer(t, { ini: { replaySize: 1000, replayMemory: '256M' } });
  const proxy = await startProxy(t, server.port);
  const sender = await connected(t, `${server.url}/web`);
  const options = { timeout: 10_000, connectTimeout: 10_000 };
  const tabs = [];
  while (tabs.length < TABS) {
    const some = range(Math.min(50, TABS - tabs.length));
    tabs.push(...(await Promise.all(some.map(() => connected(t, proxy.url, options)))));
  }
  const uuids = tabs.map(({ uuid }) => uuid);
  const seen = tabs.map((tab) => watch(tab));
  const expected = tabs.map(() => []);
  for (const number of range(100)) {
    for (let cuts = random(1 + TABS / 20); cuts > 0; cuts--) proxy.cutOne(random);
    if (number % 25 === 24) proxy.cut();
    await sender.broadcast(number);
    expected.forEach((list) => list.push(number));
    for (let count = 0; count < 5; count++) {
      const one = random(TABS);
      const [status] = await push(server, feedback(uuids[one], `f${number}`));
      assert.ok(status === 200 || status === 202, `${status}`);
      expected[one].push(`f${number}`);
    }
  }
  await sender.broadcast('end');
  expected.forEach((list) => list.push('end'));
  await Promise.all(seen.map(({ next }, one) => next(expected[one].length)));
  seen.forEach(({ messages, told }, one) => {
    assert.deepEqual(messages(), expected[one]);
    assert.ok(told().every(([type]) => type !== 'gap'));
  });
  assert.deepEqual(tabs.map(({ uuid }) => uuid), uuids);
  const replayed = seen.flatMap(({ told }) => told()).filter(([type]) => type === 'resumed');
  t.diagnostic(`${replayed.length} times resumed`);
});

test('the server is replaced 20 times under load: nothing lost, nothing double', async (t) => {
  const ini = { stateDir: stateDirectory(t), replaySize: 5000, drainSpread: 0 };
  let server = await startServer(t, { ini });
  const tabs = await Promise.all(range(20).map(() => connected(t, `${server.url}/web`)));
  const seen = tabs.map((tab) => watch(tab));
  let isOver = false;
  let count = 0;
  const say = async () => {
    for (; !isOver; count++) await tabs[0].broadcast(count);
  };
  const load = say();
  for (let times = 0; times < 20; times++) {
    await seen[1].next(count + 10);
    await server.stop();
    server = await startServer(t, { port: server.port, ini });
  }
  isOver = true;
  await within(load, 'the last answer');
  await Promise.all(seen.slice(1).map(({ next }) => next(count)));
  seen.forEach(({ messages, told }, one) => {
    if (one > 0) assert.deepEqual(messages(), range(count));
    assert.deepEqual(told().filter(([type]) => type === 'gap'), []);
  });
});
