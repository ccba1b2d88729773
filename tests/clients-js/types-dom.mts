// Compiled only, where the types of the platform are there: they fit this client's.
import { type Events, Websock } from '../../clients/js/websock.mjs';

const { signal } = new AbortController();
const client = new Websock(new URL('wss://www.example.org/web'), { signal });
client.feedback('text', 'uuid', { signal: AbortSignal.timeout(1) });
client.addEventListener('feedback', ({ packet }) => packet.message, { once: true, signal });
const log = (event: Event) => event.timeStamp;
client.addEventListener('ready', log, { signal });
client.removeEventListener('ready', log);
client.addEventListener('my own', log);
client.dispatchEvent(new Event('my own'));
client.addEventListener('close', (event) => event.preventDefault());
const target: EventTarget = client;
const event = (happened: Events['ready']): Event => happened;

// @ts-expect-error no signal
new Websock('/web', { signal: true });

export { event, target };
