// What the package offers. tests/clients-js/classic.mjs makes websock.js of it, for <script>.
export { Websock } from './src/client.mjs';
export { WebsockError } from './src/errors.mjs';
export { socketWebClient } from './src/legacy.mjs';
