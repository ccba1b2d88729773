// Plain PHP with a login page: its session files, those of CodeIgniter, a page that is asked, tokens.
import assert from 'node:assert/strict';
import { copyFileSync, cpSync } from 'node:fs';
import { join } from 'node:path';

import { beside, example, install, onPort } from './examples.mjs';
import {
  directly, tab, tellStory, told, untilNamed, visitor, writePageScripts,
} from './harness.mjs';
import {
  finished, folder, freePort, proxyBlock, shopTest, startNginx, startPhp, startWebsock,
} from './services.mjs';

const IDS = { anna: '42', ben: '43' };

async function login(page, name) {
  await page.fill('[name=name]', name);
  await page.fill('[name=password]', 'secret');
  await page.click('#login');
  await untilNamed(page, name);
}
const logout = (page) => page.click('#logout');

/** The shop's files, with what clients/php brings. */
function makeShop(t) {
  const directory = folder(t);
  const root = join(directory, 'shop');
  cpSync(beside('apps/plain'), root, { recursive: true });
  copyFileSync(beside('../../clients/php/websock.php'), join(root, 'websock.php'));
  return { directory, root };
}

function assertNoComplaints(php) {
  assert.doesNotMatch(php.output(), /PHP (Warning|Notice|Fatal|Deprecated)/);
}

shopTest('session files, behind nginx; a logout that says so closes at once', async (t) => {
  const { directory, root } = makeShop(t);
  const [php, port] = [await startPhp(t, directory), await freePort()];
  const ini = example('plain/websock.ini', { '/var/lib/php/sessions': php.sessions });
  // Nobody is asked about again: only the logout itself can close a tab.
  const rest = 'require=true\nauthRecheck=0\ntrustedProxies=127.0.0.1\n';
  const websock = await startWebsock(t, directory, `${ini}${rest}`);
  const locations = await proxyBlock(directory, websock.port);
  const { url } = await startNginx(t, directory, { root, php, locations, port });
  writePageScripts(root);
  install('plain/logout.php', join(root, 'logout.php'), { 'http://localhost:8096': websock.push });
  install('plain/notify.php', join(root, 'notify.php'), { 'http://localhost:8096': websock.push });
  const { second } = await tellStory(t, websock, { ...IDS, url, login, logout });
  await finished('php', [join(root, 'notify.php')]);
  assert.deepEqual(await told(second), [['shown', 'Your order has been shipped']]);
  assert.match(await websock.check(), /: its visitor comes in as a user; its variables: .*user_id/);
  assertNoComplaints(php);
});

shopTest('session files; a logout is noticed when it is asked again', async (t) => {
  const { directory, root } = makeShop(t);
  const [php, port] = [await startPhp(t, directory), await freePort()];
  const ini = example('plain/websock.ini', { '/var/lib/php/sessions': php.sessions });
  const websock = await startWebsock(t, directory, `${ini}require=true\nauthRecheck=1\n`);
  const { url } = await startNginx(t, directory, { root, php, port });
  writePageScripts(root, directly(websock));
  await tellStory(t, websock, { ...IDS, url, login, logout });
  // A page of another host, in a browser that has signed in there: it never gets in (8.12).
  const foreign = await tab(await visitor(t), url.replace('localhost', '127.0.0.1'));
  await login(foreign, 'ben');
  assert.deepEqual(await told(foreign), [['close', 1006]]);
  assertNoComplaints(php);
});

shopTest('session files that have names as CodeIgniter gives them', async (t) => {
  const { directory, root } = makeShop(t);
  copyFileSync(beside('apps/codeigniter/sessions.php'), join(directory, 'sessions.php'));
  const names = { auto_prepend_file: join(directory, 'sessions.php'), 'session.name': 'ci_session' };
  const [php, port] = [await startPhp(t, directory, { settings: names }), await freePort()];
  const where = { '/var/www/shop/writable/session': php.sessions };
  const ini = example('codeigniter/websock.ini', where);
  const websock = await startWebsock(t, directory, `authRecheck=1\n${ini}require=true\n`);
  const { url } = await startNginx(t, directory, { root, php, port });
  writePageScripts(root, directly(websock));
  await tellStory(t, websock, { ...IDS, url, login, logout });
  assert.match(await websock.check(), /: its visitor comes in as a user; its variables: .*user_id/);
  assertNoComplaints(php);
});

shopTest('a page that is asked', async (t) => {
  const { directory, root } = makeShop(t);
  install('url/websock-user.php', join(root, 'websock-user.php'));
  const [php, port] = [await startPhp(t, directory), await freePort()];
  const { url } = await startNginx(t, directory, { root, php, port });
  const ini = example('url/websock.ini', onPort(port));
  const websock = await startWebsock(t, directory, `${ini}authRecheck=1\n`);
  writePageScripts(root, directly(websock));
  const question = `${url}/websock-user.php`;
  await tellStory(t, websock, { ...IDS, url, login, logout, question });
  assertNoComplaints(php);
});

shopTest('tokens, from a page on another host', async (t) => {
  const { directory, root } = makeShop(t);
  install('token/token.php', join(root, 'token.php'));
  const env = { WEBSOCK_AUTH_KEY: 'k'.repeat(32) };
  const [php, port] = [await startPhp(t, directory, { env }), await freePort()];
  const { url } = await startNginx(t, directory, { root, php, port });
  const ini = example('token/websock.ini', { 'https://www.example.org': url });
  const websock = await startWebsock(t, directory, `${ini}require=true\n`, { env });
  const elsewhere = websock.url.replace('localhost', '127.0.0.1');
  writePageScripts(root, { 'wss://push.example.org': elsewhere }, 'token/page.js');

  const [anna, stranger] = [await visitor(t), await visitor(t)];
  const outside = await tab(stranger, url);
  assert.deepEqual(await told(outside), [['close', 4401]]);
  await login(outside, 'ben');
  assert.deepEqual(await told(outside), [['ready', '43']]);
  const page = await tab(anna, url);
  assert.deepEqual(await told(page), [['close', 4401]]);
  await login(page, 'anna');
  assert.deepEqual(await told(page), [['ready', '42']]);
  assertNoComplaints(php);
});
