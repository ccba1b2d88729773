// Proxies that fail as told, also for tests/browser: of nothing but what Node has.
import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import http from 'node:http';
import net from 'node:net';

const DEADLINE_MS = 20_000;

/** The promise, or an error that says what was waited for. */
export function within(promise, what) {
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), DEADLINE_MS);
  });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}

/** Listens on a free port of this machine with `server`, until the test ends. */
export async function listen(t, server) {
  const sockets = new Set();
  server.on('connection', (socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    sockets.forEach((socket) => socket.destroy());
    server.close();
  });
  return server.address().port;
}

/**
 * Passes bytes between clients and the server at `port`, until told otherwise: `hold('up')` keeps
 * what clients send, `hold('down')` what they get, until `release()`; `held(way)` resolves when
 * something has been kept; `cut()` breaks every connection, and what was kept is lost; `cutOne(random)`
 * breaks any. Whoever comes while `isClosed` is sent away.
 */
export async function startProxy(t, port) {
  const ways = { up: new Way(), down: new Way() };
  const sockets = new Set();
  const server = net.createServer((client) => {
    if (proxy.isClosed) return client.destroy();
    const upstream = net.connect(port, '127.0.0.1');
    ways.up.join(client, upstream);
    ways.down.join(upstream, client);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {}); // `close` follows
      socket.on('close', () => {
        [client, upstream].forEach((end) => sockets.delete(end.destroy()));
      });
    }
  });
  const proxy = {
    isClosed: false,
    url: `ws://127.0.0.1:${await listen(t, server)}/web`,
    hold: (way) => (ways[way].isHeld = true),
    held: (way) => within(ways[way].kept(), `bytes on the way ${way}`),
    release: () => Object.values(ways).forEach((way) => way.release()),
    cut: () => sockets.forEach((socket) => socket.destroy()),
    cutOne: (random) => [...sockets][random(sockets.size)]?.destroy(),
  };
  return proxy;
}

/** One of the two directions of a proxy. */
class Way extends EventEmitter {
  isHeld = false;
  #kept = [];

  join(from, to) {
    from.on('data', (bytes) => {
      if (!this.isHeld) return to.write(bytes);
      this.#kept.push({ to, bytes });
      this.emit('kept');
    });
  }

  async kept() {
    if (!this.#kept.length) await once(this, 'kept');
  }

  release() {
    this.isHeld = false;
    for (const { to, bytes } of this.#kept.splice(0)) if (!to.destroyed) to.write(bytes);
  }
}

/**
 * Passes HTTP on to the server at `port`, and WebSockets as `upgrade` tells, which may be set anew:
 * `pass`; `refuse` with a status; `strip`, so that the server is asked for a page; `cut` the
 * connection; or `cut later`, behind a switch of protocols that the proxy itself has answered.
 */
export async function startHttpProxy(t, port, upgrade = 'refuse') {
  const proxy = { upgrade, isClosed: false, sockets: new Set() };
  const forward = ({ method, url, headers: { upgrade: _, ...headers }, ...rest }, response) => {
    const request = http.request({ port, host: '127.0.0.1', method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.rawHeaders);
      response.flushHeaders();
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    request.on('error', () => response.destroy());
    response.on('close', () => request.destroy());
    return request;
  };
  const server = http.createServer((request, response) => {
    request.pipe(forward(request, response));
  });
  server.on('connection', (socket) => {
    if (proxy.isClosed) return socket.destroy();
    proxy.sockets.add(socket);
    socket.on('error', () => {}).on('close', () => proxy.sockets.delete(socket));
  });
  server.on('upgrade', (request, socket) => UPGRADES[proxy.upgrade](request, socket, port));
  proxy.url = `ws://127.0.0.1:${await listen(t, server)}/web`;
  proxy.cut = () => proxy.sockets.forEach((socket) => socket.destroy());
  return proxy;
}

const UPGRADES = {
  refuse: (_, socket) => socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n'),
  cut: (_, socket) => socket.destroy(),
  'cut later': ({ headers }, socket) => {
    const key = `${headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash('sha1').update(key).digest('base64');
    socket.end(`${SWITCH}Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  },
  strip: (request, socket, port) => passHead(request, socket, port, /^(upgrade|connection)$/i),
  pass: (request, socket, port) => passHead(request, socket, port, /^$/),
};

const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';

/** Passes a head on without some headers, and then whatever comes. */
function passHead({ method, url, rawHeaders }, socket, port, left) {
  const upstream = net.connect(port, '127.0.0.1');
  upstream.write(`${method} ${url} HTTP/1.1\r\n`);
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name, value] = rawHeaders.slice(at);
    if (!left.test(name)) upstream.write(`${name}: ${value}\r\n`);
  }
  upstream.write('\r\n');
  socket.pipe(upstream).pipe(socket);
  const end = () => [socket, upstream].forEach((one) => one.destroy());
  for (const one of [socket, upstream]) one.on('error', end).on('close', end);
}
