// The demo page. It talks to the server through clients/js only, as any page would.
'use strict';

const $ = id => document.getElementById(id);
const ws = new Websock('/web');

// ---- connection

const STATES = {
  connecting: 'connecting …',
  open: 'connected',
  waiting: 'not connected, trying again',
  away: 'not connected while the page is away',
  closing: 'closing …',
  closed: 'closed',
};

function showState(state, more = '') {
  $('state').dataset.state = state;
  $('state').textContent = STATES[state] + more;
  for (const button of document.querySelectorAll('button:not([data-copy])')) {
    button.disabled = state !== 'open';
  }
  if (state !== 'open' && jobRuns()) {
    $('percent').textContent = 'waiting'; // what is reported meanwhile is kept
  }
}

// How push is reached from the server's own machine: the name that this page has come by may be none
// that the server takes there, and a token may be set.
let pushAddress = { url: `${location.origin}/push`, token: false };

fetch('/demo/push-address')
  .then((response) => response.json())
  .then((address) => {
    pushAddress = address;
    if (ws.uuid) $('curl').textContent = curlLine(helloPacket(ws.uuid), pushAddress);
  })
  .catch(() => {}); // the line stays as it is

const helloPacket = (uuid) => ({ opcode: 'feedback', uuid, message: 'hello from a terminal' });

function curlLine(packet, { url, token }) {
  const header = token ? ` -H 'Authorization: Bearer TOKEN'` : '';
  return `curl --json '${JSON.stringify(packet)}'${header} ${url}`;
}

ws.addEventListener('connecting', () => showState('connecting'));

ws.addEventListener('ready', ({ uuid }) => {
  showState('open');
  if (jobRuns()) awaitJob(uuid);
  const packet = helloPacket(uuid);
  $('uuid').textContent = uuid;
  $('curl').textContent = curlLine(packet, pushAddress);
  log('ready', uuid);
});

ws.addEventListener('transport', ({ transport }) => log('transport', transport));

ws.addEventListener('resumed', ({ replayed }) => log('resumed', `nothing lost, ${replayed} caught up with`));

ws.addEventListener('gap', ({ reason }) => {
  log('gap', `something is missing: ${reason}`);
  if (jobRuns()) breakOff();
});

ws.addEventListener('close', ({ code, reason, isFinal, delay }) => {
  showState(isFinal ? 'closed' : 'waiting', isFinal ? `: ${reason || code}` : ` in ${(delay / 1000).toFixed(1)} s`);
  log('closed', `${code} ${reason}`);
  $('uuid').textContent = ws.uuid ?? '…'; // still its own if it can resume
});

ws.addEventListener('error', ({ error }) => log('error', error.message));

// ---- what arrives

function log(kind, text) {
  const line = document.createElement('p');
  const [time, name] = [document.createElement('time'), document.createElement('b')];
  time.textContent = new Date().toLocaleTimeString();
  name.textContent = kind;
  line.append(time, name, text.length > 200 ? `${text.length} characters` : text);
  $('log').prepend(line);
  while ($('log').children.length > 200) $('log').lastChild.remove();
}

/** A message as people read it: a text as it is, anything else as JSON. */
const readable = message => (typeof message === 'string' ? message : String(JSON.stringify(message)));

ws.addEventListener('broadcast', ({ packet: { message } }) => log('broadcast', readable(message)));

ws.addEventListener('feedback', ({ packet: { message } }) => {
  if (message?.job === 'demo') return showProgress(message.percent);
  log('feedback', readable(message));
});

ws.addEventListener('echo', ({ packet: { message } }) => {
  if (message?.probe) return showRoundTrip(message.probe);
  log('echo', readable(message?.text ?? message));
  if (message?.sent) log('echo', `there and back in ${(performance.now() - message.sent).toFixed(1)} ms`);
});

// ---- the job

// Reports do not say which job they are of, so there is one at a time. The button keeps the focus.
let jobUuid;
const jobRuns = () => $('job').getAttribute('aria-disabled') === 'true';
const showJobRuns = runs => $('job').setAttribute('aria-disabled', runs);

$('job').addEventListener('click', async () => {
  if (jobRuns()) return;
  showJobRuns(true);
  showProgress(0);
  jobUuid = ws.uuid;
  const body = JSON.stringify({ uuid: jobUuid });
  try {
    const response = await fetch('/demo/job', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
    if (!response.ok) refuseJob((await response.json()).error);
  } catch (error) {
    refuseJob(`the job was not started: ${error.message}`);
  }
});

function refuseJob(why) {
  log('error', why);
  showJobRuns(false);
}

/** The server runs the job: it is over if the server was restarted, or if its reports are for another UUID. */
function awaitJob(uuid) {
  if (uuid !== jobUuid) return breakOff();
  const value = $('progress').value;
  setTimeout(() => {
    if (jobRuns() && ws.state === 'open' && $('progress').value === value) breakOff();
  }, 3000);
}

function breakOff() {
  $('percent').textContent = 'broken off';
  showJobRuns(false);
}

function showProgress(percent) {
  $('progress').value = percent;
  $('percent').textContent = percent < 100 ? `${percent} %` : 'done';
  if (percent < 100) return;
  log('feedback', 'the job is done');
  showJobRuns(false);
}

// ---- saying something

// A promise that fails is an error event as well, which is shown above.
const quietly = promise => promise.catch(() => {});

$('say').addEventListener('submit', event => {
  event.preventDefault();
  quietly(ws.broadcast($('text').value).then(() => log('sent', 'the server has taken the broadcast')));
});

$('echo').addEventListener('click', () => quietly(ws.echo({ text: $('text').value })));

for (const button of document.querySelectorAll('[data-long]')) {
  button.addEventListener('click', () => {
    quietly(ws.echo({ text: 'x'.repeat(button.dataset.long), sent: performance.now() }));
  });
}

for (const button of document.querySelectorAll('[data-copy]')) {
  button.addEventListener('click', async () => {
    const source = $(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      log('copied', source.textContent);
    } catch {
      getSelection().selectAllChildren(source); // without leave, or not on https: to be copied by hand
    }
  });
}

// ---- round trips

const times = [];

setInterval(() => {
  if (ws.state === 'open' && !document.hidden) quietly(ws.echo({ probe: performance.now() }));
}, 1000);

function showRoundTrip(sent) {
  times.push(performance.now() - sent);
  if (times.length > 60) times.shift();
  const sorted = times.toSorted((a, b) => a - b);
  const top = Math.max(1, Math.ceil(sorted.at(-1)));
  const x = index => 600 - (times.length - 1 - index) * 10;
  $('line').setAttribute('points', times.map((time, i) => `${x(i)},${119 - (time / top) * 115}`).join(' '));
  $('last').textContent = `${times.at(-1).toFixed(1)} ms`;
  $('median').textContent = `${sorted[sorted.length >> 1].toFixed(1)} ms`;
  $('top').textContent = top;
}

showState('connecting');
