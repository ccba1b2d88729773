// The client in pages of another site, in a browser that nothing is turned off in.
//   node --test client.mjs      WEBSOCK: the program. CHROMIUM: the browser.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { launch } from './cdp.mjs';
import { freePort, startServer, startSite, within } from './harness.mjs';

let browser, directory, port, server, site;

/** A page whose client, and whatever happens to it, is told to the test. */
function page(script = '') {
  return `<!doctype html><title>A page</title><script src="/websock.js"></script><script>
    const tell = (told) => console.log(JSON.stringify(told));
    const ws = new Websock('ws://127.0.0.1:${port}/web', { log() {} });
    for (const type of ['connecting', 'ready', 'feedback', 'broadcast', 'echo', 'close', 'error']) {
      ws.addEventListener(type, ({ uuid, packet, code, isFinal, error }) =>
        tell({ type, uuid, message: packet?.message, code: error?.code ?? code, isFinal, text: error?.message }));
    }
    ${script}
  </script>`;
}

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'websock-browser-'));
  port = await freePort();
  server = await startServer(directory, port);
  site = await startSite({
    '/forbidden': { html: page(), headers: { 'Content-Security-Policy': "connect-src 'self'" } },
  });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  site?.stop();
  server?.kill('SIGTERM');
  if (server) assert.deepEqual(await once(server, 'exit'), [0, null]);
  await rm(directory, { recursive: true });
});

test('a page whose policy forbids the socket is told of the policy, for good', async () => {
  const tab = await browser.open(`${site.url}/forbidden`);
  const { code, text } = await tab.tells({ type: 'error' });
  assert.equal(code, 'address');
  assert.match(text, new RegExp(`Content-Security-Policy.* ws://127.0.0.1:${port} .*connect-src`));
  await tab.tells({ type: 'close', isFinal: true });
});
