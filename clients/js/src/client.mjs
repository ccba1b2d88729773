/**
 * Client of a websock server for browsers and Node: comes back by itself, and answers by promises.
 *
 * The server greets with `ready` and answers each message with one `next`, in order. So when a
 * connection ends, it is known which messages have no answer; they are sent again on the next one.
 * They carry an id in `once`, by which this client, as a receiver, drops a second copy.
 *
 * What others send while this page is away, the server keeps for it (`?resume=1`). It numbers its
 * messages by a `cursor`; a new connection begins with `resume`, by which it becomes the old tab:
 * same uuid, and what has been missed follows. What cannot be had is a `gap`. All of this is kept
 * in memory alone: a page that is loaded anew, or is another tab's copy, is a new tab.
 */

import {
  CLOSED,
  IN_DOUBT,
  OTHER_HINT,
  SCHEME_HINT,
  SIGNED_OUT,
  UNREACHABLE_HINT,
  WebsockError,
  blockedHint,
  policyHint,
} from './errors.mjs';
import { EventSocket, hasEvents, offersEvents } from './sse.mjs';
import { hasLoneSurrogate, newId, schemeless, toUrl } from './text.mjs';

/** Another connection has resumed this tab. */
const TAKEN_OVER = 4409;

/** Closings that would repeat themselves. 1000 is the answer to `quit`. */
const FINAL_CODES = [1000, 1002, 1003, 1007, 1010];

/** Closings that nothing unanswered was handled before: its `next` would have come first. */
const UNHANDLED_CODES = [1001, 1009, 1012, 1013, 4401];

/** Ends of an open connection that need no explanation. */
const QUIET_CODES = [1000, 1001, 1005, 1006, 1009, 1012, 1013, TAKEN_OVER];

/** Nobody is signed in, or no longer. */
const UNAUTHORIZED = 4401;

/** Opcodes that the server passes on unchanged, so that `once` reaches the receivers. */
const FORWARDED = ['broadcast', 'feedback', 'echo'];

const DEFAULTS = {
  inFlight: 16, // messages sent ahead of their `next`
  resend: true, // messages in doubt are sent again
  outboxLimit: 8 << 20, // characters that may wait; a single message may be longer
  firstDelay: 1000, // ms: the first delay is random below it; the limit then doubles
  maxDelay: 30_000, // ms
  connectTimeout: 10_000, // ms until `ready`
  heartbeat: 25_000, // ms of silence until the server is asked for a sign of life; 0: never
  timeout: 20_000, // ms of silence while an answer is due
  isFinal: (code, reason) => FINAL_CODES.includes(code) || /^no resource/.test(reason),
  log: (text) => console.warn(text),
  user: true, // the server tells who is signed in, and what it does not allow (`?user=1`)
  resume: undefined, // what is missed is caught up with (`?resume=1`); as `user`
  since: undefined, // the cursor of /position when the page was rendered
  token: undefined, // a text or a function that returns it: the first message (`?auth=1`)
  WebSocket: undefined, // globalThis.WebSocket
  sse: undefined, // a stream of events where WebSockets do not get through; as `user`
  fetch: undefined, // for that: globalThis.fetch, but not beside a WebSocket of the page's own
  signal: undefined,
};

const MAX_BREAKS = 10; // a message is given up that so many connections broke on
const MAX_SEEN = 1000; // ids and cursors remembered
const STABLE_MS = 10_000; // a connection that lasted so long makes the delays begin anew
const MAX_AFTER = 3_600_000; // ms: the longest time that a server may ask to stay away
const MAX_BLOCKED = 2; // WebSockets that fail in a row where HTTP works
const RETRY_MS = 60_000; // until a WebSocket is tried again beside a stream of events; then it doubles
const MAX_RETRY_MS = 16 * RETRY_MS;
const RESTART_MS = 60_000; // a server that restarts may be missing for so long

export class Websock extends EventTarget {
  #address;
  #url; // with what is asked for in its query
  #options;
  #state = 'connecting';
  #socket = null;
  #uuid = null;
  #user = null;
  #ticket; // by which it comes back without being asked who it is
  #hasHeard = false; // of the connection that is attempted
  #told = 'websocket'; // the transport
  #isQuiet = false; // nobody is signed in, and the page knows
  #refusal = ''; // the error in the server's `close` packet
  #outbox = [];
  #outboxLength = 0;
  #inFlight = []; // sent; `next` answers the first one
  #timer; // the only one: each state waits for one thing
  #buffered = 0; // socket.bufferedAmount when the timer was set
  #readyAt = 0;
  #attempt = 0;
  #transport = 'websocket';
  #blocked = 0; // WebSockets, in a row, that have failed where HTTP works
  #retryMs = RETRY_MS;
  #retryAt = 0; // no WebSocket is tried before
  #trial = null; // {socket, received}: a WebSocket beside a stream of events
  #trialTimer;
  #restart; // the server restarts: when to come back, and until when nobody wonders where it is
  #tab = null; // {uuid, secret}: what a new connection becomes
  #cursor; // of the last message that has come
  #isNumbered = false; // the server numbers messages for this connection
  #resuming = null; // {ready, early, isAnswered}: `resume` has been sent
  #loss; // why something has been lost, to be told when there is a connection
  #seen = new Set();
  #passed = new Set(); // cursors
  #logged = new Set();
  #end = new AbortController();

  constructor(url, options = {}) {
    super();
    const unknown = Object.keys(options).find((name) => !Object.hasOwn(DEFAULTS, name));
    if (unknown) throw new TypeError(`Websock has no option "${unknown}"`);
    this.#options = { ...DEFAULTS, ...options };
    this.#options.WebSocket ??= globalThis.WebSocket;
    this.#options.resume ??= this.#options.user;
    this.#options.sse ??= this.#options.user;
    if (!options.WebSocket) this.#options.fetch ??= globalThis.fetch?.bind(globalThis);
    this.#cursor = this.#options.resume ? (this.#options.since ?? undefined) : undefined;
    if (!this.#options.WebSocket) {
      throw new TypeError('No WebSocket here: use Node 22, or pass {WebSocket} of npm\'s "ws"');
    }
    if (!(this.#options.inFlight >= 1)) throw new TypeError('inFlight is at least 1');
    this.#address = toUrl(url);
    this.#connect();
    this.#watch(options.signal);
  }

  /** This tab's name at the server, also while it is away and can resume; else null. */
  get uuid() {
    return this.#uuid ?? this.#tab?.uuid ?? null;
  }

  /** The position of the last message that has come: `since` for a page that is loaded anew. */
  get cursor() {
    return this.#cursor ?? null;
  }

  /** `websocket`, or `sse` where WebSockets do not get through. */
  get transport() {
    return this.#transport;
  }

  /** As whom this connection is signed in; null if nobody is, or while there is none. */
  get user() {
    return this.#user;
  }

  /**
   * `connecting`, `open`, `waiting` (for the next attempt), `away`, `unauthorized` (nobody is signed
   * in), `closing` or `closed`.
   */
  get state() {
    return this.#state;
  }

  /** Sends a packet. Resolves when the server has handled it. */
  send(packet, { signal } = {}) {
    const message = { packet, breaks: 0 };
    const promise = new Promise((resolve, reject) => Object.assign(message, { resolve, reject }));
    const abort = () => this.#abandon(message, signal.reason);
    // Nobody has to wait for it: a failure is an event as well.
    promise.catch(() => {}).then(() => signal?.removeEventListener('abort', abort));
    if (signal?.aborted) message.reject(signal.reason);
    else this.#admit(message);
    signal?.addEventListener('abort', abort);
    return promise;
  }

  /** To all web clients but this one. */
  broadcast(message, options) {
    return this.send({ opcode: 'broadcast', message }, options);
  }

  /** To one client: `to` is its uuid, `{uuid}` or `{ident}`; or to all tabs of a `{user}`. */
  feedback(message, to, options) {
    const target = typeof to === 'object' ? to : { uuid: to };
    return this.send({ opcode: 'feedback', ...target, message }, options);
  }

  /** To this client, as an `echo` event. */
  echo(message, options) {
    return this.send({ opcode: 'echo', message }, options);
  }

  /** Connects anew behind a login or a logout, as whoever is signed in now; with another token. */
  signIn(token = this.#options.token) {
    const before = this.#state;
    this.#options.token = token;
    this.#isQuiet = false;
    this.#ticket = undefined;
    if (before === 'away' || before === 'closing' || before === 'closed') return;
    this.#release();
    this.#attempt = 0;
    this.#disconnect('waiting', 1006);
    if (before === 'open') {
      this.#emit('close', { code: 1001, reason: 'signing in', isFinal: false, delay: 0 });
    }
    this.#connect();
  }

  /** Sends what waits, says goodbye and does not come back. Resolves when closed. */
  quit() {
    const { signal } = this.#end;
    const closed = new Promise((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve());
    });
    if (this.#state === 'open') {
      this.#put(control('quit'));
      this.#state = 'closing';
    } else if (this.#state !== 'closing') {
      this.#abort();
    }
    return closed;
  }

  // ---- the outbox

  #admit(message) {
    try {
      Object.assign(message, this.#compose(message.packet));
    } catch ({ code = 'invalid', message: text }) {
      return this.#fail(message, code, text);
    }
    this.#put(message);
  }

  #compose(packet) {
    const refuse = (code, text) => {
      throw new WebsockError(code, `Not sent: ${text}`);
    };
    if (this.#state === 'closing' || this.#state === 'closed') refuse('closed', CLOSED);
    if (typeof packet?.opcode !== 'string') refuse('invalid', 'a packet has a text "opcode"');
    if (this.#state === 'unauthorized') refuse('unauthorized', SIGNED_OUT);
    const { opcode, uuid, ident, user } = packet;
    if (opcode === 'feedback' && ![uuid, ident, user].some((name) => name || name === 0)) {
      refuse('invalid', 'feedback needs a uuid or an ident, or a user');
    }
    const isRepeatable = this.#options.resend && FORWARDED.includes(packet.opcode);
    const sent = isRepeatable ? { once: newId(), ...packet } : packet;
    const text = JSON.stringify(sent);
    if (hasLoneSurrogate(text)) refuse('invalid', 'a text with half an emoji (lone surrogate)');
    if (this.#outbox.length && this.#outboxLength + text.length > this.#options.outboxLimit) {
      refuse('full', 'the outbox is full (outboxLimit)');
    }
    // It would come back if this page caught up with it under another uuid.
    if (opcode === 'broadcast' && isRepeatable) remember(this.#seen, sent.once);
    return { text, isRepeatable };
  }

  #put(message) {
    this.#outbox.push(message);
    this.#outboxLength += message.text.length;
    this.#pump();
  }

  #pump() {
    if (this.#state !== 'open' && this.#state !== 'closing') return;
    if (this.#trial?.received.length) return; // it is about to be another connection
    while (this.#outbox.length && this.#inFlight.length < this.#options.inFlight) {
      const message = this.#outbox.shift();
      this.#outboxLength -= message.text.length;
      this.#inFlight.push(message);
      this.#socket.send(message.text);
      if (this.#inFlight.length === 1) this.#listen();
    }
  }

  /** The caller no longer wants it. What has been sent cannot be taken back. */
  #abandon(message, reason) {
    const index = this.#outbox.indexOf(message);
    if (index >= 0) this.#outboxLength -= this.#outbox.splice(index, 1)[0].text.length;
    message.packet = undefined;
    message.reject(reason);
  }

  #fail(message, code, text) {
    const error = new WebsockError(code, text, message.packet);
    message.reject(error);
    this.#report(error);
  }

  /** What a connection has left unanswered goes back into the outbox, if that cannot do harm. */
  #settle(code) {
    const unanswered = this.#inFlight.splice(0);
    const tooLong = code === 1009 ? unanswered.shift() : undefined;
    if (tooLong?.packet) this.#fail(tooLong, 'too-long', 'Not sent: longer than maxMessageSize');
    const isInDoubt = !UNHANDLED_CODES.includes(code);
    const wanted = unanswered.filter((message) => message.packet);
    const again = wanted.filter((message, index) => {
      if (!isInDoubt) return true;
      message.isInDoubt = true;
      if (index === 0) message.breaks++; // those behind it are innocent
      if (message.isRepeatable && message.breaks < MAX_BREAKS) return true;
      this.#fail(message, 'in-doubt', IN_DOUBT);
    });
    this.#outbox.unshift(...again);
    for (const message of again) this.#outboxLength += message.text.length;
  }

  // ---- the connection

  #connect() {
    this.#state = 'connecting';
    this.#refusal = '';
    this.#hasHeard = false;
    this.#emit('connecting');
    this.#transport = this.#isSseDue() ? 'sse' : 'websocket';
    this.#url = toUrl(this.#address, this.#words());
    try {
      this.#use(this.#transport === 'sse' ? this.#openEvents() : this.#openSocket());
    } catch ({ message }) {
      return this.#refuse(`${message} ${SCHEME_HINT} ${policyHint(this.#url)}`);
    }
  }

  #openSocket() {
    return new this.#options.WebSocket(this.#url);
  }

  #use(socket) {
    const { token, connectTimeout } = this.#options;
    let isOpen = false;
    this.#socket = socket;
    socket.onopen = () => {
      isOpen = true;
      if (token !== undefined) this.#authenticate(token);
    };
    socket.onmessage = ({ data }) => this.#handleData(data);
    socket.onclose = ({ code, reason }) => this.#handleClose(code, reason, isOpen);
    socket.onerror = () => {}; // `close` follows
    this.#after(connectTimeout, () => this.#drop('no ready in time', isOpen));
  }

  /** What is asked for in the query. A server that does not know a word ignores it. */
  #words(hasSince = true) {
    const { user, resume, token } = this.#options;
    const isLater = hasSince && resume && !this.#tab && this.#cursor !== undefined;
    return [
      user && 'user=1',
      resume && 'resume=1',
      token !== undefined && 'auth=1',
      this.#ticket && `ticket=${encodeURIComponent(this.#ticket)}`,
      isLater && `since=${encodeURIComponent(this.#cursor)}`,
    ].filter(Boolean);
  }

  /** `ready` comes behind the token. */
  async #authenticate(token) {
    const socket = this.#socket;
    const isWanted = () => this.#socket === socket && this.#state === 'connecting';
    try {
      const current = typeof token === 'function' ? await token() : token;
      if (isWanted()) socket.send(JSON.stringify({ opcode: 'auth', token: current }));
    } catch ({ message }) {
      if (!isWanted()) return;
      this.#refusal = `no token: ${message}`;
      this.#drop('no token');
    }
  }

  #handleClose(code, reason, isOpen) {
    const before = this.#state;
    const cause = this.#refusal || reason;
    const error = this.#explain(code, cause, isOpen);
    if (this.#uuid && Date.now() - this.#readyAt > STABLE_MS) this.#attempt = 0;
    if (code === TAKEN_OVER) this.#forget('taken-over');
    this.#judge(code);
    this.#disconnect('waiting', code);
    if (before === 'closing') return this.#finish(code, cause);
    if (code === UNAUTHORIZED) return this.#signOut(cause);
    if (this.#options.isFinal(code, cause)) return this.#finish(code, cause, error);
    if (error) this.#report(error);
    const delay = this.#nextDelay();
    this.#after(delay, () => this.#connect());
    this.#emit('close', { code, reason: cause, isFinal: false, delay });
  }

  /** Random, so that those who have lost the same server do not come back at once. */
  #nextDelay() {
    const restart = this.#restart;
    if (restart && !restart.isObeyed && Date.now() < restart.until) {
      restart.isObeyed = true;
      this.#attempt = 0;
      return Math.max(restart.from - Date.now(), 0); // random as well: the server has chosen it
    }
    const { firstDelay, maxDelay } = this.#options;
    return Math.random() * Math.min(maxDelay, firstDelay * 2 ** this.#attempt++);
  }

  #disconnect(state, code) {
    this.#state = state;
    this.#socket = this.#uuid = this.#user = this.#resuming = null;
    this.#endTrial();
    this.#settle(code);
  }

  /** What was before this cannot be caught up with; whoever comes back is a new tab. */
  #forget(loss) {
    if (this.#tab) this.#loss = loss;
    this.#tab = null;
    this.#cursor = undefined;
  }

  /** What waits was said by who was there before, and must not come from who signs in next. */
  #signOut(reason) {
    clearTimeout(this.#timer);
    this.#state = 'unauthorized';
    this.#ticket = undefined;
    this.#forget();
    this.#giveUp('unauthorized', SIGNED_OUT);
    this.#emit('close', { code: UNAUTHORIZED, reason, isFinal: false, delay: Infinity });
    if (!this.#isQuiet) this.#emit('unauthorized', { reason });
    this.#isQuiet = true;
  }

  #giveUp(code, text) {
    for (const message of this.#outbox.splice(0)) {
      if (message.isInDoubt) this.#fail(message, 'in-doubt', IN_DOUBT);
      else if (message.packet) this.#fail(message, code, `Not sent: ${text}`);
    }
    this.#outboxLength = 0;
  }

  /**
   * The page is frozen or in the back/forward cache. It would read nothing, and whoever pushes to
   * it would be told that it is there.
   */
  #leave() {
    const before = this.#state;
    if (before === 'away' || before === 'unauthorized') return;
    if (before === 'closing') return this.#abort();
    this.#release();
    clearTimeout(this.#timer);
    this.#disconnect('away', 1006);
    if (before === 'waiting') return; // its `close` has been told
    this.#emit('close', { code: 1001, reason: 'page left', isFinal: false, delay: 0 });
  }

  /** The page is there again; somebody may have signed in meanwhile. */
  #return() {
    if (this.#state === 'away' || this.#state === 'unauthorized') this.#connect();
  }

  #finish(code, reason, error) {
    clearTimeout(this.#timer);
    this.#state = 'closed';
    this.#endTrial();
    this.#forget();
    if (error) this.#report(error);
    this.#giveUp('closed', CLOSED);
    this.#emit('close', { code, reason, isFinal: true, delay: 0 });
    this.#end.abort();
  }

  #explain(code, cause, isOpen) {
    if (code === UNAUTHORIZED) return undefined; // an event of its own tells
    if (this.#uuid ? !QUIET_CODES.includes(code) : this.#refusal) {
      return new WebsockError('refused', `Closed by ${this.#address}: ${code} ${cause}`);
    }
    if (this.#uuid || this.#resuming || this.#transport === 'sse') return undefined;
    if (!isOpen && Date.now() < this.#restart?.until) return undefined; // it said so
    return isOpen
      ? new WebsockError('dialogue', `No "ready" from ${this.#address}. ${OTHER_HINT}`)
      : new WebsockError('unreachable', `No WebSocket at ${this.#address}. ${UNREACHABLE_HINT}`);
  }

  /** Coming back would not help: the browser lets this page have no such connection. */
  #refuse(text) {
    this.#release();
    this.#finish(1006, '', new WebsockError('address', text));
  }

  /**
   * The page's policy has forbidden a request. Browsers tell which one by its URL, or by less of
   * it, such as the scheme; then it was ours if our socket has failed. Chromium tells no `close`.
   */
  #handleViolation({ blockedURI, disposition }) {
    if (this.#uuid || disposition !== 'enforce') return;
    const hasFailed = this.#socket && !(this.#socket.readyState < 2);
    const isNamed = schemeless(blockedURI) === schemeless(this.#url);
    if (!isNamed && !(hasFailed && this.#url.startsWith(blockedURI))) return;
    this.#refuse(policyHint(this.#url));
  }

  /** Lets go of a socket that may never tell its end. */
  #release() {
    if (!this.#socket) return;
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }

  #drop(reason, isOpen = true) {
    this.#release();
    this.#handleClose(1006, reason, isOpen);
  }

  #abort() {
    if (this.#state === 'closed') return;
    this.#release();
    this.#uuid = this.#user = null;
    this.#settle(1006);
    this.#finish(1000, '');
  }

  // ---- where WebSockets do not get through

  /** With a token of its own, a page has to send first, which a stream of events cannot. */
  get #canFallBack() {
    const { sse, fetch, token } = this.#options;
    return sse && fetch && token === undefined && hasEvents(this.#address);
  }

  #isSseDue() {
    const isBlocked = this.#blocked >= MAX_BLOCKED && Date.now() < this.#retryAt;
    return this.#canFallBack && isBlocked;
  }

  #openEvents() {
    // What came for the tab itself would be missing, and a gap is never filled in part.
    const cursor = this.#tab ? undefined : this.#cursor;
    return new EventSocket(this.#options.fetch, this.#address, this.#words(false), cursor);
  }

  /** An attempt has failed, or a connection has ended: does the way let WebSockets through? */
  async #judge(code) {
    if (this.#uuid || Date.now() < this.#restart?.until) return;
    const isSilent = !this.#hasHeard && (code === 1006 || code === 1005);
    if (this.#transport === 'sse') {
      if (isSilent) this.#blocked = MAX_BLOCKED - 1; // a WebSocket has its turn
      return;
    }
    if (!isSilent) this.#blocked = 0;
    if (!isSilent || !this.#canFallBack) return;
    const { fetch, connectTimeout } = this.#options;
    const signal = AbortSignal.any?.([this.#end.signal, AbortSignal.timeout(connectTimeout)]);
    if (!(await offersEvents(fetch, this.#address, this.#words(false), signal))) return;
    if (this.#uuid || ++this.#blocked < MAX_BLOCKED) return;
    this.#putOffRetry();
    if (this.#state === 'waiting') this.#connect();
  }

  #putOffRetry() {
    this.#retryAt = Date.now() + this.#retryMs;
    this.#retryMs = Math.min(2 * this.#retryMs, MAX_RETRY_MS);
  }

  #noteTransport() {
    const transport = this.#transport;
    const isSse = transport === 'sse';
    if (isSse) this.#awaitTrial();
    else [this.#blocked, this.#retryMs] = [0, RETRY_MS];
    if (this.#told === transport) return;
    this.#told = transport;
    if (isSse) this.#options.log(`websock: ${blockedHint(this.#address)}`);
    this.#emit('transport', { transport });
  }

  #awaitTrial() {
    clearTimeout(this.#trialTimer);
    const delay = Math.max(this.#retryAt - Date.now(), 0);
    this.#trialTimer = setTimeout(() => this.#tryWebSocket(), delay);
  }

  /** Beside the stream, which goes on if this fails. */
  #tryWebSocket() {
    if (this.#state !== 'open' || this.#transport !== 'sse' || this.#trial) return;
    clearTimeout(this.#trialTimer);
    this.#url = toUrl(this.#address, this.#words());
    const trial = { socket: null, received: [] };
    const fail = () => {
      if (this.#trial !== trial) return;
      this.#endTrial();
      this.#putOffRetry();
      this.#awaitTrial();
    };
    this.#trial = trial;
    this.#trialTimer = setTimeout(fail, this.#options.connectTimeout);
    try {
      trial.socket = this.#openSocket();
    } catch {
      return fail();
    }
    const { socket, received } = trial;
    socket.onerror = () => {}; // `close` follows
    socket.onclose = fail;
    socket.onmessage = ({ data }) => {
      if (!received.length && !data.startsWith('{"opcode":"ready"')) return;
      received.push(data);
      this.#moveToTrial();
    };
  }

  /** When nothing is under way; what both connections bring is dropped by its cursor. */
  #moveToTrial() {
    const trial = this.#trial;
    if (!trial?.received.length || this.#inFlight.length || this.#state !== 'open') return;
    this.#trial = null;
    this.#release();
    this.#uuid = this.#user = null;
    this.#state = 'connecting';
    this.#transport = 'websocket';
    this.#use(trial.socket);
    // Without cursors there is no telling what both have brought.
    const received = this.#isNumbered ? trial.received : trial.received.slice(0, 1);
    for (const data of received) this.#handleData(data);
  }

  #endTrial() {
    clearTimeout(this.#trialTimer);
    const trial = this.#trial;
    this.#trial = null;
    trial?.socket?.close();
  }

  // ---- what arrives

  #handleData(data) {
    let packet;
    try {
      packet = JSON.parse(data);
    } catch {
      const text = `What came from ${this.#address} is no JSON. ${OTHER_HINT}`;
      return this.#report(new WebsockError('dialogue', text));
    }
    this.#hasHeard = true;
    this.#handlePacket(packet);
    if (this.#state !== 'connecting') this.#listen();
    this.#pump();
  }

  #handlePacket(packet) {
    const opcode = packet?.opcode;
    if (opcode === 'ready') this.#handleReady(packet);
    else if (opcode === 'next') this.#handleNext();
    else if (opcode === 'restart' && Number.isFinite(packet.after)) this.#handleRestart(packet);
    else if (opcode === 'close') this.#refusal = String(packet.error ?? 'no reason given');
    else if (opcode === 'ticket') this.#ticket = packet.ticket;
    else if (opcode === 'resumed' && this.#resuming) this.#handleResumed(packet);
    else if (opcode === 'gap' && this.#isNumbered) this.#handleGap(packet);
    else if (this.#resuming) this.#resuming.early.push(packet);
    else this.#deliver(packet);
  }

  #handleReady(packet) {
    if (this.#state !== 'connecting' || this.#resuming) return;
    if (!this.#tab || typeof packet.resume !== 'string') return this.#handleOpen(packet);
    const request = { opcode: 'resume', ...this.#tab, cursor: this.#cursor };
    this.#resuming = { ready: packet, early: [], isAnswered: false };
    this.#socket.send(JSON.stringify(request));
    this.#after(this.#options.connectTimeout, () => this.#handleUnresumed());
  }

  #handleNext() {
    if (this.#resuming) this.#resuming.isAnswered = true;
    else this.#inFlight.shift()?.resolve();
    this.#moveToTrial();
  }

  /** A server that handles `resume` and does not tell how would do so again. */
  #handleUnresumed() {
    if (this.#resuming.isAnswered) this.#forget('unknown');
    this.#drop('not resumed in time');
  }

  /** This connection is the old tab; or it is not, and stays the new one that it was. */
  #handleResumed({ uuid, replayed, gap, cursor, resume }) {
    const { ready, early } = this.#resuming;
    this.#resuming = this.#tab = null;
    this.#cursor = cursor;
    this.#handleOpen({ ...ready, uuid, cursor, resume }, gap ?? undefined);
    if (!gap) this.#emit('resumed', { replayed });
    // What is kept is repeated.
    for (const packet of early) if (gap || !cursorOf(packet)) this.#deliver(packet);
    this.#cursor = cursor;
  }

  #handleOpen({ resume, send, ...packet }, loss) {
    const { uuid, user = null, cursor, ticket } = packet;
    this.#isNumbered = this.#options.resume && typeof cursor === 'string';
    const isUnknown = this.#tab || (this.#cursor !== undefined && !this.#isNumbered);
    const isSse = this.#transport === 'sse';
    const cause = isSse && this.#isNumbered ? 'transport' : 'unsupported';
    loss ??= this.#loss ?? (isUnknown ? cause : undefined);
    this.#loss = undefined;
    // What is asked for by `since` follows, with cursors of its own.
    const from = loss ? cursor : (this.#cursor ?? cursor);
    this.#cursor = this.#isNumbered ? from : undefined;
    this.#tab = this.#isNumbered && resume ? { uuid, secret: resume } : null;
    this.#state = 'open';
    this.#uuid = uuid;
    this.#user = user;
    this.#ticket = ticket;
    this.#isQuiet = false;
    this.#readyAt = Date.now();
    this.#restart = undefined;
    this.#logged.clear();
    this.#noteTransport();
    this.#emit('ready', { packet, uuid, user });
    if (loss) this.#emit('gap', { reason: loss });
  }

  /** The server says that something is missing; what comes from now on is behind the gap. */
  #handleGap({ gap, cursor }) {
    this.#cursor = cursor;
    this.#emit('gap', { reason: String(gap) });
  }

  /** The server is about to close, and says when to come back. */
  #handleRestart({ after }) {
    const from = Date.now() + Math.min(Math.max(after, 0), MAX_AFTER);
    this.#restart = { from, until: from + RESTART_MS, isObeyed: false };
  }

  #deliver(received) {
    const packet = this.#pass(received);
    if (packet === undefined) return;
    this.#emit('message', { packet });
    if (FORWARDED.includes(packet?.opcode)) this.#emit(packet.opcode, { packet });
    if (packet?.opcode === 'error') {
      this.#report(new WebsockError('forbidden', String(packet.error ?? 'no reason given'), packet));
    }
  }

  /** The packet as it was sent; nothing if it has been here before. */
  #pass(packet) {
    if (this.#isNumbered && cursorOf(packet)) {
      const { cursor, ...sent } = packet;
      packet = remember(this.#passed, cursor) ? sent : undefined;
      if (packet) this.#cursor = cursor;
    }
    const id = packet?.once;
    return typeof id !== 'string' || remember(this.#seen, id) ? packet : undefined;
  }

  // ---- time

  /** Something came, or the first message left: from now on the other end may be silent so long. */
  #listen() {
    const { heartbeat, timeout } = this.#options;
    this.#buffered = this.#socket.bufferedAmount;
    if (this.#inFlight.length || this.#state === 'closing') {
      this.#after(timeout, () => this.#handleSilence());
    } else if (heartbeat) {
      this.#after(heartbeat, () => this.#probe());
    } else {
      clearTimeout(this.#timer);
    }
  }

  #handleSilence() {
    const isSending = this.#socket.bufferedAmount < this.#buffered;
    if (isSending)
      this.#listen(); // a long message on a slow line
    else this.#drop('no answer in time');
  }

  /** Browsers do not show pings. An opcode that nobody knows is answered by `next` alone. */
  #probe() {
    if (this.#options.heartbeat && !this.#inFlight.length) this.#put(control('ping'));
  }

  #wake() {
    const isAskedToWait = this.#restart?.isObeyed && Date.now() < this.#restart.from;
    if (this.#state === 'waiting' && isAskedToWait) return;
    if (this.#state === 'waiting' || this.#state === 'unauthorized') this.#connect();
    else if (this.#state === 'open') this.#probe();
  }

  #watch(signal) {
    const page = globalThis.document; // Node and workers have none
    const on = (target, type, then) => target?.addEventListener?.(type, then, until);
    const until = { signal: this.#end.signal };
    if (signal?.aborted) this.#abort();
    on(signal, 'abort', () => this.#abort());
    on(globalThis, 'online', () => {
      this.#wake();
      this.#tryWebSocket(); // it may be another network
    });
    on(globalThis, 'securitypolicyviolation', (event) => this.#handleViolation(event));
    on(page, 'visibilitychange', () => page.hidden || this.#wake());
    // If not persisted it is unloaded: the browser closes the socket, after the page's last words.
    on(globalThis, 'pagehide', ({ persisted }) => persisted === false || this.#leave());
    // Not persisted, it is shown for the first time: nothing has happened yet.
    on(globalThis, 'pageshow', ({ persisted }) => persisted === false || this.#return());
    on(page, 'freeze', () => this.#leave());
    on(page, 'resume', () => this.#return());
  }

  #after(ms, then) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }

  // ---- what is told

  /** Events come after what caused them is done with, so that listeners may call anything. */
  #emit(type, fields) {
    queueMicrotask(() => this.dispatchEvent(Object.assign(new Event(type), fields)));
  }

  /** The log gets one line of each kind per connection. */
  #report(error) {
    if (!this.#logged.has(error.code)) this.#options.log(`websock: ${error.message}`);
    this.#logged.add(error.code);
    this.#emit('error', { error });
  }
}

/** The cursor that the server has given a packet. That of an echo is its sender's. */
function cursorOf(packet) {
  const { opcode, cursor } = packet ?? {};
  return typeof cursor === 'string' && opcode !== 'echo' ? cursor : undefined;
}

/** A message of our own, which nobody waits for and which is never repeated. */
function control(opcode) {
  return { text: `{"opcode":"${opcode}"}`, resolve() {} };
}

/** Whether it is new to the set, in which a thousand find room. */
function remember(set, text) {
  if (set.has(text)) return false;
  if (set.add(text).size > MAX_SEEN) set.delete(set.values().next().value);
  return true;
}
