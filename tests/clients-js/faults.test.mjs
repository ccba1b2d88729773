// Through a proxy that fails: nothing is lost, nothing comes twice, nothing out of order.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  connected,
  event,
  eventWhere,
  randomFrom,
  range,
  startProxy,
  startServer,
  within,
} from './harness.mjs';

/** A sender behind the proxy, a receiver that is not, and what the receiver has got. */
async function setUp(t, options) {
  const { url, port } = await startServer(t);
  const proxy = await startProxy(t, port);
  const sender = await connected(t, proxy.url, options);
  const receiver = await connected(t, `${url}/web`);
  const got = [];
  receiver.addEventListener('message', ({ packet }) => got.push(packet.message));
  return { proxy, sender, receiver, got };
}

/** Waits until `receiver` has got everything that was sent before. */
async function flushed({ sender, receiver, got }) {
  const end = eventWhere(receiver, 'message', ({ packet }) => packet.message === 'end');
  await within(sender.broadcast('end'), 'the last answer');
  await end;
  got.pop();
}

for (const [way, fate] of [
  ['up', 'did not reach the server'],
  ['down', 'was handled, its next lost'],
]) {
  test(`a message that ${fate} when the connection broke arrives once`, async (t) => {
    const context = await setUp(t);
    const { proxy, sender, receiver, got } = context;
    proxy.hold(way);
    const arrived = way === 'down' && event(receiver, 'broadcast');
    const promise = sender.broadcast('in doubt');
    await (arrived || proxy.held(way));
    proxy.cut();
    proxy.release();
    await within(promise, 'the answer on the next connection');
    await flushed(context);
    assert.deepEqual(got, ['in doubt']);
  });

  test(`without resend, one that ${fate} is rejected and arrives at most once`, async (t) => {
    const context = await setUp(t, { resend: false });
    const { proxy, sender, receiver, got } = context;
    proxy.hold(way);
    const arrived = way === 'down' && event(receiver, 'broadcast');
    const promise = sender.broadcast('in doubt');
    await (arrived || proxy.held(way));
    proxy.cut();
    proxy.release();
    await assert.rejects(promise, { name: 'WebsockError', code: 'in-doubt' });
    await flushed(context);
    assert.deepEqual(got, way === 'down' ? ['in doubt'] : []);
  });

  test(`a half-open connection is found out, one that ${fate} arrives once`, async (t) => {
    const context = await setUp(t, { timeout: 200 });
    const { proxy, sender, got } = context;
    const close = event(sender, 'close');
    proxy.hold(way);
    const promise = sender.broadcast('in doubt');
    const { reason } = await close;
    assert.equal(reason, 'no answer in time');
    proxy.cut();
    proxy.release();
    await within(promise, 'the answer on the next connection');
    await flushed(context);
    assert.deepEqual(got, ['in doubt']);
  });

  test(`a delay shorter than the timeout is waited for (${way})`, async (t) => {
    const context = await setUp(t);
    const { proxy, sender, got } = context;
    const { uuid } = sender;
    proxy.hold(way);
    const promises = ['a', 'b', 'c'].map((word) => sender.broadcast(word));
    await proxy.held(way);
    proxy.release();
    await within(Promise.all(promises), 'the late answers');
    await flushed(context);
    assert.equal(sender.uuid, uuid);
    assert.deepEqual(got, ['a', 'b', 'c']);
  });
}

test('the silence of a half-open connection is found out without a message', async (t) => {
  const { proxy, sender } = await setUp(t, { heartbeat: 100, timeout: 100 });
  const close = event(sender, 'close');
  proxy.hold('down');
  assert.equal((await close).reason, 'no answer in time');
  const ready = event(sender, 'ready');
  proxy.cut();
  proxy.release();
  await ready;
});

const SEEDS = (process.env.WEBSOCK_SEEDS ?? '1,2,3,4,5,6').split(',').map(Number);

for (const seed of SEEDS) {
  test(`300 messages through 30 random cuts arrive once and in order (seed ${seed})`, async (t) => {
    const random = randomFrom(seed);
    const context = await setUp(t, { inFlight: 1 + random(32), timeout: 5000 });
    const { proxy, sender, got } = context;
    const promises = [];
    for (let number = 0; number < 300; number++) {
      promises.push(sender.broadcast(number));
      if (number % 10 !== 9) continue;
      if (number > 30) await within(promises[number - 30], 'an answer between two cuts');
      const fault = random(3);
      if (fault) proxy.hold(fault === 1 ? 'up' : 'down');
      for (let turns = random(20); turns > 0; turns--) await new Promise(setImmediate);
      proxy.cut();
      proxy.release();
    }
    await within(Promise.all(promises), 'all answers');
    await flushed(context);
    assert.deepEqual(
      got,
      range(300),
    );
  });
}
