// Laravel 8 from Debian's packages: sessions in a database (SQLite), the cookie encrypted.
import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { join } from 'node:path';

import { beside, example, install, onPort } from './examples.mjs';
import { ask, directly, tellStory, untilNamed, visitor, writePageScripts } from './harness.mjs';
import {
  finished, folder, folderOfPhp, freePort, giveToPhp, startNginx, startPhp, startWebsock,
  shopTest,
} from './services.mjs';

const login = async (page, name) => {
  await page.fill('[name=name]', name);
  await page.fill('[name=password]', 'secret');
  await page.click('#login');
  await untilNamed(page, name);
};
const logout = (page) => page.click('#logout');

async function startShop(t) {
  const directory = folder(t);
  const app = join(directory, 'shop');
  cpSync(beside('apps/laravel'), app, { recursive: true });
  install('laravel/WebsockUser.php', join(app, 'app/Http/Controllers/WebsockUser.php'));
  install('laravel/AppServiceProvider.php', join(app, 'app/Providers/AppServiceProvider.php'));
  for (const name of ['storage/framework/views', 'storage/logs', 'bootstrap/cache']) {
    folderOfPhp(join(app, name));
  }
  await finished('php', [join(app, 'make.php')]);
  const written = ['storage', 'storage/database.sqlite', 'bootstrap/cache'];
  giveToPhp(...written.map((name) => join(app, name)));
  const [php, port] = [await startPhp(t, directory), await freePort()];
  const root = join(app, 'public');
  const { url } = await startNginx(t, directory, { root, php, port });
  return { directory, app, root, php, port, url };
}

shopTest('Laravel, whose route is asked', async (t) => {
  const { directory, root, php, port, url } = await startShop(t);
  const ini = example('laravel/websock.ini', onPort(port));
  const websock = await startWebsock(t, directory, `${ini}authRecheck=1\n`);
  writePageScripts(root, directly(websock));
  const shop = { url, anna: '42', ben: '7', login, logout, question: `${url}/websock-user` };
  await tellStory(t, websock, shop);
  assert.doesNotMatch(php.output(), /PHP (Warning|Notice|Fatal)/);
});

shopTest('Laravel loses nothing when its route is asked between two requests', async (t) => {
  const { url } = await startShop(t);
  const anna = await visitor(t);
  const form = { name: 'anna', password: 'secret', _token: await tokenOf(anna, url) };
  const post = await anna.request.post(`${url}/login`, { form, maxRedirects: 0 });
  assert.equal(post.status(), 302);
  // The page that it leads to is not loaded yet: what that shows once is still to be shown.
  const { status, body, cookiesSet } = await ask(`${url}/websock-user`, await anna.cookies());
  assert.deepEqual([status, JSON.parse(body)], [200, { user: 42 }]);
  const state = await anna.request.get(`${url}/state`);
  assert.deepEqual(await state.json(), { cart: 1, status: 'Welcome', previous: url });
  assert.deepEqual(cookiesSet, []);
});

shopTest('Laravel: who is only remembered is not signed in by a question', async (t) => {
  const { url } = await startShop(t);
  const anna = await visitor(t);
  const _token = await tokenOf(anna, url);
  const form = { name: 'anna', password: 'secret', remember: 'on', _token };
  await anna.request.post(`${url}/login`, { form, maxRedirects: 0 });
  const remembered = (await anna.cookies()).filter(({ name }) => name.startsWith('remember_'));
  assert.equal(remembered.length, 1);
  const { status, cookiesSet } = await ask(`${url}/websock-user`, remembered);
  assert.deepEqual([status, cookiesSet], [401, []]);
});

/** What Laravel's forms bring along. */
async function tokenOf(who, url) {
  const page = await (await who.request.get(url)).text();
  return /name="_token" value="(\w+)"/.exec(page)[1];
}

shopTest('Laravel: a cookie that nobody gave out is nobody, and makes no session', async (t) => {
  const { app, url } = await startShop(t);
  const cookies = [[], [{ name: 'laravel_session', value: 'made-up' }]];
  for (const given of cookies) {
    const { status, cookiesSet } = await ask(`${url}/websock-user`, given);
    assert.deepEqual([status, cookiesSet], [401, []]);
  }
  const count = 'SELECT count(*) FROM sessions';
  const code = `echo (new PDO("sqlite:$argv[1]"))->query("${count}")->fetchColumn();`;
  assert.equal(await finished('php', ['-r', code, join(app, 'storage/database.sqlite')]), '0');
});
