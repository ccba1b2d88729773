// The types of lib "dom", "webworker" or @types/node where they are there, else the little of them
// that is needed, so that these types compile everywhere.

/** What all events have. */
export type WebsockEvent = typeof globalThis extends { Event: { prototype: infer Known } }
  ? Known
  : { readonly type: string };

/** A signal that a caller gives up by, of an `AbortController`. */
export type Signal = typeof globalThis extends { AbortSignal: { prototype: infer Known } }
  ? Known
  : { readonly aborted: boolean; readonly reason: any };

/** An address that has been taken apart. */
export type Address = typeof globalThis extends { URL: { prototype: infer Known } }
  ? Known
  : { readonly href: string };

/** The class that {@link Websock} extends. */
declare const Base: typeof globalThis extends {
  EventTarget: infer Known extends new () => object;
}
  ? Known
  : new () => { dispatchEvent(event: WebsockEvent): boolean };

/** What is called when an event happens. */
export type Listener<Happened> =
  | ((event: Happened) => unknown)
  | { handleEvent: (event: Happened) => unknown };

export interface ListenOptions {
  capture?: boolean;
  passive?: boolean;
  /** Whether it is called for the first event only. */
  once?: boolean;
  /** Removes the listener. */
  signal?: Signal;
}

/** A JSON object of the dialogue. Other keys are passed on unchanged. */
export interface Packet {
  opcode: string;
  message?: unknown;
  uuid?: string;
  ident?: string | number;
  user?: string | number;
  /** Id by which a receiver recognises a second copy. */
  once?: string;
  [key: string]: unknown;
}

export type WebsockErrorCode =
  /** The address cannot be used, or the browser refuses it. */
  | 'address'
  /** Nothing, or no WebSocket server, answered there. */
  | 'unreachable'
  /** What answered does not speak the dialogue. */
  | 'dialogue'
  /** The server refused or ended the connection and said why. */
  | 'refused'
  /** Not sent: nobody is signed in. */
  | 'unauthorized'
  /** The server does not let this page send such packets: `webSends`. */
  | 'forbidden'
  /** Not sent: no packet, or text that is not Unicode. */
  | 'invalid'
  /** Not sent: the outbox is full. */
  | 'full'
  /** Not sent: the server takes no message that long. */
  | 'too-long'
  /** The connection broke before the answer; the server may have handled it or not. */
  | 'in-doubt'
  /** Not sent: the client has been closed. */
  | 'closed';

export class WebsockError extends Error {
  readonly name: 'WebsockError';
  readonly code: WebsockErrorCode;
  /** The packet that was not delivered, if one is concerned. */
  readonly packet?: Packet;
}

/**
 * `waiting` for the next attempt; `away` while the page is frozen or in the back/forward cache;
 * `unauthorized` until somebody signs in.
 */
export type State =
  | 'connecting'
  | 'open'
  | 'waiting'
  | 'away'
  | 'unauthorized'
  | 'closing'
  | 'closed';

/** What a server with an `authKey` lets in by. */
export type Token = string | (() => string | Promise<string>);

export interface Options {
  /** Messages sent ahead of their `next`, at least 1. Default 16; PHP servers need 1. */
  inFlight?: number;
  /** Whether broadcast, feedback and echo packets in doubt are sent again. Default true. */
  resend?: boolean;
  /** Characters that may wait; one message may be longer. Default 8,388,608. */
  outboxLimit?: number;
  /** The first delay is random between 0 and this, in ms; the limit then doubles. Default 1000. */
  firstDelay?: number;
  /** Upper end of all delays, in ms. Default 30,000. */
  maxDelay?: number;
  /** From the attempt to the server's `ready`, in ms. Default 10,000. */
  connectTimeout?: number;
  /** Silence, in ms, after which the server is asked to answer. Default 25,000; 0: never. */
  heartbeat?: number;
  /** Silence, while an answer is due, that gives the connection up, in ms. Default 20,000. */
  timeout?: number;
  /** Whether a closing is for good. Default: 1000, 1002, 1003, 1007, 1010 and an unknown path. */
  isFinal?: (code: number, reason: string) => boolean;
  /** Where warnings go. Default `console.warn`. */
  log?: (text: string) => void;
  /**
   * Whether the server tells who is signed in, and what it does not allow (`?user=1`). Default
   * true; PHP servers need false.
   */
  user?: boolean;
  /**
   * Whether the server keeps what this page misses while it is away (`?resume=1`). Default: as
   * `user`.
   */
  resume?: boolean;
  /**
   * The cursor that `GET /position` gave while the page was rendered, or another client's
   * {@link Websock.cursor}: what came to the user and to all since then follows `ready`.
   */
  since?: string | null;
  /** Signs in (`?auth=1`); a function is called for each connection. */
  token?: Token;
  /** A WebSocket class, where the platform has none. */
  WebSocket?: new (url: string) => any;
  /**
   * Whether server-sent events are used where WebSockets do not get through. Default: as `user`; not
   * with a `token`, nor on a path of an application's own.
   */
  sse?: boolean;
  /** What that is done by. Default: the platform's, but none beside a `WebSocket` given here. */
  fetch?: (url: string, init: any) => Promise<any>;
  /** Closes the client at once. */
  signal?: Signal;
}

export interface SendOptions {
  /**
   * Gives the message up. One that waits is not sent; one that has been sent may arrive all the
   * same, but is not repeated.
   */
  signal?: Signal;
}

export type Target =
  | string
  | { uuid: string }
  | { ident: string | number }
  | { user: string | number };

/** What a connection is made of: server-sent events where WebSockets do not get through. */
export type Transport = 'websocket' | 'sse';

/** Why something is missing. Servers to come may know more reasons. */
export type GapReason =
  /** The server was restarted without writing down what it had kept. */
  | 'restart'
  /** More was missed than is kept: `replaySize`, `replayMemory`. */
  | 'overflow'
  /** The page was away for longer than `replayTime`. */
  | 'expired'
  /** Another server did not pass on everything. */
  | 'backplane'
  /** The server does not know this tab, or somebody else is signed in now. */
  | 'unknown'
  /** WebSockets no longer get through; over server-sent events the tab has another uuid. */
  | 'transport'
  /** Another connection has resumed this tab. */
  | 'taken-over'
  /** The server keeps nothing, or no longer. */
  | 'unsupported'
  | (string & {});

export interface Events {
  /** Before `ready`: the connection is one of another kind than the last one. */
  transport: WebsockEvent & { readonly transport: Transport };
  /** An attempt begins. */
  connecting: WebsockEvent;
  /**
   * The connection is there. The uuid is that of before where the tab has been resumed, else a new
   * one.
   */
  ready: WebsockEvent & {
    readonly uuid: string;
    readonly user: string | null;
    readonly packet: Packet;
  };
  /** Behind `ready`: nothing was lost while away; what was missed, so many messages, follows. */
  resumed: WebsockEvent & { readonly replayed: number };
  /**
   * Something is missing and will not come: fetch anew what the page shows. It is behind `ready`, or
   * comes at any time where several servers work together.
   */
  gap: WebsockEvent & { readonly reason: GapReason };
  /** A packet, whatever its opcode, but not those between client and server alone. */
  message: WebsockEvent & { readonly packet: Packet };
  broadcast: WebsockEvent & { readonly packet: Packet };
  feedback: WebsockEvent & { readonly packet: Packet };
  echo: WebsockEvent & { readonly packet: Packet };
  /**
   * A connection or an attempt has ended. If not for good, the next attempt is in `delay` ms, which
   * a server that restarts (1012) has chosen; after `page left` (1001), when the page is there again; after 4401, which has an infinite `delay`, when
   * somebody has signed in.
   */
  close: WebsockEvent & {
    readonly code: number;
    readonly reason: string;
    readonly isFinal: boolean;
    readonly delay: number;
  };
  /**
   * Nobody is signed in, or no longer (4401). It does not come back by itself, but when the page is
   * shown again, and by {@link Websock.signIn}.
   */
  unauthorized: WebsockEvent & { readonly reason: string };
  /** What a rejected promise says, and what is wrong with the connection. */
  error: WebsockEvent & { readonly error: WebsockError };
}

/**
 * A connection to a websock server that comes back by itself.
 *
 * @throws {WebsockError} `address`, if `url` is no address
 * @throws {TypeError} if an option is unknown, or no WebSocket class is there
 */
export class Websock extends Base {
  /** @param url ws: or wss:, also http(s):, tcp: and ssl:, or a path on the page's own server */
  constructor(url: string | Address, options?: Options);
  /** This tab's name at the server, also while it is away and can resume; else null. */
  readonly uuid: string | null;
  /** The position of the last message that has come, for `since`; null if the server tells none. */
  readonly cursor: string | null;
  /** As whom this connection is signed in; null if nobody is, or while there is none. */
  readonly user: string | null;
  readonly state: State;
  /** Of the connection, or of the attempt at one. */
  readonly transport: Transport;
  /**
   * Sends a packet, now or when connected, in order. Resolves when the server has handled it.
   * Rejects with a {@link WebsockError}, or with the signal's reason. Needs no `catch`: a failure
   * is an `error` event as well.
   */
  send(packet: Packet, options?: SendOptions): Promise<void>;
  /** To all web clients but this one. */
  broadcast(message: unknown, options?: SendOptions): Promise<void>;
  /** To one client, by uuid or ident, or to all tabs of a user. Resolves also if nobody has it. */
  feedback(message: unknown, to: Target, options?: SendOptions): Promise<void>;
  /** To this client, as an `echo` event. */
  echo(message: unknown, options?: SendOptions): Promise<void>;
  /**
   * Connects anew behind a login or a logout, as whoever is signed in now; where `token` is given,
   * by that one from now on.
   */
  signIn(token?: Token): void;
  /** Sends what waits, says goodbye and does not come back. Resolves when closed. */
  quit(): Promise<void>;
  addEventListener<Type extends keyof Events>(
    type: Type,
    listener: Listener<Events[Type]> | null,
    options?: boolean | ListenOptions,
  ): void;
  addEventListener(
    type: string,
    listener: Listener<WebsockEvent> | null,
    options?: boolean | ListenOptions,
  ): void;
  removeEventListener<Type extends keyof Events>(
    type: Type,
    listener: Listener<Events[Type]> | null,
    options?: boolean | { capture?: boolean },
  ): void;
  removeEventListener(
    type: string,
    listener: Listener<WebsockEvent> | null,
    options?: boolean | { capture?: boolean },
  ): void;
}

type Callback = (packet: any) => unknown;

/** What the pages of phpWebSocketServer call. */
export interface SocketWebClient {
  /** Connects, and from then on comes back by itself. */
  init(): void;
  sendMsg(packet: Packet): void;
  sendAsync(packet: Packet): Promise<void>;
  uuid(): string | null;
  quit(): void;
  isOpen(): boolean;
  broadcast(message: unknown): void;
  feedback(message: unknown, uuid: string): void;
  echo(message: unknown): void;
  callbacks: { status: Callback; ready: Callback; readmessage: Callback; close: Callback };
  /** @param type status, ready, readMessage or close, in any case */
  setCallback(type: string, callback: Callback): void;
  setCallbackStatus(callback: (text: string) => unknown): void;
  setCallbackReady(callback: Callback): void;
  setCallbackReadMessage(callback: Callback): void;
  setCallbackClose(callback: () => unknown): void;
}

/** The call of the deployed pages; `app` is the path, such as `/web`. */
export function socketWebClient(server: string, app: string): SocketWebClient;
export function socketWebClient(
  server: string,
  port: number | string,
  app: string,
): SocketWebClient;

export {};
