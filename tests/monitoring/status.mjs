// The status page in a real browser, against the real server.
//   node --test status.mjs      WEBSOCK: the program. CHROMIUM: the browser. SHOTS: where pictures go.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { TOKEN, connect, startServer, within, workDirectory } from './harness.mjs';

const axe = await readFile(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
let browser, directory, server;

before(async () => {
  directory = await workDirectory();
  server = await startServer(directory.path, ['maxPerIP=40', 'maxQueue=64K', 'memoryLimit=32M']);
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--headless', '--no-sandbox'] });
});

after(async () => {
  await browser?.close();
  await server?.stop();
  await directory?.remove();
});

/** The page with its first answer; whatever it complains about ends up in `complaints`. */
async function open(options = {}, url = `${server.status}/status`, expected = []) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.complaints = [];
  page.requests = [];
  const complain = text => expected.some(known => text.includes(known)) || page.complaints.push(text);
  page.on('console', message => ['error', 'warning'].includes(message.type()) && complain(message.text()));
  page.on('pageerror', error => complain(String(error)));
  page.on('request', request => page.requests.push(request.url()));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', e => console.error(`CSP: ${e.violatedDirective}`));
  });
  await page.goto(url);
  await page.locator('#state[data-state="ready"]').waitFor();
  return page;
}

const tile = (page, name) => page.locator(`[id="tile-${name}"] dd`).first();
const clientRows = page => page.locator('#clients tr');

test('the page shows who is there, live, and asks nobody else', async () => {
  const page = await open();
  const tabs = await Promise.all([1, 2, 3].map(() => connect(`${server.clients}/web`)));
  const script = await connect(`${server.clients}/php?token=${TOKEN}`, { 'Client-Type': 'php' });
  await tile(page, 'Tabs').filter({ hasText: /^3$/ }).waitFor();
  await tile(page, 'Scripts').filter({ hasText: /^1$/ }).waitFor();
  assert.equal(await clientRows(page).count(), 4);
  const row = page.locator('#clients tr', { hasText: tabs[0].uuid.slice(0, 8) });
  await row.waitFor();
  const text = await page.locator('body').innerText();
  for (const { uuid } of tabs) assert.ok(!text.includes(uuid), 'a whole uuid is in the page');
  const address = page.locator('#addresses button', { hasText: '127.0.0.1' });
  await address.click();
  await page.locator('#shown', { hasText: '4 of address 127.0.0.1' }).waitFor();
  await page.locator('#all').click();
  await page.locator('#shown', { hasText: /^4$/ }).waitFor();
  tabs[0].say('{"opcode":"echo"}');
  await page.locator('#key-0', { hasText: /received [\d.]*[1-9]/ }).waitFor();
  assert.match(await page.locator('#plot-0').getAttribute('aria-label'), /^Messages per second: received/);
  tabs.forEach(tab => tab.socket.close(1000));
  script.say('{"opcode":"quit"}');
  await Promise.all([...tabs, script].map(client => client.closed()));
  await tile(page, 'Tabs').filter({ hasText: /^0$/ }).waitFor();
  await page.locator('#closings tr', { hasText: 'closed by the client' }).waitFor();
  await page.locator('#closings tr', { hasText: 'quit' }).waitFor();
  assert.ok(page.requests.length > 3);
  for (const url of page.requests) assert.ok(url.startsWith(server.status) || url.startsWith('data:'), url);
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('limits that are hit, refusals and warnings of the log are shown, as text', async () => {
  const page = await open();
  const tabs = await Promise.all(Array.from({ length: 40 }, () => connect(`${server.clients}/web`)));
  await assert.rejects(connect(`${server.clients}/web`), /Too many connections from/);
  await page.locator('#refusals tr', { hasText: 'Too many connections from' }).waitFor();
  // A name in a header that is told in the log.
  await fetch(`${server.http}/push`, { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json', 'X-Forwarded-For': '1.2.3.4', Forwarded: '<img src=x onerror=alert(1)>' } });
  await page.locator('#refusals tr', { hasText: 'through a proxy' }).waitFor();
  await page.locator('#log p', { hasText: 'trustedProxies=127.0.0.1' }).waitFor();
  assert.equal(await page.locator('#log img').count(), 0);
  tabs.forEach(tab => tab.socket.terminate());
  await tile(page, 'Tabs').filter({ hasText: /^0$/ }).waitFor();
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('a connection is closed by its button, with the token and not without', async () => {
  const page = await open({}, undefined, ['401 (Unauthorized)']);
  const tab = await connect(`${server.clients}/web`);
  const other = await connect(`${server.clients}/web`);
  const button = page.locator('#clients tr', { hasText: tab.uuid.slice(0, 8) }).locator('button');
  await button.click();
  await page.locator('#auth-note', { hasText: 'Type the pushToken first' }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), 'token');
  await page.locator('#token').fill('fedcba9876543210');
  await button.click();
  await page.locator('#auth-note', { hasText: 'Not closed: a token is needed' }).waitFor();
  await page.locator('#token').fill(TOKEN);
  await button.focus();
  await page.keyboard.press('Enter');
  assert.deepEqual(await tab.closed(), { code: 1008, reason: 'closed by the administrator' });
  await page.locator('#closings tr', { hasText: 'closed by the administrator' }).waitFor();
  assert.equal(other.socket.readyState, 1, 'the other one stays');
  const kept = await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]);
  assert.deepEqual(kept, [0, 0, ''], 'the token is kept nowhere');
  other.socket.terminate();
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test('what has the focus keeps it while the page goes on', async () => {
  const page = await open();
  const tab = await connect(`${server.clients}/web`);
  const button = page.locator('#clients tr', { hasText: tab.uuid.slice(0, 8) }).locator('button');
  await button.focus();
  for (let times = 0; times < 2; times += 1) {
    await page.waitForResponse(response => response.url().includes('status.json'));
  }
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')?.startsWith('Close #')), true);
  tab.socket.terminate();
  await page.context().close();
});

test('a page of another site reads nothing and closes nobody', async t => {
  const site = http.createServer((_, response) => response.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html>'));
  await new Promise(resolve => site.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    site.closeAllConnections();
    site.close();
  });
  const tab = await connect(`${server.clients}/web`);
  const page = await browser.newPage();
  await page.goto(`http://localhost:${site.address().port}/`).catch(() => page.goto(`http://127.0.0.1:${site.address().port}/`));
  const tried = await page.evaluate(async ({ status, token }) => {
    const outcome = {};
    const note = async (name, asking) => {
      outcome[name] = await asking.then(response => `${response.type} ${response.status}`, () => 'failed');
    };
    await note('read', fetch(`${status}/status.json`));
    await note('metrics', fetch(`${status}/metrics`));
    await note('no-cors', fetch(`${status}/status.json`, { mode: 'no-cors' }));
    const body = JSON.stringify({ id: '0-0' });
    await note('simple post', fetch(`${status}/status/close`, { method: 'POST', body }));
    await note('with token', fetch(`${status}/status/close`, { method: 'POST', body, headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` } }));
    const framed = await new Promise(resolve => {
      const frame = document.createElement('iframe');
      frame.onload = () => resolve(frame.contentDocument === null ? 'shut' : 'blank');
      frame.src = `${status}/status`;
      document.body.append(frame);
    });
    return { ...outcome, framed };
  }, { status: server.status, token: TOKEN });
  assert.deepEqual(tried, { read: 'failed', metrics: 'failed', 'no-cors': 'failed', 'simple post': 'failed', 'with token': 'failed', framed: 'shut' });
  assert.equal(await page.frames()[1].locator('#state').count(), 0, 'it is shown in no frame');
  assert.equal(tab.socket.readyState, 1);
  tab.socket.terminate();
  await page.close();
});

test('a server that has gone is told, and one that is back is shown again', async () => {
  const own = await startServer(directory.path);
  const page = await open({}, `${own.status}/status`, ['ERR_CONNECTION_REFUSED', 'ERR_CONNECTION_RESET', 'ERR_EMPTY_RESPONSE']);
  await own.stop();
  await page.locator('#state[data-state="lost"]').waitFor();
  const again = await startServer(directory.path, [], own.ports);
  await page.locator('#state[data-state="ready"]').waitFor();
  await page.locator('#pause').click();
  assert.equal(await page.locator('#pause').getAttribute('aria-pressed'), 'true');
  await again.stop();
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

for (const colorScheme of ['light', 'dark']) {
  for (const [name, viewport] of [['wide', { width: 1280, height: 800 }], ['narrow', { width: 360, height: 740 }]]) {
    test(`axe finds nothing, and nothing sticks out: ${colorScheme}, ${name}`, async t => {
      const tabs = await Promise.all([1, 2].map(() => connect(`${server.clients}/web`)));
      t.after(() => tabs.forEach(tab => tab.socket.terminate()));
      const page = await open({ colorScheme, viewport });
      await tile(page, 'Tabs').filter({ hasText: /^2$/ }).waitFor();
      await page.locator('#plot-0[aria-label]').waitFor();
      const { scrollWidth, clientWidth } = await page.evaluate(() => {
        const { scrollWidth, clientWidth } = document.documentElement;
        return { scrollWidth, clientWidth };
      });
      assert.ok(scrollWidth <= clientWidth, `${scrollWidth} of ${clientWidth}`);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(node => node.html)]), []);
      if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `status-${colorScheme}-${name}.png`), fullPage: true });
      assert.deepEqual(page.complaints, []);
      await within(page.context().close(), 'the browser');
    });
  }
}
