// WordPress from Debian's package on MariaDB, logged in by its own login form.
import assert from 'node:assert/strict';
import { chmodSync, cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { beside, example, install, onPort } from './examples.mjs';
import { ask, tellStory, untilNamed, writePageScripts } from './harness.mjs';
import {
  finished, folder, freePort, proxyBlock, startMariadb, startNginx, startPhp, startWebsock,
  shopTest,
} from './services.mjs';

shopTest('WordPress, whose admin-ajax.php is asked', async (t) => {
  const directory = folder(t);
  const root = join(directory, 'wordpress');
  // A copy, as Debian's own wp-config.php looks for the rest in /etc only.
  await finished('cp', ['-rL', '/usr/share/wordpress', root]);
  rmSync(join(root, 'wp-config.php'));
  cpSync(beside('apps/wordpress'), root, { recursive: true });
  cpSync(join(root, 'themes'), join(root, 'wp-content/themes'), { recursive: true });
  install('wordpress/websock.php', join(root, 'wp-content/mu-plugins/websock.php'));

  const [mariadb, port] = [await startMariadb(t, directory), await freePort()];
  const url = `http://localhost:${port}`;
  await finished('php', [join(root, 'make.php'), url, mariadb.socket]);
  const php = await startPhp(t, directory, { env: { SOCKET: mariadb.socket } });
  const ini = example('wordpress/websock.ini', onPort(port));
  const more = 'authRecheck=1\ntrustedProxies=127.0.0.1\n';
  const websock = await startWebsock(t, directory, `${ini}${more}`);
  const locations = await proxyBlock(directory, websock.port);
  await startNginx(t, directory, { root, php, locations, port });
  writePageScripts(root);

  const login = async (page, name) => {
    await page.goto(`${url}/wp-login.php?redirect_to=/`);
    await page.fill('#user_login', name);
    await page.fill('#user_pass', 'secret');
    await page.click('#wp-submit');
    await untilNamed(page, name);
  };
  const logout = (page) => page.click('#logout');
  const question = `${url}/wp-admin/admin-ajax.php?action=websock`;
  const ids = { anna: '42', ben: '43' };
  const { anna } = await tellStory(t, websock, { url, ...ids, login, logout, question });
  // Why it is no REST route: to those a cookie alone is nobody.
  const rest = await ask(`${url}/?rest_route=/wp/v2/users/me`, await anna.cookies(url));
  assert.equal(rest.status, 401);
  assert.doesNotMatch(php.output(), /PHP (Warning|Notice|Fatal|Deprecated)/);
});
