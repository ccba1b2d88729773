import { WebsockError } from './errors.mjs';

/** An id that nobody else uses or guesses. */
export function newId() {
  return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(12))));
}

/** Whether there is half a surrogate pair: JSON.stringify escapes it, the server refuses it. */
export function hasLoneSurrogate(json) {
  return json.includes('\\ud') && /(^|[^\\])(\\\\)*\\ud[89a-f]/.test(json);
}

/**
 * What WebSocket takes, from that, from PHP's schemes, or from a path on the page's own server.
 * `words` are put into its query.
 */
export function toUrl(text, words = []) {
  const known = String(text).replace(/^tcp:/i, 'ws:').replace(/^ssl:/i, 'wss:');
  let url;
  try {
    url = new URL(known, globalThis.location?.href);
  } catch {
    // no address at all; the answer is below
  }
  if (!/^(ws|http)s?:$/.test(url?.protocol)) {
    throw new WebsockError('address', `"${text}" is no address: write ws://HOST:PORT/web`);
  }
  const fields = url.search.slice(1).split('&');
  url.search = [...fields, ...words.filter((word) => !fields.includes(word))]
    .filter(Boolean)
    .join('&');
  url.hash = '';
  return url.href.replace(/^http/, 'ws');
}

/** What follows the scheme: reports name the request for a WebSocket by ws or http, or upgraded. */
export function schemeless(url) {
  return url.replace(/^\w+:/, '');
}
