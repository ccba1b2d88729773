/** What went wrong: `code` for programs, `message` for people, `packet` if one is concerned. */
export class WebsockError extends Error {
  constructor(code, message, packet) {
    super(message);
    Object.assign(this, { name: 'WebsockError', code, packet });
  }
}

export const CLOSED = 'this client is closed';
export const SIGNED_OUT = 'nobody is signed in: call signIn() behind a login';
export const IN_DOUBT = 'The connection broke: the server may have handled the message or not';
export const SCHEME_HINT = 'An https page needs wss://.';
export const OTHER_HINT = 'Is this port another program, or another WebSocket server?';
export const UNREACHABLE_HINT =
  `Is the server running, are host and port right? ${SCHEME_HINT} In the Network tab, 403 means ` +
  'that allowedOrigins lacks this page, 400 or 404 another server.';

/** What to do about a Content-Security-Policy that forbids `url`. */
export function policyHint(url) {
  return `The page's Content-Security-Policy needs ${new URL(url).origin} in connect-src.`;
}

/** Why there is a stream of events instead of a WebSocket. */
export function blockedHint(url) {
  return (
    `WebSockets to ${url} do not get through, HTTP does: it goes on by server-sent events. ` +
    'Does a proxy on the way pass on Upgrade and Connection?'
  );
}
