import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Websock } from '../../clients/js/websock.mjs';
import { fakeClock, fakePage, fakeWebSocket, record } from './fake-socket.mjs';

const URL = 'ws://localhost:8096/web';

function setUp(t, options) {
  const pass = fakeClock(t);
  const WebSocket = fakeWebSocket();
  const client = new Websock(URL, { WebSocket, log() {}, ...options });
  return { pass, WebSocket, client };
}

test('the limit of the random delay doubles up to maxDelay', async (t) => {
  const { pass, WebSocket, client } = setUp(t);
  t.mock.method(Math, 'random', () => 0.5);
  const closings = record(client, 'close');
  for (const delay of [500, 1000, 2000, 4000, 8000, 15_000, 15_000]) {
    await WebSocket.last.end();
    const count = WebSocket.all.length;
    assert.equal(closings.at(-1)[1].delay, delay);
    await pass(delay - 1);
    assert.equal(WebSocket.all.length, count, `not before ${delay} ms`);
    await pass(1);
    assert.equal(WebSocket.all.length, count + 1, `after ${delay} ms`);
  }
});

test('the delay is spread over the whole of its range', async (t) => {
  for (const [random, delay] of [
    [0, 0],
    [0.25, 250],
    [0.999, 999],
  ]) {
    const WebSocket = fakeWebSocket();
    const client = new Websock(URL, { WebSocket, log() {} });
    const closings = record(client, 'close');
    t.mock.method(Math, 'random', () => random);
    await WebSocket.last.end();
    t.mock.restoreAll();
    assert.equal(closings[0][1].delay, delay);
    client.quit();
  }
});

test('a connection that has lasted makes the delays begin anew, a short one not', async (t) => {
  const { pass, WebSocket, client } = setUp(t);
  t.mock.method(Math, 'random', () => 0.5);
  const closings = record(client, 'close');
  const delays = [];
  for (const lifetime of [0, 0, 10_001, 0]) {
    await WebSocket.last.open();
    await pass(lifetime);
    await WebSocket.last.end();
    delays.push(closings.at(-1)[1].delay);
    await pass(delays.at(-1));
  }
  assert.deepEqual(delays, [500, 1000, 500, 1000]);
});

test('an attempt without an answer is given up after connectTimeout', async (t) => {
  const { pass, WebSocket, client } = setUp(t, { connectTimeout: 3000 });
  const errors = record(client, 'error');
  await pass(3000);
  assert.equal(WebSocket.last.isClosed, true);
  assert.equal(client.state, 'waiting');
  assert.equal(errors[0][1].error.code, 'unreachable');
});

test('a server that answers but never says ready is told from one that is not there', async (t) => {
  const { pass, WebSocket, client } = setUp(t);
  const errors = record(client, 'error');
  WebSocket.last.onopen({});
  await pass(10_000);
  assert.equal(errors[0][1].error.code, 'dialogue');
  assert.match(errors[0][1].error.message, /ready.*another WebSocket server/);
});

test('it comes back at once when the browser is online again', async (t) => {
  const { window } = fakePage(t);
  const { WebSocket } = setUp(t);
  await WebSocket.last.end();
  window.dispatchEvent(new Event('online'));
  assert.equal(WebSocket.all.length, 2);
});

test('it comes back at once when the page is visible again, not when it is hidden', async (t) => {
  const { page } = fakePage(t);
  const { WebSocket } = setUp(t);
  await WebSocket.last.end();
  page.hidden = true;
  page.dispatchEvent(new Event('visibilitychange'));
  assert.equal(WebSocket.all.length, 1);
  page.hidden = false;
  page.dispatchEvent(new Event('visibilitychange'));
  assert.equal(WebSocket.all.length, 2);
});

test('an open connection is tested when the browser is online again', async (t) => {
  const { window } = fakePage(t);
  const { pass, WebSocket, client } = setUp(t);
  await WebSocket.last.open();
  window.dispatchEvent(new Event('online'));
  assert.deepEqual(WebSocket.last.packets, [{ opcode: 'ping' }]);
  await pass(20_000);
  assert.equal(client.state, 'waiting');
});

test('a client that was closed listens to the page no more', async (t) => {
  const { window } = fakePage(t);
  const { WebSocket, client } = setUp(t);
  await WebSocket.last.end();
  client.quit();
  window.dispatchEvent(new Event('online'));
  assert.equal(WebSocket.all.length, 1);
});

for (const code of [1000, 1002, 1003, 1007, 1010]) {
  test(`after close code ${code} it does not come back`, async (t) => {
    const { pass, WebSocket, client } = setUp(t);
    await WebSocket.last.open();
    await WebSocket.last.end(code);
    assert.equal(client.state, 'closed');
    await pass(3_600_000);
    assert.equal(WebSocket.all.length, 1);
  });
}

for (const code of [1001, 1005, 1006, 1008, 1009, 1011, 1012, 1013, 4000]) {
  test(`after close code ${code} it comes back`, async (t) => {
    const { pass, WebSocket, client } = setUp(t);
    await WebSocket.last.open();
    await WebSocket.last.end(code);
    assert.equal(client.state, 'waiting');
    await pass(1000);
    assert.equal(WebSocket.all.length, 2);
  });
}

test('an unknown path is told and for good, a crowded server told and not', async (t) => {
  for (const [error, state] of [
    ['no resource /nope', 'closed'],
    ['Too many connections from: 192.0.2.1', 'waiting'],
  ]) {
    const WebSocket = fakeWebSocket();
    const client = new Websock(URL, { WebSocket, log() {} });
    const events = record(client, 'error', 'close');
    WebSocket.last.onopen({});
    await WebSocket.last.say({ opcode: 'close', error });
    await WebSocket.last.end(1008);
    assert.equal(client.state, state);
    assert.equal(events[0][1].error.code, 'refused');
    assert.ok(events[0][1].error.message.includes(error));
    assert.equal(events[1][1].reason, error);
    client.quit();
  }
});

test('isFinal decides instead, if it is given', async (t) => {
  const { WebSocket, client } = setUp(t, { isFinal: (code) => code === 4001 });
  await WebSocket.last.open();
  await WebSocket.last.end(1000);
  assert.equal(client.state, 'waiting');
  client.quit();
  const other = new Websock(URL, { WebSocket, log() {}, isFinal: (code) => code === 4001 });
  await WebSocket.last.open();
  await WebSocket.last.end(4001, 'signed out');
  assert.equal(other.state, 'closed');
});

test('after silence the server is asked for a sign of life, and is heard', async (t) => {
  const { pass, WebSocket, client } = setUp(t);
  await WebSocket.last.open();
  for (let round = 1; round <= 3; round++) {
    await pass(25_000);
    assert.equal(WebSocket.last.sent.length, round);
    await WebSocket.last.next();
  }
  assert.deepEqual(WebSocket.last.packets[0], { opcode: 'ping' });
  assert.equal(client.state, 'open');
});

test('a message from the server is a sign of life', async (t) => {
  const { pass, WebSocket } = setUp(t);
  await WebSocket.last.open();
  for (let round = 0; round < 5; round++) {
    await pass(24_999);
    await WebSocket.last.say({ opcode: 'broadcast', message: round });
  }
  assert.deepEqual(WebSocket.last.sent, []);
});

test('a server that does not answer is given up, its late words are ignored', async (t) => {
  const { pass, WebSocket, client } = setUp(t);
  const events = record(client, 'close', 'message');
  await WebSocket.last.open();
  await pass(25_000);
  await pass(20_000);
  assert.equal(client.state, 'waiting');
  assert.equal(WebSocket.last.isClosed, true);
  assert.equal(events[0][1].reason, 'no answer in time');
  await WebSocket.last.say({ opcode: 'broadcast', message: 'late' });
  assert.equal(events.length, 1);
});

test('an unanswered message is a question too; heartbeat=0 asks none', async (t) => {
  const { pass, WebSocket, client } = setUp(t, { heartbeat: 0 });
  await WebSocket.last.open();
  await pass(3_600_000);
  assert.equal(client.state, 'open');
  assert.deepEqual(WebSocket.last.sent, []);
  client.echo('hello');
  await pass(20_000);
  assert.equal(client.state, 'waiting');
});

test('a long message on a slow line is not taken for silence', async (t) => {
  const { pass, WebSocket, client } = setUp(t);
  await WebSocket.last.open();
  WebSocket.last.bufferedAmount = 1000;
  client.echo('long');
  for (const rest of [900, 500, 1]) {
    WebSocket.last.bufferedAmount = rest;
    await pass(20_000);
    assert.equal(client.state, 'open');
  }
  await pass(20_000);
  assert.equal(client.state, 'waiting');
});

const REQUESTED = `${URL}?user=1&resume=1`;

// What a browser says of a request that the page's policy forbids.
function violation(fields) {
  return Object.assign(new Event('securitypolicyviolation'), {
    blockedURI: REQUESTED,
    effectiveDirective: 'connect-src',
    disposition: 'enforce',
    ...fields,
  });
}

const REPORTED = [
  REQUESTED,
  'http://localhost:8096/web?user=1&resume=1',
  URL,
  'ws://localhost:8096',
  'ws',
];
for (const blockedURI of REPORTED) {
  test(`a policy that forbids the socket is named at once, reported as ${blockedURI}`, async (t) => {
    const { window } = fakePage(t);
    const { pass, WebSocket, client } = setUp(t);
    const events = record(client, 'error', 'close');
    const kept = client.echo('kept');
    WebSocket.last.readyState = 3;
    window.dispatchEvent(violation({ blockedURI }));
    assert.equal(client.state, 'closed');
    await assert.rejects(kept, { code: 'closed' });
    const { code, message } = events[0][1].error;
    assert.equal(code, 'address');
    assert.match(message, /Content-Security-Policy.* ws:\/\/localhost:8096 .*connect-src/);
    assert.equal(events.at(-1)[1].isFinal, true);
    await pass(3_600_000);
    assert.equal(WebSocket.all.length, 1);
  });
}

test('what a policy forbids elsewhere, or only reports, is not taken for the socket', async (t) => {
  const { window } = fakePage(t);
  const { WebSocket, client } = setUp(t);
  WebSocket.last.readyState = 0;
  for (const fields of [
    { blockedURI: 'ws://localhost:8097/web' },
    { blockedURI: 'ws' }, // another socket of the page: ours has not failed
    { blockedURI: 'inline' },
    { disposition: 'report' },
  ]) {
    window.dispatchEvent(violation(fields));
    assert.equal(client.state, 'connecting', JSON.stringify(fields));
  }
  await WebSocket.last.open();
  window.dispatchEvent(violation());
  assert.equal(client.state, 'open');
});

test('an address that the browser refuses outright is a matter of scheme or policy', async (t) => {
  class WebSocket {
    constructor() {
      throw new Error('The operation is insecure.');
    }
  }
  const { pass, client } = setUp(t, { WebSocket });
  const errors = record(client, 'error');
  await pass(0);
  assert.match(errors[0][1].error.message, /^The operation is insecure\. .*wss.*connect-src/);
});

const pageEvent = (type, persisted) => Object.assign(new Event(type), { persisted });

// How a page is left for a while, and how it returns.
const LEAVING = {
  'goes into the back/forward cache': {
    leave: ({ window }) => window.dispatchEvent(pageEvent('pagehide', true)),
    come: ({ window }) => window.dispatchEvent(pageEvent('pageshow', true)),
  },
  'is frozen': {
    leave: ({ page }) => page.dispatchEvent(new Event('freeze')),
    come: ({ page }) => page.dispatchEvent(new Event('resume')),
  },
  'is cached and frozen': {
    leave({ page, window }) {
      window.dispatchEvent(pageEvent('pagehide', true));
      page.dispatchEvent(new Event('freeze'));
    },
    come({ page, window }) {
      page.dispatchEvent(new Event('resume'));
      window.dispatchEvent(pageEvent('pageshow', true));
    },
  },
};

for (const [name, { leave, come }] of Object.entries(LEAVING)) {
  test(`a page that ${name} leaves the server, and returns once`, async (t) => {
    const browser = fakePage(t);
    const { pass, WebSocket, client } = setUp(t);
    const events = record(client, 'close', 'ready');
    await WebSocket.last.open();
    leave(browser);
    assert.deepEqual([WebSocket.last.isClosed, client.uuid, client.state], [true, null, 'away']);
    await pass(3_600_000);
    browser.window.dispatchEvent(new Event('online'));
    browser.page.dispatchEvent(new Event('visibilitychange'));
    assert.equal(WebSocket.all.length, 1, 'nothing happens while it is away');
    const { code, reason, isFinal } = events[1][1];
    assert.deepEqual([code, reason, isFinal], [1001, 'page left', false]);
    come(browser);
    assert.equal(WebSocket.all.length, 2);
    await WebSocket.last.open('u2');
    assert.equal(client.uuid, 'u2');
    await pass(3_600_000);
    client.quit();
  });

  test(`what a page has sent that ${name} arrives when it returns`, async (t) => {
    const browser = fakePage(t);
    const { WebSocket, client } = setUp(t, { inFlight: 1 });
    await WebSocket.last.open();
    const own = client.send({ opcode: 'own' }).catch(({ code }) => code);
    const sent = [client.echo(1)];
    leave(browser);
    sent.push(client.echo(2));
    come(browser);
    await WebSocket.last.open();
    for (let count = 0; count < 2; count++) await WebSocket.last.next();
    const messages = WebSocket.last.packets.map(({ message }) => message);
    assert.deepEqual(messages, [1, 2]);
    await Promise.all(sent);
    assert.equal(await own, 'in-doubt');
  });

  test(`a page that ${name} while it connects or waits makes no second connection`, async (t) => {
    for (const isWaiting of [false, true]) {
      const browser = fakePage(t);
      const WebSocket = fakeWebSocket();
      const client = new Websock(URL, { WebSocket, log() {} });
      const errors = record(client, 'error');
      if (isWaiting) await WebSocket.last.end();
      leave(browser);
      assert.equal(client.state, 'away');
      if (!isWaiting) await WebSocket.last.end(); // late: the socket is no longer listened to
      assert.equal(errors.length, Number(isWaiting), 'leaving is no failure');
      come(browser);
      assert.equal(WebSocket.all.length, 2);
      client.quit();
    }
  });

  test(`a client that says goodbye, or is away, and is closed does not return: ${name}`, async (t) => {
    for (const isOpen of [false, true]) {
      const browser = fakePage(t);
      const WebSocket = fakeWebSocket();
      const client = new Websock(URL, { WebSocket, log() {} });
      if (isOpen) await WebSocket.last.open();
      if (isOpen) client.quit();
      leave(browser);
      assert.equal(client.state, isOpen ? 'closed' : 'away');
      await client.quit();
      come(browser);
      assert.deepEqual([client.state, WebSocket.all.length], ['closed', 1]);
    }
  });
}

test('a page that is unloaded keeps its socket for its last words', async (t) => {
  const { window } = fakePage(t);
  const { WebSocket, client } = setUp(t);
  await WebSocket.last.open();
  window.dispatchEvent(pageEvent('pagehide', false));
  client.broadcast('bye');
  assert.deepEqual(WebSocket.last.packets, [{ opcode: 'broadcast', message: 'bye' }]);
  assert.equal(WebSocket.last.isClosed, false);
});

test('a page that is shown for the first time connects once', async (t) => {
  const { page, window } = fakePage(t);
  const { WebSocket } = setUp(t);
  window.dispatchEvent(pageEvent('pageshow', false));
  page.dispatchEvent(new Event('resume'));
  assert.equal(WebSocket.all.length, 1);
});
