// The demo page in a real browser, against the real server.
//   node --test suite.mjs      WEBSOCK: the program. CHROMIUM: the browser. SHOTS: where pictures go.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { access, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { freePort, startServer } from './harness.mjs';

const axe = await readFile(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
let browser, directory, port, server;

async function stopServer() {
  const ended = new Promise(resolve => server.once('exit', resolve));
  server.kill('SIGTERM');
  assert.equal(await ended, 0, 'the server ends in order');
}

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'websock-browser-'));
  port = await freePort();
  server = await startServer(directory, port);
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ['--headless', '--no-sandbox'],
  });
});

after(async () => {
  await browser?.close();
  if (server?.exitCode === null) await stopServer();
  await rm(directory, { recursive: true });
});

/** The page, connected; whatever it complains about ends up in `complaints`. */
async function open(context, expected = []) {
  const page = await context.newPage();
  page.complaints = [];
  const complain = text => expected.some(known => text.includes(known)) || page.complaints.push(text);
  page.on('console', message => ['error', 'warning'].includes(message.type()) && complain(message.text()));
  page.on('pageerror', error => complain(String(error)));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', e => console.error(`CSP: ${e.violatedDirective}`));
  });
  await page.goto(`http://127.0.0.1:${port}/`);
  await connected(page);
  return page;
}

const connected = page => page.locator('#state[data-state="open"]').waitFor();
const line = (page, text) => page.locator('#log p', { hasText: text }).first().waitFor();
const uuidOf = page => page.locator('#uuid').textContent();

/** Runs `use` with a page in a context of its own, and expects that it complained of nothing. */
async function withPage(use, options = {}) {
  const context = await browser.newContext(options.context);
  const page = await open(context, options.expected);
  await use(page, context);
  assert.deepEqual(page.complaints, []);
  await context.close();
}

test('the page connects and shows its own uuid', () =>
  withPage(async page => {
    assert.match(await uuidOf(page), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.match(await page.locator('#curl').textContent(), /^curl --json '\{"opcode":"feedback"/);
  }));

test('the progress bar of a job fills to 100 %', () =>
  withPage(async page => {
    await page.locator('#job').click();
    await page.locator('#percent', { hasText: 'done' }).waitFor();
    assert.equal(await page.locator('#progress').evaluate(bar => bar.value), 100);
  }));

test('the curl line, pasted, shows its message in the page', () =>
  withPage(async page => {
    const command = await page.locator('#curl').textContent();
    const child = spawn('sh', ['-c', `${command} -s`]);
    let answer = '';
    for await (const chunk of child.stdout) answer += chunk;
    assert.equal(answer, '{"delivered":1}\n');
    await line(page, 'hello from a terminal');
  }));

for (const [width, height] of [[1280, 720], [390, 844]]) {
  test(`the job and what arrives are on the first screen, ${width} wide`, () =>
    withPage(
      async page => {
        await page.locator('#job').click();
        await page.evaluate(() => ws.feedback('hello from a script', ws.uuid));
        await line(page, 'hello from a script');
        await line(page, 'the job is done');
        for (const selector of ['#job', '#progress', '#curl', '#log p:nth-child(1)', '#log p:nth-child(2)']) {
          const { y, height: own } = await page.locator(selector).boundingBox();
          assert.ok(y >= 0 && y + own <= height, `${selector} ends at ${y + own}`);
        }
        assert.equal(await page.evaluate(() => scrollY), 0);
      },
      { context: { viewport: { width, height } } },
    ));

  test(`no word of the curl line is broken, ${width} wide`, () =>
    withPage(
      async page => {
        const broken = await page.locator('#curl').evaluate(({ firstChild: text }) =>
          [...text.data.matchAll(/\S+/g)].filter(({ 0: word, index }) => {
            const range = document.createRange();
            range.setStart(text, index);
            range.setEnd(text, index + word.length);
            return range.getClientRects().length !== 1;
          }).map(([word]) => word),
        );
        assert.deepEqual(broken, []);
      },
      { context: { viewport: { width, height } } },
    ));
}

test('while a job runs there is no second one, and the bar only grows', () =>
  withPage(async page => {
    await page.evaluate(() => {
      window.values = [];
      const watch = () => values.push(document.getElementById('progress').value);
      new MutationObserver(watch).observe(document.getElementById('progress'), { attributes: true });
    });
    for (let times = 0; times < 2; times++) await page.evaluate(() => document.getElementById('job').click());
    await page.waitForFunction(() => values.includes(50));
    await page.evaluate(() => document.getElementById('job').click());
    await page.waitForFunction(() => values.includes(100));
    const values = await page.evaluate(() => values);
    assert.deepEqual(values, values.toSorted((a, b) => a - b));
    await page.evaluate(() => ws.echo('all that came before has arrived'));
    await line(page, 'all that came before has arrived');
    assert.equal(await page.locator('#log p', { hasText: 'the job is done' }).count(), 1);
    await page.locator('#job').click();
    await page.locator('#percent', { hasText: /^\d+ %$/ }).waitFor();
    await page.locator('#percent', { hasText: 'done' }).waitFor();
  }));

test('messages that are no text are shown as JSON', () =>
  withPage(async (page, context) => {
    const other = await open(context);
    const shown = [['{"a":[1,"ä"]}', { a: [1, 'ä'] }], ['[null,true]', [null, true]], ['null', null], ['4.5', 4.5]];
    for (const [text, message] of shown) {
      await other.evaluate(message => ws.broadcast(message), message);
      await page.locator('#log p', { hasText: `broadcast${text}` }).waitFor();
      await other.evaluate(([message, uuid]) => ws.feedback(message, uuid), [message, await uuidOf(page)]);
      await page.locator('#log p', { hasText: `feedback${text}` }).waitFor();
      await page.evaluate(message => ws.echo(message), message);
      await page.locator('#log p', { hasText: `echo${text}` }).waitFor();
    }
  }));

test('where to read on is there: what is linked by the server, what is named beside its source', () =>
  withPage(async page => {
    const section = page.locator('section[aria-labelledby="docs"]');
    const links = await section.locator('a').evaluateAll(all => all.map(({ href }) => href));
    assert.notEqual(links.length, 0);
    for (const link of links) assert.equal((await fetch(link)).status, 200, link);
    const names = await section.locator('code').allTextContents();
    for (const name of names) await access(new URL(`../../${name}`, import.meta.url));
    assert.ok(names.includes('README.md'));
  }));

test('two windows broadcast to each other in order, and not to themselves', () =>
  withPage(async (one, context) => {
    const other = await open(context);
    for (const [from, to] of [[one, other], [other, one]]) {
      const name = from === one ? 'one' : 'other';
      await from.bringToFront();
      for (let number = 0; number < 20; number++) {
        await from.locator('#text').fill(`${name} says ${number}.`);
        await from.locator('#say button[type=submit]').click();
      }
      await line(to, `${name} says 19.`);
      const heard = await to.locator('#log p', { hasText: `${name} says` }).allTextContents();
      const numbers = heard.map(text => Number(/says (\d+)\./.exec(text)[1])).reverse();
      assert.deepEqual(numbers, [...Array(20).keys()]);
      assert.equal(await from.locator('#log p', { hasText: `${name} says` }).count(), 0);
    }
    assert.deepEqual(other.complaints, []);
  }));

test('messages of 16 KiB and 1 MiB come back whole', () =>
  withPage(async page => {
    for (const length of [16384, 1048576]) {
      await page.locator(`[data-long="${length}"]`).click();
      await line(page, `${length} characters`);
    }
  }));

test('an echo shows its text and round trips are plotted', () =>
  withPage(async page => {
    await page.locator('#text').fill('<b>ä & 🎈</b>');
    await page.locator('#echo').click();
    await line(page, '<b>ä & 🎈</b>');
    await page.locator('#line[points*=" "]').waitFor({ state: 'attached' });
    assert.match(await page.locator('#median').textContent(), /^\d+\.\d ms$/);
  }));

test('the page says that the server has gone, and comes back with it', () =>
  withPage(
    async page => {
      const before = await uuidOf(page);
      await stopServer();
      await page.locator('#state[data-state="waiting"], #state[data-state="connecting"]').waitFor();
      assert.equal(await page.locator('#job').isDisabled(), true);
      server = await startServer(directory, port);
      await connected(page);
      assert.notEqual(await uuidOf(page), before);
      await page.locator('#echo').click();
      await line(page, 'hello');
    },
    { expected: ['WebSocket connection to', 'websock', 'ERR_CONNECTION_REFUSED'] },
  ));

test('a page that was offline comes back at once when it is online', () =>
  withPage(
    async (page, context) => {
      await stopServer();
      await page.locator('#state[data-state="waiting"], #state[data-state="connecting"]').waitFor();
      await context.setOffline(true);
      server = await startServer(directory, port);
      await context.setOffline(false);
      await page.evaluate(() => dispatchEvent(new Event('online')));
      await connected(page);
    },
    { expected: ['WebSocket connection to', 'websock', 'ERR_CONNECTION_REFUSED', 'ERR_INTERNET_DISCONNECTED'] },
  ));

for (const colorScheme of ['light', 'dark']) {
  for (const [width, height] of [[1280, 900], [390, 844]]) {
    test(`nothing is wrong for those who use aids, ${colorScheme}, ${width} wide`, () =>
      withPage(
        async page => {
          await page.locator('#job').click();
          await page.locator('#percent', { hasText: 'done' }).waitFor();
          // Not inserted as a script element, which the page's policy forbids.
          await page.evaluate(axe);
          const { violations } = await page.evaluate(() => axe.run());
          assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(node => node.html)]), []);
          const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(overflow <= 0, `${overflow} pixels too wide`);
          if (process.env.SHOTS) {
            await page.screenshot({ path: join(process.env.SHOTS, `demo-${colorScheme}-${width}.png`), fullPage: true });
          }
        },
        { context: { colorScheme, viewport: { width, height } } },
      ));
  }
}

test('everything can be reached and done with the keyboard', () =>
  withPage(async page => {
    const reached = [];
    for (let steps = 0; steps < 20; steps++) {
      await page.keyboard.press('Tab');
      const name = await page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
      reached.push(name);
      if (name === 'job') await page.keyboard.press('Enter');
    }
    for (const id of ['job', 'curl', 'text', 'echo', 'log']) assert.ok(reached.includes(id), `${id} in ${reached}`);
    await page.locator('#percent', { hasText: 'done' }).waitFor();
  }));
