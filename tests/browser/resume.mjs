// Nothing is lost while a page is away, in browsers that nothing is turned off in: the network and
// the server go, pages are frozen, cached and duplicated, and proxies let no WebSocket through.
//   node --test resume.mjs      WEBSOCK: the program. CHROMIUM, FIREFOX: the browsers.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { startHttpProxy, startProxy } from '../clients-js/proxies.mjs';
import { launchFirefox } from './bidi.mjs';
import { launch } from './cdp.mjs';
import { freePort, startServer, startSite, within } from './harness.mjs';

let browser, directory, port, server, site; // browser: of the test that runs
const browsers = {};

/** A page that connects to what stands behind the # of its address, and tells what happens. */
const page = options => `<!doctype html><title>A page</title><script src="/websock.js"></script><script>
  let number = 0;
  const tell = (told) => console.log(JSON.stringify({ number: ++number, ...told }));
  const ws = new Websock(location.hash.slice(1), { log() {}, maxDelay: 1000, ${options} });
  // Whoever has opened this page is told of its name, and of what its storage began with.
  const mark = sessionStorage.getItem('mark');
  const tellOpener = (detail) => opener?.dispatchEvent(new CustomEvent('opened', { detail }));
  ws.addEventListener('ready', ({ uuid }) => tellOpener({ uuid, mark }));
  for (const type of ['ready', 'resumed', 'gap', 'transport', 'feedback', 'broadcast', 'close']) {
    ws.addEventListener(type, ({ uuid, replayed, reason, transport, packet, code }) =>
      tell({ type, uuid, replayed, reason, transport, message: packet?.message, code }));
  }
</script>`;

const PAGE = page('');

/** A test in both browsers. */
function inBoth(name, run) {
  for (const one of ['Chromium', 'Firefox']) {
    test(`${name} (${one})`, t => {
      browser = browsers[one];
      return run(t);
    });
  }
}

/** What only one of them can be made to do. */
function inChromium(name, run) {
  test(`${name} (Chromium)`, t => {
    browser = browsers.Chromium;
    return run(t);
  });
}

/** Pages whose policy names what they may connect to. */
const policy = sources => ({ 'Content-Security-Policy': `connect-src ${sources}` });

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'websock-browser-'));
  port = await freePort();
  server = await startServer(directory, port, `stateDir=${directory}\n`);
  site = await startSite({
    '/page': { html: PAGE },
    '/quick': { html: page('heartbeat: 300, timeout: 300') },
    '/sockets-only': { html: PAGE, headers: policy('ws:') },
    '/both': { html: PAGE, headers: policy('ws: http:') },
    '/framing': {
      html: `<!doctype html><script>
        addEventListener('message', ({ data }) => console.log(data));
      </script><iframe sandbox="allow-scripts" src="/framed"></iframe>`,
    },
    '/framed': { html: framed() },
  });
  browsers.Chromium = await launch();
  browsers.Firefox = await launchFirefox();
});

after(async () => {
  for (const one of Object.values(browsers)) await one.close();
  site?.stop();
  await stopServer();
  await rm(directory, { recursive: true });
});

async function stopServer() {
  server?.kill('SIGTERM');
  if (server) assert.deepEqual(await once(server, 'exit'), [0, null]);
}

/** A page without an origin, which may not touch any storage. */
function framed() {
  return `<!doctype html><script src="${'/websock.js'}"></script><script>
    let forbidden;
    try { sessionStorage.length } catch { forbidden = true }
    const ws = new Websock('ws://127.0.0.1:${port}/web');
    ws.addEventListener('ready', ({ uuid }) =>
      parent.postMessage(JSON.stringify({ type: 'ready', uuid, forbidden }), '*'));
  </script>`;
}

const direct = () => `ws://127.0.0.1:${port}/web`;

/** A tab, connected to that address. */
async function open(address, path = '/page') {
  const tab = await browser.open(`${site.url}${path}#${address}`);
  const { uuid } = await tab.tells({ type: 'ready' });
  return { tab, uuid };
}

/** Pushes as a script does: again until the server has answered. */
async function push(packet) {
  const ask = async () => {
    for (;;) {
      try {
        const response = await fetch(`http://127.0.0.1:${port}/push`, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify(packet),
        });
        if (response.status !== 503) return [response.status, await response.json()];
      } catch {
        await new Promise(setImmediate); // it is not there yet
      }
    }
  };
  return within(ask(), 'a server that takes a push');
}

/** Ten messages for a page, `between` after the third; each is in the queue or kept. */
async function pushTen(uuid, between) {
  for (let number = 0; number < 10; number++) {
    const [status] = await push({ opcode: 'feedback', uuid, message: number });
    assert.ok(status === 200 || status === 202, `${status}`);
    if (number === 2) await between();
  }
}

/** The page has got ten messages, each once and in order, under the uuid that it had. */
async function gotTen(tab, uuid) {
  await tab.tells({ type: 'feedback', message: 9 });
  const messages = tab.told.filter(({ type }) => type === 'feedback').map(({ message }) => message);
  assert.deepEqual(messages, [...Array(10).keys()]);
  assert.deepEqual(tab.told.filter(({ type }) => type === 'gap'), []);
  assert.deepEqual([...new Set(tab.told.flatMap(({ type, uuid }) => (type === 'ready' ? uuid : [])))], [uuid]);
}

/** The server has noticed that nobody is at that uuid. */
function gone(uuid) {
  const ask = async () => {
    while ((await push({ opcode: 'feedback', uuid, message: 'anybody?' }))[0] === 200);
  };
  return within(ask(), 'a server that knows that nobody is there');
}

inBoth('the server is restarted while a script pushes ten messages: all are there, in order', async () => {
  const { tab, uuid } = await open(direct());
  await pushTen(uuid, async () => {
    await stopServer();
    server = await startServer(directory, port, `stateDir=${directory}\n`);
  });
  await gotTen(tab, uuid);
});

inBoth('the demo page shows them, and that it has resumed', async () => {
  const tab = await browser.open(`http://127.0.0.1:${port}/`);
  const shown = () => tab.evaluate(`[...document.querySelectorAll('#log p')].map((p) => p.innerText).reverse()`);
  const lines = async text => {
    for (;;) {
      const all = await shown();
      if (all.some(line => line.includes(text))) return all;
    }
  };
  await within(lines('ready'), 'the demo page');
  const uuid = await tab.evaluate('ws.uuid');
  await pushTen(uuid, async () => {
    await stopServer();
    server = await startServer(directory, port, `stateDir=${directory}\n`);
  });
  const all = await within(lines('feedback9'), 'the last message');
  const numbers = all.filter(line => line.includes('feedback')).map(line => Number(/(\d)$/.exec(line)[1]));
  assert.deepEqual(numbers, [...Array(10).keys()]);
  assert.ok(all.some(line => line.includes('resumed')), all.join('\n'));
  assert.equal(await tab.evaluate(`document.getElementById('uuid').textContent`), uuid);
});

inBoth('the server is killed: the demo page says that something may be missing', async () => {
  const tab = await browser.open(`http://127.0.0.1:${port}/`);
  await within(tab.evaluate(`ws.state === 'open' || new Promise((then) => ws.addEventListener('ready', then))`), 'ready');
  const gap = tab.evaluate(`new Promise((then) => ws.addEventListener('gap', ({ reason }) => then(reason)))`);
  server.kill('SIGKILL');
  await once(server, 'exit');
  server = await startServer(directory, port, `stateDir=${directory}\n`);
  assert.equal(await gap, 'restart');
  assert.match(await tab.evaluate(`document.getElementById('log').innerText`), /gap\s*something is missing: restart/);
});

inBoth('the network is away while ten messages are pushed, and is back', async t => {
  const proxy = await startProxy(t, port);
  const { tab, uuid } = await open(proxy.url, '/quick');
  await pushTen(uuid, async () => {
    proxy.hold('up');
    proxy.hold('down');
    await tab.tells({ type: 'close' }); // nobody has told it
  });
  proxy.cut();
  proxy.release();
  await tab.evaluate(`void dispatchEvent(new Event('online'))`);
  await gotTen(tab, uuid);
});

inChromium('the browser is offline while ten messages are pushed, and online again', async t => {
  const proxy = await startProxy(t, port);
  const { tab, uuid } = await open(proxy.url);
  await pushTen(uuid, async () => {
    await tab.setOffline(true); // for new connections; those that stand are the proxy's to cut
    proxy.cut();
    await tab.tells({ type: 'close' });
  });
  await tab.setOffline(false);
  await gotTen(tab, uuid);
});

inBoth('a proxy cuts, over and over, while ten messages are pushed', async t => {
  const proxy = await startProxy(t, port);
  const { tab, uuid } = await open(proxy.url);
  await pushTen(uuid, async () => {
    for (let times = 0; times < 5; times++) {
      const start = tab.told.length;
      proxy.cut();
      await tab.tells({ type: 'resumed' }, start);
    }
    proxy.cut();
  });
  await gotTen(tab, uuid);
});

inChromium('a page that is frozen in the background gets what was pushed meanwhile', async () => {
  const { tab, uuid } = await open(direct());
  await browser.show(await browser.open(`${site.url}/elsewhere`));
  await pushTen(uuid, async () => {
    await tab.setLifecycle('frozen');
  });
  await tab.setLifecycle('active');
  await gotTen(tab, uuid);
});

// Firefox keeps no page in that cache that has a WebSocket.
inChromium('a page in the back/forward cache gets what was pushed meanwhile', async () => {
  const { tab, uuid } = await open(direct());
  await pushTen(uuid, async () => {
    await tab.go(`${site.url}/elsewhere`);
  });
  await tab.back();
  await gotTen(tab, uuid);
});

inBoth('a page in the background that nothing is wrong with gets everything at once', async () => {
  const { tab, uuid } = await open(direct());
  await browser.show(await browser.open(`${site.url}/elsewhere`));
  await pushTen(uuid, async () => {});
  await gotTen(tab, uuid);
});

inBoth('a tab that is duplicated is a new one, and neither is sent away', async () => {
  const { tab, uuid } = await open(direct());
  const copy = await tab.evaluate(`new Promise((then) => {
    sessionStorage.setItem('mark', 'copied');
    addEventListener('opened', ({ detail }) => then(detail));
    open(location.href);
  })`);
  assert.equal(copy.mark, 'copied', 'its storage is a copy');
  assert.notEqual(copy.uuid, uuid);
  for (const one of [uuid, copy.uuid]) {
    assert.deepEqual(await push({ opcode: 'feedback', uuid: one, message: 'hello' }), [200, { delivered: 1 }]);
  }
  await tab.tells({ type: 'feedback', message: 'hello' });
  assert.deepEqual(tab.told.filter(({ type }) => type === 'close' || type === 'gap'), []);
});

inBoth('a page that is loaded anew is a new tab', async () => {
  const { tab, uuid } = await open(direct());
  const start = tab.told.length;
  await tab.reload();
  const again = await tab.tells({ type: 'ready' }, start);
  assert.notEqual(again.uuid, uuid);
  await gone(uuid);
});

inBoth('a page that may not touch any storage works', async () => {
  const tab = await browser.open(`${site.url}/framing`);
  const { forbidden } = await tab.tells({ type: 'ready' });
  assert.equal(forbidden, true);
});

for (const upgrade of ['refuse', 'cut later', 'strip']) {
  inBoth(`events take over behind a proxy that treats upgrades so: ${upgrade}`, async t => {
    const proxy = await startHttpProxy(t, port, upgrade);
    const { tab, uuid } = await open(proxy.url, '/both');
    await tab.tells({ type: 'transport', transport: 'sse' });
    const other = await open(direct());
    await tab.evaluate(`ws.broadcast('from events ü')`);
    await other.tab.tells({ type: 'broadcast', message: 'from events ü' });
    await other.tab.evaluate(`ws.broadcast('from a socket 🎈')`);
    await tab.tells({ type: 'broadcast', message: 'from a socket 🎈' });
    await push({ opcode: 'feedback', uuid, message: 'pushed' });
    await tab.tells({ type: 'feedback', message: 'pushed' });

    const start = tab.told.length;
    proxy.isClosed = true;
    proxy.cut();
    await tab.tells({ type: 'close' }, start);
    await other.tab.evaluate(`ws.broadcast('missed')`);
    proxy.isClosed = false;
    await tab.tells({ type: 'broadcast', message: 'missed' }, start);

    proxy.upgrade = 'pass';
    const moved = tab.told.length;
    await tab.evaluate(`void dispatchEvent(new Event('online'))`);
    await tab.tells({ type: 'transport', transport: 'websocket' }, moved);
    await other.tab.evaluate(`ws.broadcast('over a socket')`);
    await tab.tells({ type: 'broadcast', message: 'over a socket' }, moved);
    assert.deepEqual(tab.told.filter(({ type }) => type === 'gap'), []);
  });
}

inBoth('a page whose policy has sockets alone goes on trying them', async t => {
  const proxy = await startHttpProxy(t, port, 'refuse');
  const tab = await browser.open(`${site.url}/sockets-only#${proxy.url}`);
  for (let start = 0, times = 0; times < 4; times++) {
    await tab.tells({ type: 'close' }, start);
    start = tab.told.length;
  }
  proxy.upgrade = 'pass';
  await tab.tells({ type: 'ready' });
  assert.equal(await tab.evaluate('ws.transport'), 'websocket');
});
