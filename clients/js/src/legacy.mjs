import { Websock } from './client.mjs';
import { WebsockError } from './errors.mjs';

/**
 * The client of phpWebSocketServer's pages, with its call names and status texts. Without a third
 * argument, `server` holds the port: socketWebClient('ws://localhost:8096', '/web').
 */
export function socketWebClient(server, port, app) {
  const url = app === undefined ? `${server}${port ?? ''}` : `${server}:${port}${app}`;
  const callbacks = { status() {}, ready() {}, readmessage() {}, close() {} };
  let client = null;

  function init() {
    // It is under way; or nobody is signed in, and to ask at once, over and over, would not help.
    if (['connecting', 'waiting', 'away', 'unauthorized'].includes(client?.state)) return;
    client?.quit();
    let mine = null;
    try {
      mine = client = new Websock(url, { inFlight: 1, user: false });
    } catch ({ message }) {
      return callbacks.status(message);
    }
    const on = (type, then) => mine.addEventListener(type, (e) => client === mine && then(e));
    on('connecting', () => callbacks.status('Try to connect ...'));
    on('ready', () => callbacks.status('Connected'));
    on('ready', ({ packet }) => callbacks.ready(packet));
    on('message', ({ packet }) => callbacks.readmessage(packet));
    on('error', ({ error }) => callbacks.status(statusOf(error)));
    on('unauthorized', ({ reason }) => callbacks.status(`Server closed connection. ${reason}`));
    on('close', () => callbacks.close());
  }

  function setCallback(type, then) {
    const name = String(type).toLowerCase();
    if (Object.hasOwn(callbacks, name) && typeof then === 'function') callbacks[name] = then;
    else console.warn('websock: callbacks are status, ready, readMessage and close, all functions');
  }

  const sendMsg = (packet) => void client?.send(packet);
  return {
    init,
    sendMsg,
    sendAsync: async (packet) => {
      if (!client) throw new WebsockError('closed', 'Not sent: call init() first');
      return client.send(packet);
    },
    uuid: () => client?.uuid ?? null,
    quit: () => void client?.quit(),
    isOpen: () => client?.state === 'open',
    broadcast: (message) => sendMsg({ opcode: 'broadcast', message }),
    feedback: (message, uuid) => sendMsg({ opcode: 'feedback', message, uuid, from: client?.uuid }),
    echo: (message) => sendMsg({ opcode: 'echo', message }),
    callbacks,
    setCallback,
    setCallbackReady: (then) => setCallback('ready', then),
    setCallbackReadMessage: (then) => setCallback('readMessage', then),
    setCallbackStatus: (then) => setCallback('status', then),
    setCallbackClose: (then) => setCallback('close', then),
  };
}

function statusOf({ code, message }) {
  if (code === 'unreachable') return `Cannot connect to specified server. ${message}`;
  return code === 'refused' ? `Server closed connection. ${message}` : message;
}
