// A page and a script of the PHP server of 2026, and its ini as shipped, with sign-in required.
import assert from 'node:assert/strict';
import { copyFileSync, cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { beside } from './examples.mjs';
import { tab, until, visitor } from './harness.mjs';
import { folder, freePort, shopTest, startNginx, startPhp, startWebsock } from './services.mjs';

shopTest('the page, the script and the ini of the PHP server of 2026', async (t) => {
  const directory = folder(t);
  const root = join(directory, 'htdocs');
  cpSync(beside('apps/php-server'), root, { recursive: true });
  copyFileSync(beside('../../clients/js/websock.js'), join(root, 'websock.js'));
  copyFileSync(beside('../../clients/php/websock.php'), join(root, 'websock.php'));
  const sessions = join(directory, 'sessions');
  const log = join(directory, 'websock.log');
  const ini = readFileSync(beside('apps/php-server/config.ini'), 'utf8');
  const variables = { LOG_FILE: log, SAVE_SESSION_PATH: sessions };
  const websock = await startWebsock(t, directory, ini, { env: variables });
  const env = { WEBSOCK_PORT: websock.port, WEBSOCK_SCRIPTS: websock.push.replace('http', 'ws') };
  const php = await startPhp(t, directory, { env });
  const port = await freePort();
  const { url } = await startNginx(t, directory, { root, php, port, rewrite: false });

  const page = await tab(await visitor(t), url);
  await until(page, () => at('uuid').textContent !== '');
  const [cookie] = await page.context().cookies();
  const { name, secure, httpOnly, sameSite } = cookie;
  assert.deepEqual([name, secure, httpOnly, sameSite], ['PHPSESSID', true, true, 'Strict']);
  assert.deepEqual(await page.evaluate(() => statuses), ['Try to connect ...', 'Connected']);
  await page.click('#ajax');
  await until(page, () => at('feedback').textContent === 'from the backend');

  // The same page, where the session says no.
  const refused = await tab(await visitor(t), `${url}/?nobody`);
  await until(refused, () => statuses.some((text) => text.startsWith('Server closed')));
  assert.equal(await refused.evaluate(() => at('uuid').textContent), '');
  // What any page sees, whatever client it has.
  const events = await refused.evaluate(() => {
    const events = [];
    const socket = new WebSocket(`${server}:${port}/web`);
    socket.onopen = () => events.push('open');
    socket.onmessage = ({ data }) => events.push(data);
    return new Promise((resolve) => {
      socket.onclose = ({ code, wasClean }) => resolve([...events, code, wasClean]);
    });
  });
  assert.deepEqual(events, ['open', '{"opcode":"close","error":"not signed in"}', 4401, true]);
  assert.match(readFileSync(log, 'utf8'), /Listening on/);
  assert.doesNotMatch(php.output(), /PHP (Warning|Notice|Fatal|Deprecated)/);
});
