// What goes wrong in a hurry: a page that is in the browser before its session is on disk,
// everybody who comes at once where PHP has two workers, and a PHP that is away.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, cpSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';

import WS from 'ws';

import { Websock } from '../../clients/js/websock.mjs';
import { beside, example, install, onPort } from './examples.mjs';
import { pushToUser } from './harness.mjs';
import {
  WWW, finished, folder, freePort, startNginx, startPhp, startWebsock, within, shopTest,
} from './services.mjs';

const SIGN_INS = 200;
const TABS = 2000;

async function startShop(t) {
  const directory = folder(t);
  const root = join(directory, 'shop');
  cpSync(beside('apps/plain'), root, { recursive: true });
  install('url/websock-user.php', join(root, 'websock-user.php'));
  copyFileSync(beside('../../clients/php/websock.php'), join(root, 'websock.php'));
  const [php, port] = [await startPhp(t, directory), await freePort()];
  // What a script says leaves at once, as from a server that does not buffer.
  const locations = 'fastcgi_buffering off;';
  const site = await startNginx(t, directory, { root, php, port, locations });
  return { directory, php, site, url: site.url, port };
}

shopTest('200 sign-ins by session file from the response that begins the session', async (t) => {
  const shop = await startShop(t);
  const ini = example('plain/websock.ini', { '/var/lib/php/sessions': shop.php.sessions });
  await signInFromTheResponse(shop, await startWebsock(t, shop.directory, ini));
});

shopTest('200 sign-ins by URL from the response that begins the session', async (t) => {
  const shop = await startShop(t);
  const ini = example('url/websock.ini', onPort(shop.port));
  await signInFromTheResponse(shop, await startWebsock(t, shop.directory, ini));
});

/** One after the other. Nobody is refused, nobody is asked to come again, each is who it is. */
async function signInFromTheResponse({ url }, websock) {
  const ways = ['small', 'large', 'flushed', 'finished'];
  for (let number = 1; number <= SIGN_INS; number++) {
    const how = ways[number % ways.length];
    const request = http.get(`${url}/begin.php?user=${number}&how=${how}`);
    const [response] = await within(once(request, 'response'), 'a response');
    const [Cookie] = response.headers['set-cookie'][0].split(';');
    const first = await firstPacket(`${websock.url}/web?user=1`, { Cookie });
    response.resume();
    const { opcode, user } = JSON.parse(first);
    assert.deepEqual([opcode, user], ['ready', String(number)], `sign-in ${number}, ${how}`);
    await within(once(response, 'end'), 'the end of the response');
  }
}

/** What the server says first to a tab with these headers, which then goes. */
async function firstPacket(url, headers) {
  const socket = new WS(url, { headers });
  const [data] = await within(once(socket, 'message'), 'ready');
  socket.close();
  await within(once(socket, 'close'), 'the end of the tab');
  return data.toString();
}

shopTest('PHP is away: nobody is let in, nobody is sent away, and all come back', async (t) => {
  const shop = await startShop(t);
  const ini = example('url/websock.ini', onPort(shop.port));
  const websock = await startWebsock(t, shop.directory, `${ini}authRecheck=1\n`);
  const [anna, ben] = [await beginSession(shop, 42), await beginSession(shop, 43)];
  assert.equal(await openTab(t, websock, anna), '42');

  await shop.php.stop();
  // It is asked about her, which nothing but nginx's 502 can answer any more.
  await shop.site.says(/failed .*websock-user[^]*failed .*websock-user/);
  const comeBack = openTab(t, websock, ben);
  assert.equal(await refusal(`${websock.url}/web`, ben), '503, in 1 s or more');
  assert.equal(await pushToUser(websock, '42', 'still here'), 1);
  assert.equal(await pushToUser(websock, '43', 'not yet'), 0);

  await startPhp(t, shop.directory);
  assert.equal(await comeBack, '43');
});

/** The cookie of a session in which that user has signed in. */
async function beginSession({ url }, user) {
  const response = await fetch(`${url}/begin.php?user=${user}&how=small`);
  await response.text();
  return response.headers.getSetCookie()[0].split(';')[0];
}

/** The status by which a tab with that cookie is refused, and whether it is told when to return. */
async function refusal(url, Cookie) {
  const socket = new WS(url, { headers: { Cookie } });
  const [request, response] = await within(once(socket, 'unexpected-response'), 'a refusal');
  request.destroy();
  const isTold = Number(response.headers['retry-after']) >= 1;
  return `${response.statusCode}${isTold ? ', in 1 s or more' : ''}`;
}

shopTest('2,000 tabs come at once where PHP has two workers', async (t) => {
  const shop = await startShop(t);
  const as = { uid: WWW.uid, gid: WWW.gid };
  const make = join(shop.directory, 'shop/make-sessions.php');
  await finished('php', [make, shop.php.sessions, String(TABS)], as);
  const counter = await startCounter(t, shop.port);
  const ini = example('url/websock.ini', onPort(counter.port));
  const websock = await startWebsock(t, shop.directory, ini);

  // What happened, in order: the number of a tab that is in, or 0 for a page of the shop.
  const order = [];
  const tabs = Array.from({ length: TABS }, (_, index) => index + 1).map((user) =>
    openTab(t, websock, `PHPSESSID=s${user}`, () => order.push(user)),
  );
  const everybody = within(Promise.all(tabs), () => `everybody: ${order.length} things happened`);
  const pages = look(shop.url, everybody, () => order.push(0));
  const users = await everybody;
  await pages;

  users.forEach((user, index) => assert.equal(user, String(index + 1)));
  assert.ok(counter.total >= TABS, `${counter.total} questions`);
  assert.ok(counter.most >= 2, 'questions were counted that were asked at the same time');
  assert.ok(counter.most <= 4, `${counter.most} questions at once, more than authConcurrency`);
  assert.ok(longestWait(order) <= TABS / 10, `a page waited for ${longestWait(order)} tabs`);
  for (const user of ['1', String(TABS)]) assert.equal(await pushToUser(websock, user, 'you'), 1);
});

/** Resolves with the user that the tab's `ready` names; it comes again when it is told to. */
function openTab(t, websock, Cookie, then = () => {}) {
  class WithCookie extends WS {
    constructor(url) {
      super(url, { headers: { Cookie } });
    }
  }
  const controller = new AbortController();
  t.after(() => controller.abort());
  const options = { WebSocket: WithCookie, log() {}, signal: controller.signal };
  const client = new Websock(`${websock.url}/web?user=1`, options);
  return new Promise((resolve, reject) => {
    client.addEventListener('ready', ({ packet }) => then(resolve(packet.user)), { once: true });
    client.addEventListener('close', ({ code, isFinal }) => {
      if (code === 4401 || isFinal) reject(new Error(`${Cookie} was closed with ${code}`));
    });
  });
}

/** Looks at the shop's page, again and again, until everybody is in. */
async function look(url, everybody, then) {
  let isOver = false;
  everybody.finally(() => (isOver = true)).catch(() => {});
  while (!isOver) {
    const response = await fetch(`${url}/`);
    assert.equal(response.status, 200);
    assert.match(await response.text(), /id="logout"/);
    then();
  }
}

/** The most tabs that came in between two pages of the shop. */
function longestWait(order) {
  const waits = order.join(',').split(/(?:^|,)0(?=,|$)/);
  return Math.max(...waits.map((tabs) => tabs.split(',').filter(Boolean).length));
}

/** Stands between websock and nginx, and counts the questions that are on their way at once. */
async function startCounter(t, port) {
  const counter = { now: 0, most: 0, total: 0 };
  const agent = new http.Agent({ keepAlive: true });
  const server = http.createServer((question, answer) => {
    counter.total++;
    counter.most = Math.max(counter.most, ++counter.now);
    const { url: path, headers } = question;
    const request = http.get({ host: '127.0.0.1', port, path, headers, agent }, (response) => {
      answer.writeHead(response.statusCode, response.headers);
      response.pipe(answer);
    });
    request.on('error', () => answer.destroy());
    answer.on('close', () => counter.now--);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
    agent.destroy();
  });
  return Object.assign(counter, { port: server.address().port });
}
