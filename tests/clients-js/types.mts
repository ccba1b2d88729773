// Compiled only, with any library or none: what must fit, and below each @ts-expect-error what must
// not.
import { type Events, socketWebClient, Websock, WebsockError } from '../../clients/js/websock.mjs';

const client = new Websock('/web', { heartbeat: 0, maxDelay: 1 });
const uuid: string | null = client.uuid;
const done: Promise<void> = client.feedback({ percent: 5 }, { ident: 42 }, {});
client.send({ opcode: 'own', anything: [1] }).then(() => client.quit());
client.addEventListener('ready', (event) => event.uuid.length + event.type.length);
client.addEventListener('feedback', ({ packet }) => packet.message);
client.addEventListener('close', ({ code, isFinal, delay }) => isFinal || code + delay);
client.addEventListener('error', ({ error }) => error.code === 'in-doubt');
client.addEventListener('unauthorized', ({ reason }) => reason.length);
client.addEventListener('resumed', ({ replayed }) => replayed + 1);
client.addEventListener('gap', ({ reason }) => reason === 'overflow' || reason.length);
client.addEventListener('transport', ({ transport }) => transport === 'sse');
client.feedback('text', { user: 42 });
client.signIn(client.user ?? undefined);
client.signIn(async () => 'a token');
new Websock('/web', { user: false, token: 'x' });
new Websock('/web', { resume: true, since: client.cursor });
const caught: unknown = new WebsockError();
if (caught instanceof WebsockError) caught.packet?.opcode;

// As an effect does that cleans up after itself.
const show = ({ packet }: Events['feedback']) => packet.message;
client.addEventListener('feedback', show);
client.removeEventListener('feedback', show);
client.addEventListener('ready', ({ uuid }) => uuid.length, { once: true, capture: true });
client.removeEventListener('ready', ({ uuid }) => uuid.length, { capture: true });
client.removeEventListener('ready', null, true);
const object = { handleEvent: ({ uuid }: Events['ready']) => uuid.length };
client.addEventListener('ready', object);
client.removeEventListener('ready', object);
const any = (event: { readonly type: string }) => event.type;
client.addEventListener('my own', any);
client.removeEventListener('my own', any);
const state: 'connecting' | 'open' | 'waiting' | 'away' | 'unauthorized' | 'closing' | 'closed' =
  client.state;

const sock = socketWebClient('ws://localhost:8096', '/web');
sock.setCallback('readMessage', (packet) => packet.message);
sock.setCallbackStatus((text) => text.length);
sock.feedback('text', 'uuid');

new Websock('/web', { sse: true, fetch: (url) => Promise.resolve({ url }) });
// @ts-expect-error no such transport
client.transport === 'polling';
// @ts-expect-error an option that does not exist
new Websock('/web', { hartbeat: 1 });
// @ts-expect-error no address
new Websock(8096);
// @ts-expect-error no opcode
client.send({ message: 1 });
// @ts-expect-error nobody to send to
client.feedback('text');
// @ts-expect-error uuid is the server's to give
client.uuid = 'x';
// @ts-expect-error a token is a text, or a function that returns one
new Websock('/web', { token: 42 });
// @ts-expect-error no such error
client.addEventListener('error', ({ error }) => error.code === 'indoubt');
// @ts-expect-error a close event has no packet
client.addEventListener('close', show);
// @ts-expect-error nor can it have been added
client.removeEventListener('close', show);
// @ts-expect-error an option that does not exist
client.addEventListener('ready', () => {}, { onse: true });

export { done, state, uuid };
