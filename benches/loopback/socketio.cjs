// Socket.IO with its Redis adapter, for the rows of `backplane` beside websock:
//   NODE_PATH=DIR/node_modules node socketio.cjs PORT REDIS_SOCKET
// A client reaches another one by `feedback` with its id, and everybody by `broadcast`. POST /push?id is a
// push with receipt: it is answered when the node that has the id has said that it has it.
'use strict';
const { createServer } = require('node:http');
const { Server } = require('socket.io');
const { createClient } = require('redis');
const { createAdapter } = require('@socket.io/redis-adapter');

const [port, path] = process.argv.slice(2);

async function main() {
    const publisher = createClient({ socket: { path } });
    const subscriber = publisher.duplicate();
    await Promise.all([publisher.connect(), subscriber.connect()]);
    const http = createServer();
    const io = new Server(http, { adapter: createAdapter(publisher, subscriber), transports: ['websocket'],
        pingInterval: 600_000, pingTimeout: 600_000 });
    const own = http.listeners('request').slice();
    http.removeAllListeners('request');
    http.on('request', (request, response) => {
        if (!request.url.startsWith('/push?')) {
            own.forEach((listener) => listener.call(http, request, response));
            return;
        }
        let body = '';
        request.on('data', (chunk) => { body += chunk; });
        request.on('end', async () => {
            const room = io.in(request.url.slice(6));
            room.emit('m', body);
            const found = await room.fetchSockets();
            const answer = JSON.stringify({ delivered: found.length });
            response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': answer.length });
            response.end(answer);
        });
    });
    io.on('connection', (socket) => {
        socket.on('feedback', (id, text) => io.to(id).emit('m', text));
        socket.on('broadcast', (text) => socket.broadcast.emit('m', text));
    });
    http.listen(Number(port), '127.0.0.1');
}
main();
