// Against the real server.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { test } from 'node:test';
import { WebSocketServer } from 'ws';

import {
  connect,
  connected,
  event,
  eventWhere,
  listen,
  startServer,
  unusedPort,
  WebSocket,
  within,
} from './harness.mjs';

const failure = (code) => ({ name: 'WebsockError', code });

test('echo, broadcast and feedback arrive where they should', async (t) => {
  const { url } = await startServer(t);
  const [a, b] = [await connected(t, `${url}/web`), await connected(t, url)];
  assert.match(a.uuid, /^[0-9a-f-]{36}$/);
  const echo = event(a, 'echo');
  await a.echo({ deep: ['ü', 1e3] });
  assert.deepEqual((await echo).packet.message, { deep: ['ü', 1000] });
  const broadcast = event(b, 'broadcast');
  await a.broadcast('to all');
  assert.equal((await broadcast).packet.message, 'to all');
  const feedback = event(a, 'feedback');
  await b.feedback('to you', a.uuid);
  assert.equal((await feedback).packet.message, 'to you');
});

test('a feedback that nobody gets is answered too', async (t) => {
  const { url } = await startServer(t);
  const client = await connected(t, `${url}/web`);
  await client.feedback('hello', 'nobody');
});

for (const inFlight of [1, 16, 1000]) {
  test(`messages arrive in order with ${inFlight} in flight`, async (t) => {
    const { url } = await startServer(t);
    const client = await connected(t, `${url}/web`, { inFlight });
    const seen = [];
    client.addEventListener('echo', ({ packet }) => seen.push(packet.message));
    const end = eventWhere(client, 'echo', ({ packet }) => packet.message === 499);
    const numbers = Array.from({ length: 500 }, (_, number) => number);
    await Promise.all(numbers.map((number) => client.echo(number)));
    await end;
    assert.deepEqual(seen, numbers);
  });
}

test('a long message needs no chunks', async (t) => {
  const { url } = await startServer(t);
  const client = await connected(t, `${url}/web`);
  for (const length of [16 << 10, 1 << 20, 15 << 20]) {
    const echo = event(client, 'echo');
    const message = 'x'.repeat(length);
    await client.echo(message);
    assert.ok((await echo).packet.message === message, `${length} characters`);
  }
});

test('a message over maxMessageSize is refused alone; those behind it arrive', async (t) => {
  const { url } = await startServer(t, { ini: { maxMessageSize: '2K' } });
  const client = await connected(t, `${url}/web`);
  const echo = event(client, 'echo');
  const long = client.echo('x'.repeat(5000));
  const short = client.echo('short');
  await assert.rejects(long, failure('too-long'));
  await short;
  assert.equal((await echo).packet.message, 'short');
});

test('quit is answered by 1000, and is for good', async (t) => {
  const { url } = await startServer(t);
  const client = await connected(t, `${url}/web`);
  const close = event(client, 'close');
  await client.quit();
  const { code, isFinal } = await close;
  assert.deepEqual([code, isFinal, client.state], [1000, true, 'closed']);
});

test('an unknown path is named and given up', async (t) => {
  const { url } = await startServer(t);
  const client = connect(t, `${url}/nope`);
  const [{ error }, close] = await Promise.all([event(client, 'error'), event(client, 'close')]);
  assert.equal(error.code, 'refused');
  assert.match(error.message, /1008 no resource \/nope/);
  assert.equal(close.isFinal, true);
});

test('a full server is named, and entered when there is room', async (t) => {
  const { url } = await startServer(t, { ini: { maxClients: 1 } });
  const first = await connected(t, `${url}/web`);
  const second = connect(t, `${url}/web`);
  const ready = event(second, 'ready');
  const { error } = await event(second, 'error');
  assert.match(error.message, /1013 Too many connections/);
  await first.quit();
  await ready;
});

test('when the server restarts, the client comes back and sends what has waited', async (t) => {
  const first = await startServer(t);
  const client = await connected(t, `${first.url}/web`);
  const oldUuid = client.uuid;
  const close = event(client, 'close');
  await first.stop();
  const { code, isFinal } = await close;
  assert.deepEqual([code, isFinal], [1012, false]);
  const promise = client.echo('kept');
  const echo = event(client, 'echo');
  await startServer(t, { port: first.port });
  await within(promise, 'the answer to what has waited');
  assert.equal((await echo).packet.message, 'kept');
  assert.notEqual(client.uuid, oldUuid);
});

test('when the server is killed, the client comes back', async (t) => {
  const first = await startServer(t);
  const client = await connected(t, `${first.url}/web`);
  const close = event(client, 'close');
  await first.stop('SIGKILL');
  assert.equal((await close).code, 1006);
  const ready = event(client, 'ready');
  await startServer(t, { port: first.port });
  await ready;
});

test('a heartbeat is answered, and nobody else hears of it', async (t) => {
  const { url } = await startServer(t);
  const other = await connected(t, `${url}/web`);
  const heard = [];
  other.addEventListener('message', ({ packet }) => heard.push(packet.message));
  const pings = [];
  let pongs = 0;
  class Spied extends WebSocket {
    send(text) {
      pings.push(text);
      super.send(text);
    }
    set onmessage(handle) {
      super.onmessage = (message) => {
        handle(message);
        if (message.data.includes('"next"') && ++pongs === 3) this.emit('answered');
      };
    }
    constructor(url) {
      super(url);
      this.on('answered', () => answered());
    }
  }
  let answered;
  const three = new Promise((resolve) => (answered = resolve));
  const client = await connected(t, `${url}/web`, { heartbeat: 10, WebSocket: Spied });
  const { uuid } = client;
  await within(three, 'three answered heartbeats');
  assert.deepEqual([...new Set(pings)], ['{"opcode":"ping"}']);
  const broadcast = event(other, 'broadcast');
  await client.broadcast('still here');
  await broadcast;
  assert.deepEqual(heard, ['still here']);
  assert.equal(client.uuid, uuid);
});

test('a closing code that needs an explanation comes with its cause', async (t) => {
  const { url } = await startServer(t, { ini: { maxMessages: 1 } });
  const client = await connected(t, `${url}/web`, { resend: false });
  const error = eventWhere(client, 'error', (e) => e.error.code === 'refused');
  for (let count = 0; count < 50; count++) client.echo(count);
  assert.match((await error).error.message, /1008 \S+/);
});

test('a page of a foreign origin is told of allowedOrigins', async (t) => {
  const { url } = await startServer(t, { ini: { allowedOrigins: 'https://www.example.org' } });
  class Foreign extends WebSocket {
    constructor(address) {
      super(address, { origin: 'https://evil.example' });
    }
  }
  const client = connect(t, `${url}/web`, { WebSocket: Foreign });
  const { error } = await event(client, 'error');
  assert.equal(error.code, 'unreachable');
  assert.match(error.message, /allowedOrigins/);
});

const answering = () => http.createServer((_, response) => response.end('hello'));
const hangingUp = () => net.createServer((socket) => socket.destroy());

// What is no websock server: the code of the error, and how to come by one.
const OTHERS = {
  'a port on which nobody listens': ['unreachable', () => unusedPort()],
  'a web server': ['unreachable', (t) => listen(t, answering())],
  'a server that hangs up': ['unreachable', (t) => listen(t, hangingUp())],
  'a server that says nothing': ['unreachable', (t) => listen(t, net.createServer())],
  'another WebSocket server': ['dialogue', (t) => listen(t, webSocketServer())],
  'a WebSocket server that greets': ['dialogue', (t) => listen(t, webSocketServer('hello'))],
};

for (const [name, [code, start]] of Object.entries(OTHERS)) {
  test(`${name} is told from a websock server, and tried again`, async (t) => {
    const lines = [];
    const url = `ws://127.0.0.1:${await start(t)}/web`;
    const client = connect(t, url, { connectTimeout: 3000, log: (text) => lines.push(text) });
    const { error } = await event(client, 'error');
    assert.equal(error.code, code);
    assert.ok(error.message.includes(url));
    assert.equal(lines[0], `websock: ${error.message}`);
    await event(client, 'connecting');
  });
}

function webSocketServer(greeting) {
  const server = http.createServer();
  const sockets = new WebSocketServer({ server });
  if (greeting) sockets.on('connection', (socket) => socket.send(greeting));
  return server;
}
