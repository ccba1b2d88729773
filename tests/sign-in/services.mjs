// Starts what a shop runs on, in a folder of its own: PHP-FPM, nginx, MariaDB,
// Redis and websock.
// All of them listen on Unix sockets or on free ports, and end with the test that started them.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';

const DEADLINE_MS = 60_000;

/** Who PHP runs as: www-data, if that can be chosen. */
const IS_ROOT = process.getuid() === 0;
const SELF = { uid: process.getuid(), gid: process.getgid() };
export const WWW = IS_ROOT ? accountOf('www-data') : SELF;

/** A test whose services end with it, the last one first. `t` has `after` only. */
export function shopTest(name, tell) {
  test(name, async () => {
    const ends = [];
    const faults = [];
    const attempt = (deed) => deed().catch((error) => faults.push(error));
    await attempt(async () => tell({ after: (end) => ends.push(end) }));
    for (const end of ends.reverse()) await attempt(async () => end());
    if (faults.length > 0) throw faults[0];
  });
}

/** The promise, or an error that says what was waited for. */
export function within(promise, what) {
  let timer;
  const deadline = new Promise((_, reject) => {
    const text = () => (typeof what === 'function' ? what() : what);
    timer = setTimeout(() => reject(new Error(`waited in vain for ${text()}`)), DEADLINE_MS);
  });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}

/** A folder that goes with the test, and into which PHP's user may look. */
export function folder(t) {
  const path = fs.mkdtempSync(join(tmpdir(), 'websock-sign-in-'));
  fs.chmodSync(path, 0o755);
  t.after(() => fs.rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A folder that PHP writes to and nobody else reads. */
export function folderOfPhp(path) {
  fs.mkdirSync(path, { recursive: true });
  fs.chmodSync(path, 0o700);
  fs.chownSync(path, WWW.uid, WWW.gid);
  return path;
}

/** Lets PHP write to files and folders that are there. */
export function giveToPhp(...paths) {
  for (const path of paths) fs.chownSync(path, WWW.uid, WWW.gid);
}

/** A port that nobody listens on. */
export async function freePort() {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/**
 * PHP-FPM with two workers, on the Unix socket `php.sock` of that folder; `sessions` lie in it,
 * unless its `settings` say something else.
 */
export async function startPhp(t, directory, { env = {}, settings: more = {} } = {}) {
  const socket = join(directory, 'php.sock');
  const sessions = folderOfPhp(join(directory, 'sessions'));
  const errors = { error_reporting: '-1', log_errors: 'on' };
  const settings = { 'session.save_path': sessions, ...errors, ...more };
  const pool = [
    '[global]',
    `error_log=${join(directory, 'php.log')}`,
    'daemonize=no',
    '[shop]',
    ...(IS_ROOT ? ['user=www-data', 'group=www-data', 'listen.owner=www-data'] : []),
    `listen=${socket}`,
    'pm=static',
    'pm.max_children=2',
    'catch_workers_output=yes',
    'decorate_workers_output=no',
    ...Object.entries(env).map(([name, value]) => `env[${name}]=${value}`),
    ...Object.entries(settings).map(([name, value]) => `php_admin_value[${name}]=${value}`),
  ];
  fs.writeFileSync(join(directory, 'fpm.conf'), pool.join('\n') + '\n');
  const php = run(t, phpFpm(), ['-F', '-O', '-y', join(directory, 'fpm.conf')], 'SIGQUIT');
  await php.says(/ready to handle connections/);
  return { socket, sessions, ...php };
}

/**
 * nginx with PHP behind it, at http://localhost:PORT and on the Unix socket `http.sock`.
 * `locations` stand in front of the usual ones; with `rewrite`, what is no file goes to index.php.
 */
export async function startNginx(t, directory, settings) {
  const { root, php, locations = '', port, rewrite = true } = settings;
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${join(directory, name)};`)
    .join('\n  ');
  fs.writeFileSync(
    join(directory, 'nginx.conf'),
    `daemon off;
${IS_ROOT ? 'user www-data;' : ''}
pid ${join(directory, 'nginx.pid')};
error_log stderr notice;
worker_processes 1;
events { worker_connections 4096; }
http {
  access_log off;
  ${temporary}
  include /etc/nginx/mime.types;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    listen unix:${join(directory, 'http.sock')};
    root ${root};
    index index.php;
    ${locations.replaceAll('\n', '\n    ')}
    location / { try_files $uri $uri/ ${rewrite ? '/index.php$is_args$args' : '=404'}; }
    location ~ \\.php$ {
      include /etc/nginx/fastcgi_params;
      fastcgi_param HTTP_HOST $http_host; # Debian's file leaves the port out
      fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
      fastcgi_pass unix:${php.socket};
    }
  }
}
`,
  );
  const nginx = run(t, 'nginx', ['-e', 'stderr', '-c', join(directory, 'nginx.conf')], 'SIGTERM');
  await nginx.says(/start worker process \d/);
  return { url: `http://localhost:${port}`, ...nginx };
}

/** MariaDB without the network and without passwords: whoever reaches the socket is root. */
export async function startMariadb(t, directory) {
  const data = join(directory, 'mariadb');
  const socket = join(directory, 'mariadb.sock');
  const user = userInfo().username;
  const install = ['--no-defaults', `--user=${user}`, `--datadir=${data}`, '--skip-test-db'];
  const rights = '--auth-root-authentication-method=normal';
  await finished('mariadb-install-db', [...install, rights]);
  const lean = ['--innodb-buffer-pool-size=16M', '--innodb-flush-log-at-trx-commit=0'];
  const server = ['--no-defaults', `--user=${user}`, `--datadir=${data}`, `--socket=${socket}`];
  const mariadb = run(t, 'mariadbd', [...server, ...lean, '--skip-networking'], 'SIGTERM');
  await mariadb.says(/ready for connections/);
  fs.chmodSync(socket, 0o777);
  return { socket };
}

/**
 * Redis on the Unix socket `redis.sock` of that folder, and on a port of 127.0.0.1 if one is named.
 * What it is told is still there when it is started there again.
 */
export async function startRedis(t, directory, { port = 0, password = '' } = {}) {
  const socket = join(directory, 'redis.sock');
  const server = ['--port', String(port), '--bind', '127.0.0.1', '--unixsocket', socket];
  const place = ['--unixsocketperm', '777', '--dir', directory];
  const data = ['--save', '', '--appendonly', 'yes', '--requirepass', password];
  const redis = run(t, 'redis-server', [...server, ...place, ...data], 'SIGTERM');
  await redis.says(/accept connections at/);
  return { socket, ...redis };
}

/**
 * The server under test, with the text of an ini. Pages connect to `url`, scripts to `push`;
 * `check` returns what `websock --check` prints, which has to find no problem.
 */
export async function startWebsock(t, directory, ini, { env = {} } = {}) {
  const file = join(directory, 'websock.ini');
  fs.writeFileSync(file, ini);
  const adress = 'ws://localhost:0 web, ws://127.0.0.1:0 scripts';
  const command = ['-i', file, '-adress', adress, '-console', 'true'];
  const websock = run(t, process.env.WEBSOCK, command, 'SIGTERM', { ...process.env, ...env });
  const [, pages, scripts] = await websock.says(
    /Listening on ws:\/\/\S+?:(\d+)\n[^]*?Listening on ws:\/\/127\.0\.0\.1:(?!\1\b)(\d+)/,
  );
  const url = `ws://localhost:${pages}`;
  const push = `http://127.0.0.1:${scripts}`;
  const check = () => finished(process.env.WEBSOCK, [...command, '--check']);
  return { url, port: Number(pages), push, check, ...websock };
}

/** The block that `websock --print-proxy nginx` prints, with pages at that port. */
export async function proxyBlock(directory, port) {
  const file = join(directory, 'proxied.ini');
  fs.writeFileSync(file, `adress=ws://127.0.0.1:${port} web\ntrustedProxies=127.0.0.1\n`);
  return finished(process.env.WEBSOCK, ['-i', file, '--print-proxy', 'nginx']);
}

/** What a program prints that ends by itself with 0. */
export async function finished(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const parts = { stdout: '', stderr: '' };
  for (const name of Object.keys(parts)) {
    child[name].setEncoding('utf8').on('data', (text) => (parts[name] += text));
  }
  const [code] = await within(once(child, 'close'), `the end of ${command}`);
  if (code !== 0) throw new Error(`${command} ended with ${code}:\n${parts.stdout}${parts.stderr}`);
  return parts.stdout;
}

/** Starts a program that runs until the test ends, and then has to end with 0 on that signal. */
function run(t, command, args, signal, env = process.env) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
  let text = '';
  const listeners = new Set();
  const ended = once(child, 'close');
  for (const stream of [child.stdout, child.stderr]) {
    createInterface(stream).on('line', (line) => {
      text += `${line}\n`;
      for (const listener of listeners) listener();
    });
  }
  const output = () => text;
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  const stop = async () => {
    if (isRunning()) child.kill(signal);
    const [code] = await within(ended, `the end of ${command}`).catch((error) => {
      child.kill('SIGKILL');
      throw error;
    });
    if (code !== 0) throw new Error(`${command} ended with ${code}:\n${text.slice(-4000)}`);
  };
  t.after(stop);
  /** The first match in what it has said, or will say. */
  const says = (pattern) => {
    const found = new Promise((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(text);
        if (match) {
          listeners.delete(look);
          resolve(match);
        }
      };
      listeners.add(look);
      child.once('error', reject);
      ended.then(() => reject(new Error(`${command} ended:\n${text.slice(-4000)}`)), reject);
      look();
    });
    return within(found, () => `${pattern} from ${command}, which says:\n${text.slice(-4000)}`);
  };
  return { pid: child.pid, child, output, says, stop };
}

function accountOf(name) {
  const lines = fs.readFileSync('/etc/passwd', 'utf8').split('\n');
  const line = lines.find((row) => row.startsWith(`${name}:`));
  if (!line) throw new Error(`there is no user ${name}`);
  const [, , uid, gid] = line.split(':').map(Number);
  return { uid, gid };
}

/** Debian names it after the version, and keeps it where a user's PATH does not look. */
function phpFpm() {
  return process.env.PHP_FPM ?? 'php-fpm8.2';
}
