// A fetch of which the test is the other end: streams of events, and what is sent for them.

const flush = () => new Promise(setImmediate);
const encoder = new TextEncoder();

/**
 * `requests` are all that were made, each to be answered by the test, or by `auto`; among them the
 * `streams` of events and the `posts`.
 */
export function fakeFetch() {
  const requests = [];
  const fetch = (url, options) =>
    new Promise((resolve, reject) => {
      const request = new Request(url, options, resolve, reject);
      requests.push(request);
      options.signal?.addEventListener('abort', () => request.abort());
      fetch.auto?.(request);
    });
  const of = (method) => requests.filter((request) => request.method === method);
  return Object.defineProperties(Object.assign(fetch, { auto: null, requests }), {
    streams: { get: () => of('GET') },
    stream: { get: () => of('GET').at(-1) },
    posts: { get: () => of('POST') },
  });
}

class Request {
  isAborted = false;
  #resolve;
  #reject;
  #stream;

  constructor(url, options, resolve, reject) {
    const { method = 'GET', headers, body } = options;
    Object.assign(this, { url, options, method, headers, body });
    this.#resolve = resolve;
    this.#reject = reject;
  }

  get packet() {
    return JSON.parse(this.body);
  }

  async answer(status, type = 'application/json') {
    const headers = { 'Content-Type': type };
    this.#resolve(new Response(status === 204 ? null : '', { status, headers }));
    await flush();
  }

  async fail() {
    this.#reject(new TypeError('Failed to fetch'));
    await flush();
  }

  /** Begins a stream of events. */
  async open() {
    const body = new ReadableStream({ start: (stream) => (this.#stream = stream) });
    const headers = { 'Content-Type': 'text/event-stream' };
    this.#resolve(new Response(body, { headers }));
    await this.write('retry: 1000\n\n');
  }

  async write(text) {
    this.#stream.enqueue(typeof text === 'string' ? encoder.encode(text) : text);
    await flush();
  }

  say(packet) {
    return this.write(`data: ${JSON.stringify(packet)}\n\n`);
  }

  next() {
    return this.say({ opcode: 'next', fyi: '' });
  }

  /** The connection breaks, or ends. */
  async end(isBroken = true) {
    if (isBroken) this.#stream.error(new TypeError('network error'));
    else this.#stream.close();
    await flush();
    await flush();
  }

  abort() {
    this.isAborted = true;
    this.#reject(new DOMException('aborted', 'AbortError'));
    try {
      this.#stream?.error(new DOMException('aborted', 'AbortError'));
    } catch {
      // it has ended
    }
  }
}
