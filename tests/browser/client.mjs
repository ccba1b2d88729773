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

/** Keeps a page out of the back/forward cache. */
const NO_CACHE = { 'Cache-Control': 'no-store' };

/** A page whose client, and whatever happens to it, is told to the test. */
function page(script = '') {
  return `<!doctype html><title>A page</title><script src="/websock.js"></script><script>
    let number = 0;
    const tell = (told) => console.log(JSON.stringify({ number: ++number, ...told }));
    const ws = new Websock('ws://127.0.0.1:${port}/web', { log() {} });
    for (const type of ['connecting', 'ready', 'feedback', 'broadcast', 'echo', 'close', 'error']) {
      ws.addEventListener(type, ({ uuid, packet, code, isFinal, error }) =>
        tell({ type, uuid, message: packet?.message, code: error?.code ?? code, isFinal, text: error?.message }));
    }
    addEventListener('pageshow', ({ persisted }) => tell({ type: 'pageshow', persisted }));
    ${script}
  </script>`;
}

/** A page that imports the same file. */
const MODULE = `<!doctype html><title>A module</title><script type="module">
  import * as client from '/websock.js';
  console.log(JSON.stringify({ names: Object.keys(client).join(), isGlobal: 'Websock' in window }));
</script>`;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'websock-browser-'));
  port = await freePort();
  server = await startServer(directory, port);
  site = await startSite({
    '/module': { html: MODULE },
    '/page': { html: page() },
    '/leaver': { html: page("addEventListener('pagehide', () => ws.echo('said on leaving'))") },
    '/unloaded': { html: page("addEventListener('pagehide', () => ws.broadcast('last words'))"), headers: NO_CACHE },
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

/** How many a message for that uuid has reached, says the server. */
async function push(uuid, message = 'hello') {
  const response = await fetch(`http://127.0.0.1:${port}/push`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ opcode: 'feedback', uuid, message }),
  });
  const { delivered = 0 } = await response.json();
  return delivered;
}

/** Asks the server until it knows that nobody has that uuid any more. */
function gone(uuid) {
  const ask = async () => {
    while (await push(uuid)) await new Promise(setImmediate);
  };
  return within(ask(), 'a server that knows that the page has been left');
}

/** The page is there again, on one new connection, and hears what is sent to it. */
async function isBack(tab, start, oldUuid) {
  const { uuid } = await tab.tells({ type: 'ready' }, start);
  assert.equal(uuid, oldUuid);
  assert.equal(await push(uuid, 'welcome back'), 1);
  await tab.tells({ type: 'feedback', message: 'welcome back' }, start);
  const attempts = tab.told.slice(start).filter(({ type }) => type === 'connecting');
  assert.equal(attempts.length, 1);
}

test('a page in the back/forward cache is not told to be there, and returns', async () => {
  const tab = await browser.open(`${site.url}/leaver`);
  const { uuid } = await tab.tells({ type: 'ready' });
  assert.equal(await push(uuid), 1);
  await tab.go(`${site.url}/elsewhere`);
  await gone(uuid);
  const start = tab.told.length;
  await tab.back();
  await tab.tells({ type: 'pageshow', persisted: true }, start);
  await isBack(tab, start, uuid);
  await tab.tells({ type: 'echo', message: 'said on leaving' }, start);
});

test('a page that is frozen is not told to be there, and returns', async () => {
  const tab = await browser.open(`${site.url}/page`);
  const { uuid } = await tab.tells({ type: 'ready' });
  await browser.show(await browser.open(`${site.url}/elsewhere`));
  assert.equal(await push(uuid), 1, 'hidden is not frozen');
  await tab.setLifecycle('frozen');
  await gone(uuid);
  const start = tab.told.length;
  await tab.setLifecycle('active');
  await isBack(tab, start, uuid);
});

test('a page that is unloaded is gone, and its last words are heard', async () => {
  const other = await browser.open(`${site.url}/page`);
  await other.tells({ type: 'ready' });
  const tab = await browser.open(`${site.url}/unloaded`);
  const { uuid } = await tab.tells({ type: 'ready' });
  await tab.go(`${site.url}/elsewhere`);
  await gone(uuid);
  await other.tells({ type: 'broadcast', message: 'last words' });
});

test('a page whose policy forbids the socket is told of the policy, for good', async () => {
  const tab = await browser.open(`${site.url}/forbidden`);
  const { code, text } = await tab.tells({ type: 'error' });
  assert.equal(code, 'address');
  assert.match(text, new RegExp(`Content-Security-Policy.* ws://127.0.0.1:${port} .*connect-src`));
  await tab.tells({ type: 'close', isFinal: true });
});

test('websock.js is a module, too, and then leaves no global', async () => {
  const tab = await browser.open(`${site.url}/module`);
  await tab.tells({ names: 'Websock,WebsockError,socketWebClient', isGlobal: false });
});
