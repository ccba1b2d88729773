// Visitors with browsers, what their pages are told, what scripts push, and the story that every
// shop's test tells.
import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

import { beside, example } from './examples.mjs';

const DEADLINE_MS = 60_000;

let browser;

export async function launch() {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ['--headless', '--no-sandbox'],
  });
}

export async function closeBrowser() {
  await browser?.close();
}

/** Someone with a browser and cookies of their own. */
export async function visitor(t) {
  const context = await browser.newContext();
  context.setDefaultTimeout(DEADLINE_MS);
  t.after(() => context.close());
  return context;
}

/** A tab at that address, loaded. */
export async function tab(who, url) {
  const page = await who.newPage();
  await page.goto(url);
  return page;
}

/**
 * What all pages of a shop include: the client, and as /page.js an example of the docs with what
 * tells the test around it. `replace` names the socket's address, where it is not the page's own.
 */
export function writePageScripts(root, replace = {}, name = 'page.js') {
  copyFileSync(beside('../../clients/js/websock.js'), join(root, 'websock.js'));
  writeFileSync(join(root, 'page.js'), BEFORE + example(name, replace) + BEHIND);
}

/** For a page whose socket is not behind the same proxy. */
export const directly = (websock) => ({ '/websock/web': `${websock.url}/web` });

const BEFORE = `
const told = [];
const show = (message) => told.push(['shown', message]);
const showLogin = () => told.push(['unauthorized']);
`;
const BEHIND = `
ws.addEventListener('ready', ({ packet }) => told.push(['ready', packet.user ?? null]));
ws.addEventListener('close', ({ code }) => told.push(['close', code]));
`;

/** Waits until that is so in the page, also where it is behind another one and is not painted. */
export async function until(page, isSo, argument) {
  return page.waitForFunction(isSo, argument, { polling: 20 });
}

/** After a login: the page that it leads to says who it is. */
export async function untilNamed(page, name) {
  await until(page, (name) => document.querySelector('#name')?.textContent === name, name);
}

/** Waits until the page has been told as much as `count`, and says what; the rest stays. */
export async function told(page, count = 1) {
  const isTold = (count) =>
    typeof told !== 'undefined' && told.length >= count && told.splice(0, count);
  const all = await until(page, isTold, count);
  return all.jsonValue();
}

/** What a packet that a script pushes is answered with. */
export async function push(websock, packet) {
  const response = await fetch(`${websock.push}/push`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(packet),
  });
  const { delivered } = await response.json();
  return { status: response.status, delivered };
}

/** To a user; how many tabs were reached. */
export async function pushToUser(websock, user, message) {
  return (await push(websock, { opcode: 'feedback', user, message })).delivered;
}

/** What an address answers to websock's question, asked with these cookies. */
export async function ask(url, cookies = []) {
  const Cookie = cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
  const response = await fetch(url, { headers: Cookie ? { Cookie } : {}, redirect: 'manual' });
  const cookiesSet = response.headers.getSetCookie();
  return { status: response.status, body: await response.text(), cookiesSet };
}

/** What the address says about this visitor: the user's id, or the status. */
export async function whoIs(url, who) {
  const { status, body } = await ask(url, who ? await who.cookies(url) : []);
  return status === 200 ? JSON.parse(body).user : status;
}

/**
 * Anna and Ben log in by the shop's own login, in a browser each; Anna has two tabs. What is for
 * one is heard by that one, in all tabs, and by nobody else. Anna logs out in one tab: the other
 * one is closed with 4401, and nobody hears what is for her.
 *
 * `shop`: url, anna and ben (the ids), login(page, name), logout(page) and, if a URL is asked,
 * question. `websock` asks again every second.
 */
export async function tellStory(t, websock, shop) {
  const [anna, ben, stranger] = [await visitor(t), await visitor(t), await visitor(t)];
  const outside = await tab(stranger, shop.url);
  assert.deepEqual(await told(outside, 2), [['close', 4401], ['unauthorized']]);

  const first = await signedIn(anna, shop, 'anna');
  const second = await tab(anna, shop.url);
  assert.deepEqual(await told(second), [['ready', shop.anna]]);
  const other = await signedIn(ben, shop, 'ben');

  assert.equal(await pushToUser(websock, shop.anna, 'for anna'), 2);
  assert.equal(await pushToUser(websock, shop.ben, 'for ben'), 1);
  assert.equal(await pushToUser(websock, '0', 'for nobody'), 0);
  for (const page of [first, second]) assert.deepEqual(await told(page), [['shown', 'for anna']]);
  assert.deepEqual(await told(other), [['shown', 'for ben']]);

  if (shop.question) {
    assert.equal(String(await whoIs(shop.question, anna)), shop.anna);
    assert.equal(await whoIs(shop.question, stranger), 401);
    assert.equal(await whoIs(shop.question), 401);
    assert.match(await websock.check(), /^authUrl answers 401 about a visitor without cookies/m);
  }

  await shop.logout(second);
  assert.deepEqual(await told(first, 2), [['close', 4401], ['unauthorized']]);
  if (shop.question) assert.equal(await whoIs(shop.question, anna), 401);
  assert.equal(await pushToUser(websock, shop.anna, 'too late'), 0);
  assert.equal(await pushToUser(websock, shop.ben, 'still here'), 1);
  assert.deepEqual(await told(other), [['shown', 'still here']]);

  await shop.login(second, 'anna');
  assert.deepEqual(await told(second), [['ready', shop.anna]]);
  return { anna, ben, first, second, other };
}

async function signedIn(who, shop, name) {
  const page = await tab(who, shop.loginUrl ?? shop.url);
  await shop.login(page, name);
  const id = shop[name];
  assert.deepEqual(await told(page), [['ready', id]], `${name}'s first page after the login`);
  return page;
}
