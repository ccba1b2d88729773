// A WebSocket of which the test is the other end.

const flush = () => new Promise(setImmediate);

/** A class of its own for each test; `all` are the sockets made of it, `last` the newest. */
export function fakeWebSocket() {
  return class FakeSocket {
    static all = [];
    static get last() {
      return this.all.at(-1);
    }

    sent = [];
    bufferedAmount = 0;
    isClosed = false;

    constructor(url) {
      this.url = url;
      this.constructor.all.push(this);
    }

    send(text) {
      this.sent.push(text);
    }

    close() {
      this.isClosed = true;
    }

    /** What was sent, parsed, without the ids. */
    get packets() {
      return this.sent.map((text) => {
        const { once, ...packet } = JSON.parse(text);
        return packet;
      });
    }

    async open(uuid = 'u1') {
      this.onopen({});
      await this.say({ opcode: 'ready', uuid });
    }

    async say(packet) {
      this.onmessage?.({ data: JSON.stringify(packet) });
      await flush();
    }

    next() {
      return this.say({ opcode: 'next', fyi: '' });
    }

    async end(code = 1006, reason = '') {
      this.onerror?.({});
      this.onclose?.({ code, reason });
      await flush();
    }
  };
}

/**
 * Replaces setTimeout, clearTimeout and Date.now until the end of the test. Call the result with
 * milliseconds to let them pass, and with them the timers, in order.
 */
export function fakeClock(t) {
  const timers = new Map();
  let now = 1e12;
  let lastId = 0;
  const due = (until) => [...timers].filter(([, timer]) => timer.at <= until);
  const runFirst = (ready) => {
    const [id, { at, then }] = ready.reduce((a, b) => (b[1].at < a[1].at ? b : a));
    timers.delete(id);
    now = at;
    then();
  };
  const replace = (object, name, fake) => {
    const original = object[name];
    object[name] = fake;
    t.after(() => (object[name] = original));
  };
  replace(Date, 'now', () => now);
  replace(globalThis, 'clearTimeout', (id) => timers.delete(id));
  replace(globalThis, 'setTimeout', (then, ms) => {
    timers.set(++lastId, { at: now + ms, then });
    return lastId;
  });
  return async (ms) => {
    const until = now + ms;
    for (let ready; (ready = due(until)).length; ) runFirst(ready);
    now = until;
    await flush();
  };
}

/** Collects the events of `client`, each as [type, event]. */
export function record(client, ...types) {
  const events = [];
  for (const type of types) client.addEventListener(type, (event) => events.push([type, event]));
  return events;
}

/** Browsers have these events on window and document; Node has neither. */
export function fakePage(t) {
  const page = Object.assign(new EventTarget(), { hidden: false });
  const window = new EventTarget();
  globalThis.document = page;
  globalThis.addEventListener = window.addEventListener.bind(window);
  t.after(() => {
    delete globalThis.document;
    delete globalThis.addEventListener;
  });
  return { page, window };
}
