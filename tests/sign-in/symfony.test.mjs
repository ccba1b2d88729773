// Symfony 5.4 from Debian's packages: its firewall with a login form, its sessions.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { beside, example, install } from './examples.mjs';
import { ask, tab, tellStory, untilNamed, visitor, writePageScripts } from './harness.mjs';
import {
  folder, folderOfPhp, freePort, proxyBlock, startNginx, startPhp, startWebsock, shopTest,
} from './services.mjs';

const login = async (page, name) => {
  const address = `${name}@example.org`;
  await page.fill('[name=_username]', address);
  await page.fill('[name=_password]', 'secret');
  await page.click('#login');
  await untilNamed(page, address);
};
const logout = (page) => page.click('#logout');

async function startShop(t) {
  const directory = folder(t);
  const app = join(directory, 'shop');
  cpSync(beside('apps/symfony'), app, { recursive: true });
  install('symfony/WebsockController.php', join(app, 'src/Controller/WebsockController.php'));
  addFirewall(join(app, 'config/packages/security.yaml'));
  folderOfPhp(join(app, 'var'));
  const php = await startPhp(t, directory);
  return { directory, php, root: join(app, 'public') };
}

/** Puts the lines of the docs where they say: under `firewalls:`, in front of the others. */
function addFirewall(file) {
  const lines = example('symfony/security.yaml').trimEnd().replace(/^/gm, ' '.repeat(8));
  const text = readFileSync(file, 'utf8');
  assert.match(text, /^ +# \(websock\)$/m);
  writeFileSync(file, text.replace(/^ +# \(websock\)$/m, lines));
}

shopTest('Symfony, whose route is asked', async (t) => {
  const { directory, php, root } = await startShop(t);
  const port = await freePort();
  // By nginx's socket.
  const socket = `unix:${join(directory, 'http.sock')}:/`;
  const ini = example('symfony/websock.ini', { 'http://127.0.0.1/': socket });
  const rest = 'authRecheck=1\ntrustedProxies=127.0.0.1\n';
  const websock = await startWebsock(t, directory, `${ini}${rest}`);
  const locations = await proxyBlock(directory, websock.port);
  const { url } = await startNginx(t, directory, { root, php, locations, port });
  writePageScripts(root);
  const ids = { anna: 'anna@example.org', ben: 'ben@example.org' };
  await tellStory(t, websock, { url, ...ids, login, logout, question: `${url}/websock-user` });
  assert.doesNotMatch(php.output(), /PHP (Warning|Notice|Fatal)/);
});

shopTest('Symfony: who is only remembered is not signed in by a question', async (t) => {
  const { directory, php, root } = await startShop(t);
  const port = await freePort();
  const { url } = await startNginx(t, directory, { root, php, port });
  const anna = await visitor(t);
  const page = await tab(anna, url);
  await page.check('[name=_remember_me]');
  await login(page, 'anna');
  const cookies = await anna.cookies(url);
  const { body } = await ask(`${url}/websock-user`, cookies);
  assert.deepEqual(JSON.parse(body), { user: 'anna@example.org' });
  // Her session has ended; the cookie that lasts for a year would begin another one.
  const remembered = cookies.filter(({ name }) => name === 'REMEMBERME');
  assert.equal(remembered.length, 1);
  const { status, cookiesSet } = await ask(`${url}/websock-user`, remembered);
  assert.deepEqual([status, cookiesSet], [401, []]);
});
