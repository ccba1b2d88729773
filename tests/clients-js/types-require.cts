// Compiled only: the package's CommonJS file has types, too.
import websock = require('../../clients/js/websock.cjs');

const client: websock.Websock = new websock.Websock('/web');
client.addEventListener('ready', ({ uuid }) => uuid.length);
