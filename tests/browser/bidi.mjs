// A Firefox as people have it, driven by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/), with
// the calls of cdp.mjs.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import WebSocket from 'ws';

import { Log } from './cdp.mjs';
import { within } from './harness.mjs';

/**
 * Nothing of Mozilla's is asked for anything, and Firefox does not wait by itself, up to a minute,
 * where a WebSocket has failed before.
 */
const PREFERENCES = `
user_pref('app.update.enabled', false);
user_pref('browser.safebrowsing.downloads.remote.enabled', false);
user_pref('browser.safebrowsing.update.enabled', false);
user_pref('datareporting.policy.dataSubmissionEnabled', false);
user_pref('dom.disable_open_during_load', false);
user_pref('extensions.update.enabled', false);
user_pref('network.captive-portal-service.enabled', false);
user_pref('network.websocket.delay-failed-reconnects', false);
user_pref('network.connectivity-service.enabled', false);
user_pref('services.settings.server', 'data:,');
user_pref('toolkit.telemetry.enabled', false);
`;

/** Starts a browser. */
export async function launchFirefox() {
  const profile = await mkdtemp(join(tmpdir(), 'websock-firefox-'));
  await writeFile(join(profile, 'user.js'), PREFERENCES);
  const child = spawn(
    process.env.FIREFOX,
    ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port', '0', 'about:blank'],
    { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, HOME: profile } },
  );
  const socket = new WebSocket(`${await within(bidiUrl(child.stderr), 'WebDriver BiDi')}/session`);
  await within(once(socket, 'open'), 'a connection to WebDriver BiDi');
  const browser = new Browser(child, profile, socket);
  await browser.call('session.new', { capabilities: {} });
  await browser.call('session.subscribe', { events: ['log.entryAdded'] });
  return browser;
}

async function bidiUrl(output) {
  for await (const line of createInterface(output)) {
    const found = /WebDriver BiDi listening on (ws:\S+)/.exec(line);
    if (found) {
      output.resume();
      return found[1];
    }
  }
  throw new Error('Firefox ended before it listened');
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

  #handle({ id, method, params, result, message }) {
    if (method === 'log.entryAdded') {
      const { type, args, source } = params;
      if (type === 'console') this.#pages.get(source.context)?.keep(args[0].value);
    }
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (result) call?.resolve(result);
    else call?.reject(new Error(message));
  }

  /** Calls a method of the protocol. */
  call(method, params = {}) {
    const id = ++this.#lastId;
    const answer = new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }));
    this.#socket.send(JSON.stringify({ id, method, params }));
    return within(answer, method);
  }

  /** Opens a tab, in front of the others. */
  async open(url) {
    const { context } = await this.call('browsingContext.create', { type: 'tab' });
    const page = new Page((method, params) => this.call(method, params), context);
    this.#pages.set(context, page);
    await page.go(url);
    return page;
  }

  /** Puts a tab in front; the one that was there is hidden from then on. */
  show(page) {
    return this.call('browsingContext.activate', { context: page.context });
  }

  async close() {
    const ended = once(this.#child, 'exit');
    await this.call('browser.close');
    await within(ended, 'the end of Firefox');
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A tab. */
class Page extends Log {
  constructor(call, context) {
    super();
    Object.assign(this, { call, context });
  }

  async go(url) {
    await this.call('browsingContext.navigate', { context: this.context, url, wait: 'complete' });
  }

  reload() {
    return this.call('browsingContext.reload', { context: this.context });
  }

  back() {
    return this.call('browsingContext.traverseHistory', { context: this.context, delta: -1 });
  }

  /** What an expression gives, or what its promise does; it counts as the user's doing. */
  async evaluate(expression) {
    const answer = await this.call('script.evaluate', {
      target: { context: this.context },
      expression: `Promise.resolve(${expression}).then(JSON.stringify)`,
      awaitPromise: true,
      userActivation: true,
    });
    if (answer.type === 'exception') throw new Error(answer.exceptionDetails.text);
    return answer.result.type === 'undefined' ? undefined : JSON.parse(answer.result.value);
  }
}
