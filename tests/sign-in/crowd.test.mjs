// What goes wrong in a hurry: a page that is in the browser before its session is on disk,
// everybody who comes at once where PHP has two workers, and a PHP that is away.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { join } from 'node:path';

import { example, install, onPort } from './examples.mjs';
import { pushToUser } from './harness.mjs';
import { WWW, finished, shopTest, startPhp, startWebsock, within } from './services.mjs';
import { beginSession, openTab, refusal, signInFromTheResponse, startShop } from './tabs.mjs';

const TABS = 2000;

async function startUrlShop(t) {
  const shop = await startShop(t);
  install('url/websock-user.php', join(shop.root, 'websock-user.php'));
  return shop;
}

shopTest('200 sign-ins by session file from the response that begins the session', async (t) => {
  const shop = await startUrlShop(t);
  const ini = example('plain/websock.ini', { '/var/lib/php/sessions': shop.php.sessions });
  await signInFromTheResponse(shop, await startWebsock(t, shop.directory, ini));
});

shopTest('200 sign-ins by URL from the response that begins the session', async (t) => {
  const shop = await startUrlShop(t);
  const ini = example('url/websock.ini', onPort(shop.port));
  await signInFromTheResponse(shop, await startWebsock(t, shop.directory, ini));
});

shopTest('PHP is away: nobody is let in, nobody is sent away, and all come back', async (t) => {
  const shop = await startUrlShop(t);
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

shopTest('2,000 tabs come at once where PHP has two workers', async (t) => {
  const shop = await startUrlShop(t);
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
