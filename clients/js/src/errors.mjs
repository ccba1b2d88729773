/** What went wrong: `code` for programs, `message` for people, `packet` if one is concerned. */
export class WebsockError extends Error {
  constructor(code, message, packet) {
    super(message);
    Object.assign(this, { name: 'WebsockError', code, packet });
  }
}

export const CLOSED = 'this client has been closed';
export const IN_DOUBT = 'The connection broke: the server may have handled the message or not';
export const SCHEME_HINT = 'An https page needs wss://, an http page may use ws://.';
export const OTHER_HINT = 'Is this port another program, or another WebSocket server?';
export const UNREACHABLE_HINT =
  `Is the server running, are host and port right? ${SCHEME_HINT} Look in the Network tab: ` +
  '403 means that allowedOrigins lacks this page; 400 or 404, that another server answered.';

/** What to do about a Content-Security-Policy that forbids `url`. */
export function policyHint(url) {
  return `The page's Content-Security-Policy must have ${new URL(url).origin} in its connect-src.`;
}
