import { toUrl } from './text.mjs';

const MEDIA_TYPE = 'text/event-stream';

/** Bodies below may be sent while the page is unloaded: browsers bound what is then under way. */
const LAST_WORDS = 16_384;

/** What every request has: cookies as for a WebSocket, and no answer but the server's. */
const REQUEST = { credentials: 'include', cache: 'no-store', redirect: 'error' };

/** The stream of events beside a WebSocket's address: wss://h/a/web?b is https://h/a/sse?b. */
function eventsUrl(address, words) {
  const socket = toUrl(address, words).replace(/^ws/, 'http');
  return new URL(`sse${new URL(socket).search}`, socket).href;
}

/** Whether an address is one that the server has a stream of events beside. */
export function hasEvents(address) {
  return /\/(web)?$/.test(new URL(address).pathname);
}

/** Whether the server would let this page have a stream of events. */
export async function offersEvents(fetch, address, words, signal) {
  const request = { ...REQUEST, method: 'HEAD', headers: { Accept: MEDIA_TYPE }, signal };
  try {
    return isStream(await fetch(eventsUrl(address, words), request));
  } catch {
    return false;
  }
}

function isStream({ ok, headers }) {
  return ok && headers.get('Content-Type')?.startsWith(MEDIA_TYPE);
}

/**
 * A stream of events (protocol.md 9.9) in the form of a WebSocket: what is sent goes by requests of
 * its own, one after the other. By `fetch`, since EventSource tells no status, is not in Node, and
 * comes back by itself.
 */
export class EventSocket {
  bufferedAmount = 0; // characters
  #fetch;
  #url;
  #sender; // {uuid, secret}: by which the server knows who sends
  #queue = [];
  #unanswered = 0; // messages that the server has and has not said `next` to
  #isTooLong = false; // the first message that waits
  #end = new AbortController();

  /** `cursor`: what came behind it is caught up with. */
  constructor(fetch, address, words, cursor) {
    this.#fetch = fetch;
    this.#url = eventsUrl(address, words);
    this.#run(cursor);
  }

  send(text) {
    this.bufferedAmount += text.length;
    if (this.#queue.push(text) === 1) this.#post();
  }

  close() {
    this.#end.abort();
  }

  #request(url, options) {
    return this.#fetch(url, { ...REQUEST, ...options, signal: this.#end.signal });
  }

  async #run(cursor) {
    const headers = { Accept: MEDIA_TYPE };
    if (cursor !== undefined) headers['Last-Event-ID'] = cursor;
    try {
      const response = await this.#request(this.#url, { headers });
      if (response.status === 401) return this.#finish(4401, 'not signed in');
      if (isStream(response)) await this.#read(response.body.getReader());
    } catch {
      // it has broken; what matters is below
    }
    this.#finish(1006, '');
  }

  /** One call tells of the end, whatever happens behind it. */
  #finish(code, reason) {
    if (this.#end.signal.aborted) return;
    this.#end.abort();
    this.onclose?.({ code, reason });
  }

  async #read(reader) {
    this.onopen?.({});
    const decoder = new TextDecoder();
    let event = {};
    let line = []; // the parts of one that has not ended
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const [first, ...rest] = decoder.decode(value, { stream: true }).split('\n');
      line.push(first);
      for (const next of rest) {
        event = this.#handleLine(line.join(''), event);
        line = [next];
      }
    }
  }

  /** The event that goes on behind it. */
  #handleLine(line, event) {
    if (!line) return this.#handleEvent(event);
    const [, name, text] = /^([^:]*):? ?(.*?)\r?$/s.exec(line);
    if (name === 'data') event.data = 'data' in event ? `${event.data}\n${text}` : text;
    else if (name === 'event') event.type = text;
    return event;
  }

  #handleEvent({ type, data }) {
    if (type === 'close') {
      const { code, reason } = JSON.parse(data);
      this.#finish(code, reason);
    } else if (type === undefined && data !== undefined && !this.#end.signal.aborted) {
      this.#learn(data);
      this.onmessage?.({ data });
      if (this.#isTooLong && this.#unanswered === 0) this.#finish(1009, '');
    }
    return {};
  }

  #learn(data) {
    if (data.startsWith('{"opcode":"next"')) this.#unanswered--;
    if (this.#sender) return;
    const { opcode, uuid, send } = JSON.parse(data) ?? {};
    if (opcode === 'ready') this.#sender = { uuid, secret: send };
  }

  async #post() {
    const url = new URL('send', this.#url).href;
    const headers = { 'Content-Type': 'application/json' };
    while (this.#queue.length && !this.#end.signal.aborted) {
      const [message] = this.#queue;
      const body = JSON.stringify({ ...this.#sender, message });
      const keepalive = body.length < LAST_WORDS;
      try {
        const request = { method: 'POST', headers, body, keepalive };
        const { ok, status } = await this.#request(url, request);
        if (status === 413) return this.#refuse();
        if (!ok) return this.#finish(1006, '');
      } catch {
        return this.#finish(1006, '');
      }
      this.#unanswered++;
      this.#queue.shift();
      this.bufferedAmount -= message.length;
    }
  }

  /** Too long, which is told when those before it have their answers. */
  #refuse() {
    this.#isTooLong = true;
    if (this.#unanswered === 0) this.#finish(1009, '');
  }
}
