// A Chromium as people have it, driven by its DevTools protocol alone: Playwright turns off the
// back/forward cache, and keeps every page visible, so that none is ever frozen.
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import WebSocket from 'ws';

import { within } from './harness.mjs';

/** Starts a browser. */
export async function launch() {
  const profile = await mkdtemp(join(tmpdir(), 'websock-chromium-'));
  const child = spawn(
    process.env.CHROMIUM,
    ['--headless', '--no-sandbox', '--no-first-run', '--remote-debugging-port=0', `--user-data-dir=${profile}`],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const socket = new WebSocket(await within(devToolsUrl(child.stderr), 'DevTools'));
  await within(once(socket, 'open'), 'a connection to DevTools');
  return new Browser(child, profile, socket);
}

async function devToolsUrl(output) {
  for await (const line of createInterface(output)) {
    const found = /^DevTools listening on (ws:\S+)/.exec(line);
    if (found) {
      output.resume();
      return found[1];
    }
  }
  throw new Error('Chromium ended before it listened');
}

class Browser {
  #child;
  #profile;
  #socket;
  #calls = new Map();
  #pages = new Map();
  #lastId = 0;

  constructor(child, profile, socket) {
    this.#child = child;
    this.#profile = profile;
    this.#socket = socket;
    socket.on('message', data => this.#handle(JSON.parse(data)));
  }

  #handle({ id, sessionId, method, params, result, error }) {
    if (id === undefined) return this.#pages.get(sessionId)?.emit(method, params);
    const { resolve, reject } = this.#calls.get(id);
    this.#calls.delete(id);
    if (error) reject(new Error(error.message));
    else resolve(result);
  }

  /** Calls a method of the protocol. */
  call(method, params = {}, sessionId = undefined) {
    const id = ++this.#lastId;
    const answer = new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }));
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    return within(answer, method);
  }

  /** Opens a tab, in front of the others. */
  async open(url) {
    const { targetId } = await this.call('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.call('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page((method, params) => this.call(method, params, sessionId), targetId);
    this.#pages.set(sessionId, page);
    await page.call('Runtime.enable');
    await page.call('Page.enable');
    await page.go(url);
    return page;
  }

  /** Puts a tab in front; the one that was there is hidden from then on. */
  show({ targetId }) {
    return this.call('Target.activateTarget', { targetId });
  }

  async close() {
    const ended = once(this.#child, 'exit');
    this.#socket.send(JSON.stringify({ id: ++this.#lastId, method: 'Browser.close' }));
    this.#calls.set(this.#lastId, { resolve() {}, reject() {} });
    await within(ended, 'the end of Chromium');
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** What a page logs as JSON, no text twice, is kept in `told`. */
export class Log extends EventEmitter {
  told = [];
  #texts = new Set();

  keep(text) {
    if (this.#texts.has(text)) return; // a page out of the cache has all its log repeated
    this.#texts.add(text);
    this.told.push(JSON.parse(text));
    this.emit('told');
  }

  /** The first thing told since `start` that has all these fields. */
  async tells(fields, start = 0) {
    const is = told => Object.entries(fields).every(([name, value]) => told[name] === value);
    const find = async () => {
      for (;;) {
        const found = this.told.slice(start).find(is);
        if (found) return found;
        await once(this, 'told');
      }
    };
    const what = `${JSON.stringify(fields)} in:\n${this.told.map(told => JSON.stringify(told)).join('\n')}`;
    return within(find(), what);
  }
}

/** A tab. */
class Page extends Log {
  constructor(call, targetId) {
    super();
    Object.assign(this, { call, targetId });
    this.on('Runtime.consoleAPICalled', ({ args: [{ value }] }) => this.keep(value));
  }

  async go(url) {
    const loaded = once(this, 'Page.loadEventFired');
    await this.call('Page.navigate', { url });
    await within(loaded, url);
  }

  reload() {
    return this.call('Page.reload');
  }

  async back() {
    const { currentIndex, entries } = await this.call('Page.getNavigationHistory');
    await this.call('Page.navigateToHistoryEntry', { entryId: entries[currentIndex - 1].id });
  }

  /** What an expression gives, or what its promise does; it counts as the user's doing. */
  async evaluate(expression) {
    const options = { expression, awaitPromise: true, returnByValue: true, userGesture: true };
    const { result, exceptionDetails } = await this.call('Runtime.evaluate', options);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Takes the network away from the page, or gives it back. */
  async setOffline(offline) {
    await this.call('Network.enable');
    const conditions = { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
    await this.call('Network.emulateNetworkConditions', conditions);
  }

  /** `frozen` or `active`; only a hidden page can be frozen. */
  setLifecycle(state) {
    return this.call('Page.setWebLifecycleState', { state });
  }
}
