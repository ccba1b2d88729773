// The status page: asks for status.json every other second, and shows it. What comes from peers (users,
// addresses, lines of the log) gets into the page as text and in no other way.
'use strict';

const INTERVAL_MS = 2_000;
const SAMPLES = 150;
const DEADLINE_MS = 10_000;

const find = id => document.getElementById(id);
const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};

const number = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const bytes = value => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit += 1) value /= 1024;
  return `${number.format(value)} ${units[unit]}`;
};
const duration = seconds => {
  const parts = [[86_400, 'd'], [3_600, 'h'], [60, 'min'], [1, 's']];
  const first = Math.max(parts.findIndex(([size]) => seconds >= size), 0);
  return parts.slice(first, first + 2).map(([size, name], index) => {
    const whole = index === 0 ? seconds / size : (seconds % parts[first][0]) / size;
    return `${Math.floor(whole)} ${name}`;
  }).join(' ');
};

// ---- tables: rows are kept by their key, so that what has the focus keeps it

function fill(id, rows, empty) {
  const body = find(id);
  const known = new Map([...body.rows].map(row => [row.dataset.key, row]));
  const wanted = rows.length ? rows : [{ key: '', cells: [empty] }];
  wanted.forEach(({ key, cells }, index) => {
    let row = known.get(key);
    known.delete(key);
    if (!row || row.cells.length !== cells.length) {
      row?.remove();
      row = make('tr', {}, ...cells.map(() => make('td')));
      row.dataset.key = key;
    }
    cells.forEach((cell, column) => setCell(row.cells[column], cell));
    if (!rows.length) row.cells[0].colSpan = 9;
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
  known.forEach(row => row.remove());
}

/** A text, a number, or {text, act, label}: something to press. */
function setCell(cell, value) {
  if (typeof value === 'object') {
    let button = cell.firstElementChild;
    if (!button) cell.append(button = make('button', { type: 'button' }));
    button.className = value.look ?? '';
    if (button.textContent !== value.text) button.textContent = value.text;
    if (value.label) button.setAttribute('aria-label', value.label);
    button.onclick = value.act;
    return;
  }
  const text = typeof value === 'number' ? number.format(value) : value;
  if (cell.textContent !== text) cell.textContent = text;
  cell.classList.toggle('number', typeof value === 'number' || /^[\d.,]+ [KMGT]?i?B$/.test(text));
}

// ---- tiles

function tile(name, text, part) {
  const id = `tile-${name}`;
  let box = find(id);
  if (!box) {
    box = make('div', { id }, make('dt', { textContent: name }), make('dd'));
    if (part) box.append(make('dd', {}, make('meter', { min: 0, max: 1, high: 0.8, optimum: 0 })));
    find('tiles').append(box);
  }
  box.children[1].textContent = text;
  if (part) {
    const meter = box.querySelector('meter');
    meter.value = part[1] ? part[0] / part[1] : 0;
    meter.setAttribute('aria-label', `${name}: ${text}`);
  }
}

function showTiles(status) {
  const { open, memory, queues, process } = status;
  const clients = open.web + open.php;
  tile('Tabs', number.format(open.web));
  tile('Scripts', number.format(open.php));
  tile('Users', number.format(status.audience.userCount));
  tile('Clients of maxClients', `${number.format(clients)} of ${number.format(status.maxClients)}`, [clients, status.maxClients]);
  tile('Before their handshake', `${number.format(status.pending)} of ${number.format(status.maxPending)}`, [status.pending, status.maxPending]);
  tile('Memory of memoryLimit', `${bytes(memory.bytes)} of ${bytes(memory.limit)}`, [memory.bytes, memory.limit]);
  tile('Waiting in queues', bytes(queues.bytes));
  tile('Longest queue of maxQueue', `${bytes(queues.longest)} of ${bytes(queues.limit)}`, [queues.longest, queues.limit]);
  if (process) {
    tile('Process', bytes(process.residentBytes));
    tile('Open files', `${number.format(process.openFiles)} of ${number.format(process.maxFiles)}`, [process.openFiles, process.maxFiles]);
    tile('Running for', duration(Date.now() / 1000 - process.startTime));
  }
}

// ---- plots

/** Name, unit, and two totals of which the rates are drawn. */
const PLOTS = [
  ['Messages per second', number.format.bind(number), 'received', s => s.received.text + s.received.binary, 'sent', s => s.sent.text + s.sent.binary],
  ['Bytes per second', bytes, 'received', s => s.received.bytes, 'sent', s => s.sent.bytes],
  ['Clients per second', number.format.bind(number), 'come', s => s.opened.web + s.opened.php, 'gone', s => s.closings.reduce((sum, { count }) => sum + count, 0)],
  ['Refusals and full queues per second', number.format.bind(number), 'refused', s => s.refusals.reduce((sum, { count }) => sum + count, 0), 'full', s => s.deliveries.full],
  ['Time of the loop', value => `${number.format(value * 100)} %`, 'busy', s => s.turnSeconds, 'processor', s => s.process?.cpuSeconds ?? 0],
];
const history = PLOTS.map(() => []);
let last = null;

const SVG = 'http://www.w3.org/2000/svg';

function addPlots() {
  PLOTS.forEach(([title], index) => {
    const svg = document.createElementNS(SVG, 'svg');
    svg.id = `plot-${index}`;
    svg.setAttribute('role', 'img');
    svg.setAttribute('viewBox', `0 0 ${SAMPLES - 1} 40`);
    svg.setAttribute('preserveAspectRatio', 'none');
    svg.append(document.createElementNS(SVG, 'path'), document.createElementNS(SVG, 'path'));
    find('plots').append(make('div', {}, make('h3', { textContent: title }), svg, make('p', { className: 'key', id: `key-${index}` })));
  });
}

function showRates(status, at) {
  const before = last;
  last = { status, at };
  // A server that has been started anew counts from zero.
  if (!before || before.status.process?.startTime !== status.process?.startTime) return;
  const seconds = Math.max((at - before.at) / 1000, 0.001);
  PLOTS.forEach(([title, show, one, totalOfOne, other, totalOfOther], index) => {
    const rate = total => Math.max(total(status) - total(before.status), 0) / seconds;
    const pair = [rate(totalOfOne), rate(totalOfOther)];
    const samples = history[index];
    samples.push(pair);
    if (samples.length > SAMPLES) samples.shift();
    const top = Math.max(...samples.flat(), 1e-9);
    const svg = find(`plot-${index}`);
    [...svg.children].forEach((path, side) => {
      const start = SAMPLES - samples.length;
      const points = samples.map((sample, x) => `${start + x} ${(39 - 38 * sample[side] / top).toFixed(2)}`);
      path.setAttribute('d', `M${points.join('L')}`);
    });
    const [shownOne, shownOther] = pair.map(show);
    svg.setAttribute('aria-label', `${title}: ${one} ${shownOne}, ${other} ${shownOther}, highest ${show(top)}`);
    find(`key-${index}`).replaceChildren(
      make('b', { textContent: one }), ` ${shownOne}, `, make('b', { textContent: other }), ` ${shownOther}, highest ${show(top)}`);
  });
}

// ---- who is there

let filter = {};

function showOnly(next) {
  filter = next;
  ask();
}

const group = (field, what) => ({ name, count, queueBytes }) => ({
  key: `${field}:${name}`,
  cells: [
    { text: name, look: 'link', label: `${what} ${name}: show its connections`, act: () => showOnly({ [field]: name }) },
    count,
    bytes(queueBytes),
  ],
});

function showAudience(status) {
  const { audience } = status;
  fill('users', audience.users.map(group('user', 'User')), 'nobody is signed in');
  fill('addresses', audience.addresses.map(group('address', 'Address')), 'nobody is connected');
  const more = (all, shown) => (all > shown ? `and ${number.format(all - shown)} more` : '');
  find('users-more').textContent = more(audience.userCount, audience.users.length);
  find('addresses-more').textContent = more(audience.addressCount, audience.addresses.length);
  const [field] = Object.keys(filter);
  const whose = field ? ` of ${field} ${filter[field]}` : '';
  const some = audience.clients.length < audience.clientCount ? `, ${audience.clients.length} of them shown, those for whom most waits` : '';
  find('shown').textContent = `${number.format(audience.clientCount)}${whose}${some}`;
  find('all').hidden = !field;
  fill('clients', audience.clients.map(client => ({
    key: client.id,
    cells: [
      `#${client.id.split('-')[0]}`,
      client.kind === 'php' ? 'script' : 'web',
      client.user || '–',
      client.address,
      client.uuid,
      bytes(client.queueBytes),
      { text: 'Close', label: `Close #${client.id.split('-')[0]}`, act: () => closeClient(client) },
    ],
  })), 'none');
  find('token').disabled = !status.canClose;
  if (!status.canClose) find('auth-note').textContent = 'Set pushToken in websock.ini to close connections from here.';
}

/** The token goes along in a header and is kept nowhere but in its field. */
async function closeClient({ id }) {
  const note = find('auth-note');
  const token = find('token').value.trim();
  if (!token) {
    note.textContent = 'Type the pushToken first.';
    find('token').focus();
    return;
  }
  try {
    const response = await fetch('status/close', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
      body: JSON.stringify({ id }),
      credentials: 'omit',
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    const answer = await response.json();
    note.textContent = response.ok ? `#${id.split('-')[0]} is being closed.` : `Not closed: ${answer.error}`;
  } catch (error) {
    note.textContent = `Not closed: ${error.message}`;
  }
  ask();
}

// ---- the rest

const reasons = list => list.map(({ code, reason, count }) => ({ key: `${code} ${reason}`, cells: [String(code), reason, count] }));

function showNodes(backplane) {
  const row = ({ node, clients, uptime, silent }, index) => {
    const last = silent ? `${duration(silent)} ago` : 'just now';
    const heard = index === 0 ? 'this server' : last;
    return { key: String(node), cells: [String(node || '–'), clients, duration(uptime), heard] };
  };
  fill('nodes', backplane ? backplane.nodes.map(row) : [], 'this server is alone: backplane is not set');
  const { connected, published, lost, receipts, queue, roundTrips, roundTripSeconds } = backplane ?? {};
  const average = roundTrips ? `${(1000 * roundTripSeconds / roundTrips).toFixed(1)} ms on average` : 'none yet';
  const state = connected ? '' : 'Redis is away, other servers are not reached. ';
  find('nodes-note').textContent = backplane
    ? `${state}Published: ${published}, lost: ${lost}; receipts: ${receipts.received}, late: ${receipts.late}; waiting: ${queue.bytes} bytes; round trip to Redis: ${average}`
    : '';
}

function showRest(status) {
  fill('refusals', reasons(status.refusals), 'nobody was refused');
  fill('closings', reasons(status.closings), 'nobody has gone');
  const answered = status.pushAnswers.filter(({ count }) => count > 0);
  fill('pushes', answered.map(({ status: code, count }) => ({ key: String(code), cells: [String(code), count] })), 'none');
  fill('certificates', status.certificates.map(({ name, notAfter, file }, index) => {
    const left = notAfter - Date.now() / 1000;
    const until = new Date(notAfter * 1000).toISOString().slice(0, 10);
    const rest = left > 0 ? `in ${duration(left)}` : 'has ended';
    return { key: String(index), cells: [name || '–', `${until}, ${rest}`, file] };
  }), 'none: no address speaks TLS');
  const failed = status.failedCertificates;
  find('certificates-note').textContent = failed ? `${failed} files could not be taken up: see the log` : '';
  showNodes(status.backplane);
  const lines = status.log.length ? [...status.log].reverse() : ['none'];
  const log = find('log');
  if (log.dataset.shown !== lines.join('\n')) {
    log.dataset.shown = lines.join('\n');
    log.replaceChildren(...lines.map(textContent => make('p', { textContent })));
  }
}

// ---- asking

function say(state, text) {
  const element = find('state');
  element.dataset.state = state;
  if (element.textContent !== text) element.textContent = text;
}

let round = 0;
async function ask() {
  round += 1;
  const mine = round;
  try {
    const query = Object.entries(filter).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    const response = await fetch(`status.json?${query.join('&')}`, {
      cache: 'no-store', credentials: 'omit', signal: AbortSignal.timeout(DEADLINE_MS),
    });
    if (!response.ok) throw new Error(`the answer is ${response.status}`);
    const status = await response.json();
    // Another one was asked for meanwhile.
    if (mine !== round) return;
    find('version').textContent = `${status.version}${status.commit === 'unknown' ? '' : ` (${status.commit})`}`;
    if (status.notReady.length) say('unready', `not ready: ${status.notReady.join('; ')}`);
    else say('ready', 'ready');
    showTiles(status);
    showRates(status, performance.now());
    showAudience(status);
    showRest(status);
  } catch (error) {
    if (mine === round) say('lost', `no answer: ${error.message}`);
  }
}

let paused = false;
find('pause').onclick = () => {
  paused = !paused;
  find('pause').setAttribute('aria-pressed', String(paused));
  if (!paused) ask();
};
find('all').onclick = () => showOnly({});
find('auth').onsubmit = event => event.preventDefault();
setInterval(() => {
  if (!paused && !document.hidden) ask();
}, INTERVAL_MS);
document.addEventListener('visibilitychange', () => {
  if (!paused && !document.hidden) ask();
});
addPlots();
ask();
