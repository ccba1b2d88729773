// Server-sent events where WebSockets do not get through, against the real server.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fakePage } from './fake-socket.mjs';
import {
  connect,
  connected,
  event,
  eventWhere,
  push,
  range,
  startHttpProxy,
  startServer,
  stateDirectory,
} from './harness.mjs';

const fetch = globalThis.fetch;

/** A server, a proxy before it that treats WebSockets so, and a client behind that on events. */
async function setUp(t, upgrade, { ini, ...options } = {}) {
  const server = await startServer(t, { ini });
  const proxy = await startHttpProxy(t, server.port, upgrade);
  const client = connect(t, proxy.url, { fetch, connectTimeout: 2000, ...options });
  await event(client, 'ready');
  return { server, proxy, client, direct: `${server.url}/web` };
}

for (const upgrade of ['refuse', 'cut', 'cut later', 'strip']) {
  test(`behind a proxy that treats upgrades so: ${upgrade}`, async (t) => {
    const context = await setUp(t, upgrade);
    const { client, direct } = context;
    assert.equal(client.transport, 'sse');
    assert.match(client.uuid, /^[0-9a-f-]{36}$/);

    const other = await connected(t, direct);
    const heard = event(other, 'broadcast');
    await client.broadcast({ from: 'a stream' });
    assert.deepEqual((await heard).packet.message, { from: 'a stream' });

    const broadcast = event(client, 'broadcast');
    await other.broadcast('ü 🎈\n');
    assert.equal((await broadcast).packet.message, 'ü 🎈\n');
    const feedback = event(client, 'feedback');
    assert.deepEqual(await push(context.server, { opcode: 'feedback', uuid: client.uuid, message: 1 }), [
      200,
      { delivered: 1 },
    ]);
    assert.equal((await feedback).packet.message, 1);
    const echo = event(client, 'echo');
    const long = 'x'.repeat(100_000);
    await client.echo(long);
    assert.equal((await echo).packet.message, long);
    await client.quit();
    assert.equal(client.state, 'closed');
  });
}

test('messages arrive in order, many in flight', async (t) => {
  const { client } = await setUp(t, 'refuse');
  const seen = [];
  client.addEventListener('echo', ({ packet }) => seen.push(packet.message));
  const end = eventWhere(client, 'echo', ({ packet }) => packet.message === 199);
  const numbers = range(200);
  await Promise.all(numbers.map((number) => client.echo(number)));
  await end;
  assert.deepEqual(seen, numbers);
});

test('what a page may send is judged as over a WebSocket', async (t) => {
  const { client } = await setUp(t, 'refuse', { ini: { webSends: 'echo', maxWebMessage: '1K' } });
  const error = eventWhere(client, 'error', ({ error: { code } }) => code === 'forbidden');
  await client.broadcast('no');
  assert.match((await error).error.message, /webSends/);
  const [long, short] = [client.echo('x'.repeat(2000)), client.echo('short')];
  await assert.rejects(long, { code: 'too-long' });
  await short;
  assert.equal(client.transport, 'sse');
});

test('a stream that is cut comes back, and what was sent meanwhile goes out', async (t) => {
  const { proxy, client } = await setUp(t, 'refuse');
  const close = event(client, 'close');
  proxy.cut();
  await close;
  const ready = event(client, 'ready');
  const echo = event(client, 'echo');
  await client.echo('kept');
  await ready;
  assert.equal((await echo).packet.message, 'kept');
});

test('a server that is restarted says so, and finds the stream again', async (t) => {
  const { server, client } = await setUp(t, 'refuse', { ini: { drainSpread: '1' } });
  const close = event(client, 'close');
  await server.stop();
  assert.equal((await close).code, 1012);
  const ready = event(client, 'ready');
  await startServer(t, { port: server.port });
  await ready;
  assert.equal(client.transport, 'sse');
  await client.echo('there again');
});

test('events miss nothing over a restart of a server that writes down what it keeps', async (t) => {
  const ini = { stateDir: stateDirectory(t), drainSpread: '1' };
  const { server, client, direct } = await setUp(t, 'refuse', { ini });
  const gaps = [];
  client.addEventListener('gap', ({ reason }) => gaps.push(reason));
  const other = await connected(t, direct);
  const seen = [];
  client.addEventListener('broadcast', ({ packet }) => seen.push(packet.message));
  const first = event(client, 'broadcast');
  await other.broadcast('before');
  await first;
  const missed = eventWhere(client, 'broadcast', ({ packet }) => packet.message === 'meanwhile');
  await server.stop();
  await startServer(t, { port: server.port, ini });
  await other.broadcast('meanwhile');
  await missed;
  assert.deepEqual([seen, gaps, client.transport], [['before', 'meanwhile'], [], 'sse']);
});

test('WebSocket takes over when it gets through, under load, and nothing is lost', async (t) => {
  const { window } = fakePage(t);
  const { proxy, client, direct } = await setUp(t, 'refuse');
  const other = await connected(t, direct);
  const [seen, heard] = [[], []];
  client.addEventListener('broadcast', ({ packet }) => seen.push(packet.message));
  other.addEventListener('broadcast', ({ packet }) => heard.push(packet.message));
  const ends = [client, other].map((one) =>
    eventWhere(one, 'broadcast', ({ packet }) => packet.message === 299),
  );
  const moved = event(client, 'transport');
  for (let number = 0; number < 300; number++) {
    const both = [client.broadcast(number), other.broadcast(number)];
    if (number === 100) proxy.upgrade = 'pass';
    if (number === 100) window.dispatchEvent(new Event('online'));
    if (number % 10 === 9) await Promise.all(both);
  }
  assert.equal((await moved).transport, 'websocket');
  await Promise.all(ends);
  const numbers = range(300);
  assert.deepEqual(seen, numbers);
  assert.deepEqual(heard, numbers);
});
