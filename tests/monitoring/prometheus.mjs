// A real Prometheus scrapes the server: what it knows is what a dialogue must have given, every query of
// the dashboard and every rule works on it.
//   node --test prometheus.mjs      WEBSOCK, PROMETHEUS, PROMTOOL: the programs.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { TOKEN, connect, freePort, samples, startServer, until, within, workDirectory } from './harness.mjs';

const root = new URL('../../', import.meta.url).pathname;
const rules = join(root, 'packaging/monitoring/websock.rules.yml');
const dashboard = JSON.parse(await readFile(join(root, 'packaging/monitoring/grafana-dashboard.json'), 'utf8'));
const run = promisify(execFile);
let directory, prometheus, prometheusUrl, server;

async function startPrometheus() {
  const port = await freePort();
  const config = join(directory.path, 'prometheus.yml');
  await writeFile(config, `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [${rules}]
scrape_configs:
  - job_name: websock
    static_configs: [{targets: ['127.0.0.1:${server.ports.status}']}]
`);
  await run(process.env.PROMTOOL, ['check', 'config', config]);
  const child = spawn(process.env.PROMETHEUS, [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(directory.path, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--log.level=warn',
  ], { stdio: ['ignore', 'inherit', 'inherit'] });
  prometheusUrl = `http://127.0.0.1:${port}`;
  return child;
}

async function api(path) {
  const answer = await fetch(`${prometheusUrl}/api/v1/${path}`).then(response => response.json());
  assert.equal(answer.status, 'success', `${path}: ${answer.error}`);
  return answer.data;
}

const query = expression => api(`query?query=${encodeURIComponent(expression)}`);
const valueOf = async expression => Number((await query(expression)).result[0]?.value[1] ?? NaN);

before(async () => {
  directory = await workDirectory();
  server = await startServer(directory.path, ['allowedOrigins=https://shop.example', 'drainDelay=60', 'maxPerIP=3']);
  prometheus = await startPrometheus();
  const ask = () => fetch(`${prometheusUrl}/-/ready`).then(response => response.status, () => 0);
  await until('Prometheus', ask, status => status === 200);
  await until('the first scrape', () => valueOf('up{job="websock"}'), value => value === 1);
});

after(async () => {
  if (prometheus && prometheus.exitCode === null) {
    const ended = once(prometheus, 'exit');
    prometheus.kill('SIGTERM');
    await within(ended, 'the end of Prometheus');
  }
  // The second signal ends it at once.
  server?.signal('SIGTERM');
  server?.signal('SIGTERM');
  await server?.stop().catch(() => {});
  await directory?.remove();
});

test('promtool finds nothing to complain about in /metrics', async () => {
  const text = await fetch(`${server.status}/metrics`).then(response => response.text());
  const checking = run(process.env.PROMTOOL, ['check', 'metrics']);
  checking.child.stdin.end(text);
  const { stdout, stderr } = await checking;
  assert.deepEqual([stdout, stderr], ['', '']);
});

test('Prometheus knows exactly what a dialogue must have given', async () => {
  const origin = 'https://shop.example';
  const before = await samples(server.status);
  const one = await connect(`${server.clients}/web`, { Origin: origin });
  const other = await connect(`${server.clients}/web`, { Origin: origin });
  const script = await connect(`${server.clients}/php?token=${TOKEN}`, { 'Client-Type': 'php', 'X-Websock-Frames': 'stream' });
  const echo = '{"opcode":"echo","message":"ä"}';
  one.say(echo);
  assert.deepEqual([await one.next(), await one.next()], ['{"opcode":"next","fyi":""}', echo]);
  const broadcast = '{"opcode":"broadcast","message":1}';
  script.say(broadcast);
  assert.deepEqual([await script.next(), await one.next(), await other.next()], ['{"opcode":"next","fyi":""}', broadcast, broadcast]);
  const push = (body, token = TOKEN) => fetch(`${server.http}/push`, {
    method: 'POST', body, headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
  }).then(response => response.status);
  const feedback = JSON.stringify({ opcode: 'feedback', uuid: other.uuid, message: 'hello' });
  assert.equal(await push(feedback), 200);
  assert.equal(await other.next(), feedback);
  assert.equal(await push('{"opcode":"feedback","uuid":"nobody"}'), 404);
  assert.equal(await push(feedback, 'fedcba9876543210'), 401);
  const pong = once(one.socket, 'pong');
  one.socket.ping('12345');
  await within(pong, 'a pong');
  await assert.rejects(connect(`${server.clients}/web`, { Origin: 'https://evil.example' }));
  one.socket.close(3999, 'own code');
  await one.closed();
  other.say('no JSON');
  assert.equal((await other.closed()).code, 1007);
  script.say('{"opcode":"quit"}');
  assert.equal((await script.closed()).code, 1000);

  const text = Buffer.byteLength;
  const ready = 64;
  const next = 26;
  const expected = {
    'websock_clients_opened_total{kind="web"}': 2,
    'websock_clients_opened_total{kind="php"}': 1,
    'websock_messages_received_total{opcode="text"}': 4,
    'websock_messages_received_total{opcode="binary"}': 0,
    'websock_messages_received_bytes_total{opcode="text"}': text(echo) + text(broadcast) + 7 + 17,
    // ready and next for each, the echo, the broadcast to two, the feedback.
    'websock_messages_sent_total{opcode="text"}': 3 + 4 + 1 + 2 + 1,
    'websock_messages_sent_bytes_total{opcode="text"}': 3 * ready + 4 * next + text(echo) + 2 * text(broadcast) + text(feedback),
    'websock_frames_received_total{opcode="text"}': 4,
    'websock_frames_received_total{opcode="continuation"}': 0,
    'websock_frames_received_total{opcode="ping"}': 1,
    'websock_frames_received_total{opcode="close"}': 3,
    'websock_frames_sent_total{opcode="pong"}': 1,
    'websock_frames_sent_total{opcode="close"}': 3,
    'websock_frames_sent_total{opcode="ping"}': 0,
    'websock_deliveries_total{to="many",result="queued"}': 2,
    'websock_deliveries_total{to="one",result="queued"}': 1,
    'websock_push_responses_total{status="200"}': 1,
    'websock_push_responses_total{status="404"}': 1,
    'websock_push_responses_total{status="401"}': 1,
    'websock_refusals_total{code="403",reason="The origin is not allowed: allowedOrigins must name it"}': 1,
    'websock_refusals_total{code="401",reason="a token is needed: send Authorization: Bearer with what pushToken has"}': 1,
    'websock_closings_total{code="3000",reason="closed by the client"}': 1,
    'websock_closings_total{code="1007",reason="not JSON"}': 1,
    'websock_closings_total{code="1000",reason="quit"}': 1,
  };
  // A client is told of its end before the server has heard the last of it.
  const direct = await until('the last close frame', () => samples(server.status), now =>
    now.get('websock_frames_received_total{opcode="close"}') === 3);
  for (const [name, value] of Object.entries(expected)) {
    assert.equal((direct.get(name) ?? 0) - (before.get(name) ?? 0), value, name);
  }
  const closings = [...direct].filter(([name]) => name.startsWith('websock_closings_total'));
  assert.equal(closings.reduce((sum, [, count]) => sum + count, 0), 3, 'each client has gone once');
  for (const kind of ['web', 'php']) assert.equal(direct.get(`websock_connections{kind="${kind}"}`), 0);
  for (const name of Object.keys(expected)) {
    await until(`${name} in Prometheus`, () => valueOf(name), value => value === direct.get(name));
  }
});

test('Prometheus keeps every metric, and no label has more values than the server', async () => {
  const names = await api('label/__name__/values');
  const text = await fetch(`${server.status}/metrics`).then(response => response.text());
  const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)];
  assert.ok(types.length > 30, text);
  for (const [, name, type] of types) {
    if (name.startsWith('websock_certificate_not_after')) continue;
    const stored = type === 'histogram' ? `${name}_bucket` : name;
    assert.ok(names.includes(stored), stored);
  }
  // Paths, origins and codes that peers choose make no series of their own.
  for (let n = 0; n < 20; n += 1) {
    await fetch(`${server.http}/nothing-${n}`);
    const client = await connect(`${server.clients}/web`, { Origin: 'https://shop.example' });
    client.socket.close(4000 + n);
    await client.closed();
    await assert.rejects(connect(`${server.clients}/web`, { Origin: `https://evil-${n}.example` }));
  }
  const before = new Set(text.split('\n').filter(line => !line.startsWith('#')).map(line => line.replace(/ \S+$/, '')));
  const grown = [...(await samples(server.status)).keys()].filter(name => !before.has(name));
  assert.deepEqual(grown, ['websock_closings_total{code="4000",reason="closed by the client"}']);
});

test('every query of the dashboard works, and names only what there is', async () => {
  const targets = [
    ...dashboard.panels.flatMap(panel => panel.targets.map(target => [panel.title, target.expr])),
    ...dashboard.annotations.list.map(({ name, expr }) => [name, expr]),
  ];
  assert.ok(targets.length > 30, `${targets.length} queries`);
  for (const [title, expression] of targets) {
    const plain = expression.replaceAll('$job', 'websock').replaceAll('$instance', '.*').replaceAll('$__rate_interval', '5m');
    assert.ok(!plain.includes('$'), `${title}: ${plain}`);
    const mayBeEmpty = /certificate_not_after|> 0$/.test(plain) || /histogram_quantile/.test(plain);
    // A scrape that was late on a busy machine leaves nothing until the next one.
    await until(`${title}: ${plain} to give something`, () => query(plain), ({ result }) => result.length > 0 || mayBeEmpty);
  }
});

test('every rule is evaluated', async () => {
  const { groups } = await until('the first evaluation', () => api('rules'), ({ groups }) =>
    groups.flatMap(group => group.rules).every(rule => rule.health !== 'unknown'));
  const all = groups.flatMap(group => group.rules);
  assert.ok(all.length >= 10);
  for (const rule of all) assert.equal(rule.health, 'ok', `${rule.name}: ${rule.lastError}`);
});

test('a server that is about to stop says so to load balancers and to Prometheus', async () => {
  const ask = path => fetch(`${server.status}${path}`).then(async response => [response.status, await response.text()]);
  assert.deepEqual(await ask('/ready'), [200, 'ready\n']);
  assert.deepEqual(await ask('/ready?drain=404'), [200, 'ready\n']);
  server.signal('SIGTERM');
  await until('/ready to change', () => ask('/ready'), ([status]) => status === 503);
  const text = 'draining: the server is about to stop\n';
  assert.deepEqual(await ask('/ready'), [503, text]);
  assert.deepEqual(await ask('/ready?drain=404'), [404, text]);
  assert.deepEqual(await ask('/health'), [200, 'ok\n']);
  await until('websock_ready in Prometheus', () => valueOf('websock_ready'), value => value === 0);
});
