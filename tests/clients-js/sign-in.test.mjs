// Users against the real server: tokens, sessions, logout.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { connect, connected, event, startServer, WebSocket } from './harness.mjs';

const KEY = 'a secret of thirty-two bytes or more';

function token(user, seconds = 600) {
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const parts = [
    { alg: 'HS256', typ: 'JWT' },
    { sub: user, exp, aud: 'websock' },
  ];
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const signed = parts.map(encode).join('.');
  return `${signed}.${createHmac('sha256', KEY).update(signed).digest('base64url')}`;
}

/** A push; what is answered. */
async function push(url, packet) {
  const response = await fetch(`${url.replace('ws:', 'http:')}/push`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(packet),
  });
  return response.json();
}

test('a token signs in, a user has all its tabs, and a logout ends them', async (t) => {
  const { url } = await startServer(t, { ini: { authKey: KEY, webSends: 'echo,feedback' } });
  const page = `${url}/web`;
  const tabs = [
    await connected(t, page, { token: token('42') }),
    await connected(t, page, { token: async () => token('42') }),
  ];
  const other = await connected(t, page, { token: token('7') });
  const anonymous = await connected(t, page);
  assert.deepEqual(
    [...tabs, other, anonymous].map((client) => client.user),
    ['42', '42', '7', null],
  );
  const got = tabs.map((tab) => event(tab, 'feedback'));
  await other.feedback('hello', { user: 42 });
  for (const { packet } of await Promise.all(got)) assert.equal(packet.message, 'hello');

  const ended = tabs.map((tab) => event(tab, 'unauthorized'));
  assert.deepEqual(await push(url, { opcode: 'logout', user: '42' }), { closed: 2 });
  for (const { reason } of await Promise.all(ended)) assert.equal(reason, 'logged out');
  assert.deepEqual([tabs[0].state, other.state, anonymous.state], ['unauthorized', 'open', 'open']);

  const ready = event(tabs[0], 'ready');
  tabs[0].signIn(token('43'));
  assert.equal((await ready).user, '43');
  await tabs[0].echo('as another user');
});

test('a token that opens nothing is told at once, and once', async (t) => {
  const { url } = await startServer(t, { ini: { authKey: KEY } });
  for (const wrong of ['', 'x', token('42', -3600), token('42').slice(0, -1)]) {
    const client = connect(t, `${url}/web`, { token: wrong });
    const sent = assert.rejects(client.echo('too early'), { code: 'unauthorized' });
    const { reason } = await event(client, 'unauthorized');
    assert.equal(reason, 'not signed in');
    await sent;
    assert.equal(client.state, 'unauthorized');
  }
});

test('a page signs in by its cookie, and comes back behind a login', async (t) => {
  const sessions = mkdtempSync(join(tmpdir(), 'websock-sessions-'));
  t.after(() => rmSync(sessions, { recursive: true }));
  const store = (id, user) => writeFileSync(join(sessions, `sess_${id}`), `user|i:${user};`);
  store('one', 42);
  const ini = { sessions, userKey: 'user', require: 'true' };
  const { url } = await startServer(t, { ini });
  let cookie = 'PHPSESSID=one';
  class Browser extends WebSocket {
    constructor(address) {
      super(address, { headers: { Cookie: cookie } });
    }
  }
  const client = await connected(t, `${url}/web`, { WebSocket: Browser });
  assert.equal(client.user, '42');
  cookie = 'PHPSESSID=two';
  const ended = event(client, 'unauthorized');
  assert.deepEqual(await push(url, { opcode: 'logout', session: 'one' }), { closed: 1 });
  await ended;
  const refused = event(client, 'unauthorized');
  client.signIn();
  assert.equal((await refused).reason, 'not signed in');
  store('two', 43);
  const ready = event(client, 'ready');
  client.signIn();
  assert.equal((await ready).user, '43');
});

test('what webSends does not allow is an error event', async (t) => {
  const { url } = await startServer(t, { ini: { webSends: 'echo' } });
  const client = await connected(t, `${url}/web`);
  const error = event(client, 'error');
  await client.broadcast('to all');
  const { code, message } = (await error).error;
  assert.equal(code, 'forbidden');
  assert.match(message, /webSends/);
});
