// Compiled only: what must fit, and below each @ts-expect-error what must not.
import { socketWebClient, Websock, WebsockError } from '../../clients/js/websock.mjs';

const client = new Websock('/web', { heartbeat: 0, signal: AbortSignal.timeout(1) });
const uuid: string | null = client.uuid;
const done: Promise<void> = client.feedback({ percent: 5 }, { ident: 42 }, {});
client.feedback('text', 'uuid', { signal: AbortSignal.timeout(1) });
client.send({ opcode: 'own', anything: [1] }).then(() => client.quit());
client.addEventListener('ready', (event) => event.uuid.length);
client.addEventListener('feedback', ({ packet }) => packet.message);
client.addEventListener('close', ({ code, isFinal, delay }) => isFinal || code + delay);
client.addEventListener('error', ({ error }) => error.code === 'in-doubt');
const caught: unknown = new WebsockError();
if (caught instanceof WebsockError) caught.packet?.opcode;

const sock = socketWebClient('ws://localhost:8096', '/web');
sock.setCallback('readMessage', (packet) => packet.message);
sock.setCallbackStatus((text) => text.length);
sock.feedback('text', 'uuid');

// @ts-expect-error an option that does not exist
new Websock('/web', { hartbeat: 1 });
// @ts-expect-error no opcode
client.send({ message: 1 });
// @ts-expect-error nobody to send to
client.feedback('text');
// @ts-expect-error uuid is the server's to give
client.uuid = 'x';
// @ts-expect-error no such error
client.addEventListener('error', ({ error }) => error.code === 'indoubt');

export { done, uuid };
