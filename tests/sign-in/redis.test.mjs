// Plain PHP that keeps its sessions in Redis (protocol.md 8.3): with and without locks, killed and
// back, behind a password, and sessions whose time runs out.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';

import WS from 'ws';

import { example } from './examples.mjs';
import { directly, pushToUser, tellStory, untilNamed, writePageScripts } from './harness.mjs';
import { folder, freePort, shopTest, startRedis, startWebsock, within } from './services.mjs';
import { beginSession, openTab, refusal, signInFromTheResponse, startShop } from './tabs.mjs';

const IDS = { anna: '42', ben: '43' };
const PREFIX = 'PHPREDIS_SESSION:';

async function login(page, name) {
  await page.fill('[name=name]', name);
  await page.fill('[name=password]', 'secret');
  await page.click('#login');
  await untilNamed(page, name);
}
const logout = (page) => page.click('#logout');

/** A php.ini as PHP-FPM's pool takes it. */
const settingsOf = (ini) => Object.fromEntries(ini.trim().split('\n').map(parts));
const parts = (line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)];

/** What PHP is told of a Redis on a Unix socket, and what websock is told; no prefix, no locks. */
const settings = ({ socket }, password = '') => ({
  'session.save_handler': 'redis',
  'session.save_path': `"unix://${socket}${password && `?auth=${password}`}"`,
});
const ini = ({ socket }, query = '') => `sessions=unix:${socket}${query}\nuserKey=user_id\n`;
const REQUIRED = '[jsauth]\nrequire=true\n';

/** A shop and its Redis, on a Unix socket. */
async function startBoth(t, { password, ...more } = {}) {
  const redis = await startRedis(t, folder(t), { password });
  const shop = await startShop(t, { settings: { ...settings(redis, password), ...more } });
  return { redis, shop };
}

shopTest('Redis: with locks and a prefix of its own, on a port', async (t) => {
  const port = await freePort();
  const redis = await startRedis(t, folder(t), { port });
  const here = { '127.0.0.1:6379': `127.0.0.1:${port}` };
  const shop = await startShop(t, { settings: settingsOf(example('redis/php.ini', here)) });
  await useShop(t, shop, example('redis/websock.ini', here));
  const keys = await tell(redis.socket, 'SELECT 2', 'KEYS *');
  assert.match(keys, /\r\nshop:\w+\r\n/, 'PHP has used the prefix');
});

shopTest('Redis: without locks, by the usual prefix, on a Unix socket', async (t) => {
  const { redis, shop } = await startBoth(t);
  await useShop(t, shop, ini(redis));
  assert.match(await tell(redis.socket, 'KEYS *'), /\r\nPHPREDIS_SESSION:\w+\r\n/);
});

/** Logins and logouts in browsers, and sign-ins that come before their session is written. */
async function useShop(t, shop, lines) {
  const websock = await startWebsock(t, shop.directory, `${lines}authRecheck=1\n${REQUIRED}`);
  writePageScripts(shop.root, directly(websock));
  await tellStory(t, websock, { ...IDS, url: shop.url, login, logout });
  await signInFromTheResponse(shop, websock, 40);
  assert.match(await websock.check(), /Redis/);
  assert.doesNotMatch(shop.php.output(), /PHP (Warning|Notice|Fatal|Deprecated)/);
}

shopTest('Redis is killed: nobody is let in, nobody is sent away, and all come back', async (t) => {
  const { redis, shop } = await startBoth(t);
  const lines = `${ini(redis)}authRecheck=1\n${REQUIRED}`;
  const websock = await startWebsock(t, shop.directory, lines);
  const [anna, ben] = [await beginSession(shop, 42), await beginSession(shop, 43)];
  const closed = await openSocket(t, websock, anna);

  await redis.stop();
  assert.equal(await refusal(`${websock.url}/web`, ben), '503, in 1 s or more');
  // She is asked about again meanwhile; the log counts it, at most once in a while.
  await websock.says(/questions to Redis without an answer/);
  const comeBack = openTab(t, websock, ben);
  assert.equal(await pushToUser(websock, '42', 'still here'), 1);
  assert.equal(await pushToUser(websock, '43', 'not yet'), 0);

  await startRedis(t, join(redis.socket, '..'));
  assert.equal(await comeBack, '43');
  assert.equal(await pushToUser(websock, '42', 'still here'), 1);
  await fetch(`${shop.url}/logout.php`, { headers: { Cookie: anna }, redirect: 'manual' });
  assert.equal(await within(closed.code, 'the end of the tab'), 4401);
  assert.equal(await pushToUser(websock, '43', 'still here'), 1);
});

shopTest('Redis wants a password: another one lets nobody in, and the log says it once', async (t) => {
  const { redis, shop } = await startBoth(t, { password: 'secret' });
  const cookie = await beginSession(shop, 42);
  const right = await startWebsock(t, folder(t), ini(redis, '?password=secret') + REQUIRED);
  assert.equal(await openTab(t, right, cookie), '42');
  for (const query of ['?password=pa55word', '']) {
    const wrong = await startWebsock(t, folder(t), ini(redis, query) + REQUIRED);
    for (let time = 0; time < 5; time++) {
      assert.equal(await refusal(`${wrong.url}/web`, cookie), '503, in 1 s or more');
    }
    await wrong.says(/without an answer: .*password/i);
    assert.equal(wrong.output().match(/questions to Redis/g).length, 1, wrong.output());
    assert.doesNotMatch(wrong.output(), /pa55word/);
  }
});

shopTest('a session in Redis whose time has run out ends tabs only where that is set', async (t) => {
  const { redis, shop } = await startBoth(t, { 'session.gc_maxlifetime': '4' });
  const start = async (idle) => {
    const lines = `${ini(redis)}authRecheck=1\nsessionWait=0\nauthIdle=${idle}\n${REQUIRED}`;
    return startWebsock(t, folder(t), lines);
  };
  const [keep, close] = [await start('keep'), await start('close')];
  const watch = await watchRedis(t, redis.socket);
  const cookie = await beginSession(shop, 42);
  await openSocket(t, keep, cookie);
  const closed = await openSocket(t, close, cookie);
  assert.equal(await within(closed.code, 'the end of the tab'), 4401);
  // From here on only the other one asks.
  await watch.sees(`"GET" "${PREFIX}${cookie.split('=')[1]}"`, 2);
  assert.equal(await pushToUser(keep, '42', 'still here'), 1);
  assert.equal(await pushToUser(close, '42', 'too late'), 0);
});

/** A tab that has signed in and never comes back; `code` is what it will be closed with. */
async function openSocket(t, websock, Cookie) {
  const socket = new WS(`${websock.url}/web?user=1`, { headers: { Cookie } });
  t.after(() => socket.terminate());
  const code = once(socket, 'close').then(([code]) => code);
  const [data] = await within(once(socket, 'message'), 'ready');
  assert.equal(JSON.parse(data).opcode, 'ready');
  return { code };
}

/** What Redis answers to commands. */
async function tell(path, ...commands) {
  const socket = net.connect({ path }).setEncoding('utf8');
  let text = '';
  socket.on('data', (more) => (text += more));
  socket.end(`${commands.join('\r\n')}\r\nQUIT\r\n`);
  await within(once(socket, 'close'), 'the answers of Redis');
  return text;
}

/** Sees all that a Redis is asked from now on. */
async function watchRedis(t, path) {
  const socket = net.connect({ path }).setEncoding('utf8');
  t.after(() => socket.destroy());
  let text = '';
  socket.on('data', (more) => (text += more));
  socket.write('MONITOR\r\n');
  await within(once(socket, 'data'), 'OK');
  /** Waits until that has been asked so many times more. */
  const sees = async (command, count) => {
    const seen = () => text.split(command).length - 1;
    const wanted = seen() + count;
    while (seen() < wanted) await within(once(socket, 'data'), `${command}, ${count} times`);
  };
  return { sees };
}
