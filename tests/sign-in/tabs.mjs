// A shop of plain PHP, and tabs without a browser: as many as wanted, with the cookies wanted.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, cpSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';

import WS from 'ws';

import { Websock } from '../../clients/js/websock.mjs';
import { beside } from './examples.mjs';
import { folder, freePort, startNginx, startPhp, within } from './services.mjs';

/** The shop of apps/plain; `settings` are for PHP. */
export async function startShop(t, { settings } = {}) {
  const directory = folder(t);
  const root = join(directory, 'shop');
  cpSync(beside('apps/plain'), root, { recursive: true });
  copyFileSync(beside('../../clients/php/websock.php'), join(root, 'websock.php'));
  const [php, port] = [await startPhp(t, directory, { settings }), await freePort()];
  // What a script says leaves at once, as from a server that does not buffer.
  const locations = 'fastcgi_buffering off;';
  const site = await startNginx(t, directory, { root, php, port, locations });
  return { directory, root, php, site, url: site.url, port };
}

/** One after the other. Nobody is refused, nobody is asked to come again, each is who it is. */
export async function signInFromTheResponse({ url }, websock, count = 200) {
  const ways = ['small', 'large', 'flushed', 'finished'];
  for (let number = 1; number <= count; number++) {
    const how = ways[number % ways.length];
    const request = http.get(`${url}/begin.php?user=${number}&how=${how}`);
    const [response] = await within(once(request, 'response'), 'a response');
    const [Cookie] = response.headers['set-cookie'][0].split(';');
    const first = await firstPacket(`${websock.url}/web?user=1`, { Cookie });
    response.resume();
    const { opcode, user } = JSON.parse(first);
    assert.deepEqual([opcode, user], ['ready', String(number)], `sign-in ${number}, ${how}`);
    await within(once(response, 'end'), 'the end of the response');
  }
}

/** What the server says first to a tab with these headers, which then goes. */
async function firstPacket(url, headers) {
  const socket = new WS(url, { headers });
  const [data] = await within(once(socket, 'message'), 'ready');
  socket.close();
  await within(once(socket, 'close'), 'the end of the tab');
  return data.toString();
}

/** The cookie of a session in which that user has signed in. */
export async function beginSession({ url }, user) {
  const response = await fetch(`${url}/begin.php?user=${user}&how=small`);
  await response.text();
  return response.headers.getSetCookie()[0].split(';')[0];
}

/** The status by which a tab with that cookie is refused, and whether it is told when to return. */
export async function refusal(url, Cookie) {
  const socket = new WS(url, { headers: { Cookie } });
  const [request, response] = await within(once(socket, 'unexpected-response'), 'a refusal');
  request.destroy();
  const isTold = Number(response.headers['retry-after']) >= 1;
  return `${response.statusCode}${isTold ? ', in 1 s or more' : ''}`;
}

/** Resolves with the user that the tab's `ready` names; it comes again when it is told to. */
export function openTab(t, websock, Cookie, then = () => {}) {
  class WithCookie extends WS {
    constructor(url) {
      super(url, { headers: { Cookie } });
    }
  }
  const controller = new AbortController();
  t.after(() => controller.abort());
  const options = { WebSocket: WithCookie, log() {}, signal: controller.signal };
  const client = new Websock(`${websock.url}/web?user=1`, options);
  return new Promise((resolve, reject) => {
    client.addEventListener('ready', ({ packet }) => then(resolve(packet.user)), { once: true });
    client.addEventListener('close', ({ code, isFinal }) => {
      if (code === 4401 || isFinal) reject(new Error(`${Cookie} was closed with ${code}`));
    });
  });
}
