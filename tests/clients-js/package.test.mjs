import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import vm from 'node:vm';
import { gzipSync } from 'node:zlib';

import { classic } from './classic.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = fileURLToPath(new URL('../../clients/js/', import.meta.url));
const websockJs = readFileSync(join(root, 'websock.js'), 'utf8');

/** Copies `name`, to be found by a bare import from nowhere near node_modules. */
function temporaryDirectory(t) {
  const directory = mkdtempSync(join(tmpdir(), 'websock-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

function npmPack(t, ...args) {
  const output = execFileSync('npm', ['pack', '--json', '--silent', ...args], {
    cwd: root,
    env: { ...process.env, npm_config_cache: temporaryDirectory(t) },
  });
  return JSON.parse(output)[0];
}

test('websock.js is what its source makes', () => {
  assert.ok(websockJs === classic(), 'run: node classic.mjs > ../../clients/js/websock.js');
});

test('websock.js is less than 4 KB gzipped', () => {
  assert.ok(gzipSync(websockJs, { level: 9 }).length < 4096);
});

test('websock.js is a classic script that may be loaded twice', () => {
  const page = vm.createContext({ EventTarget });
  for (let times = 0; times < 2; times++) vm.runInContext(websockJs, page);
  for (const name of ['Websock', 'WebsockError', 'socketWebClient']) {
    assert.equal(typeof page[name], 'function', name);
  }
});

test('websock.js is an ES module too, and then leaves no global', async (t) => {
  const file = join(temporaryDirectory(t), 'websock.mjs');
  copyFileSync(join(root, 'websock.js'), file);
  const module = await import(pathToFileURL(file).href);
  assert.deepEqual(Object.keys(module), ['Websock', 'WebsockError', 'socketWebClient']);
  assert.equal(globalThis.Websock, undefined);
});

test('the package holds what it names, and nothing else', (t) => {
  const { files } = npmPack(t, '--dry-run');
  assert.deepEqual(files.map((file) => file.path).sort(), [
    'README.md',
    'package.json',
    'src/client.mjs',
    'src/errors.mjs',
    'src/legacy.mjs',
    'src/text.mjs',
    'websock.d.mts',
    'websock.js',
    'websock.mjs',
  ]);
});

test('the package has no dependencies', () => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  assert.equal(dependencies, undefined);
});

test('the packed package is installed and imported by its name', (t) => {
  const directory = temporaryDirectory(t);
  const { filename } = npmPack(t, '--pack-destination', directory);
  writeFileSync(join(directory, 'package.json'), '{"private":true}');
  execFileSync(
    'npm',
    ['install', '--offline', '--silent', '--no-audit', join(directory, filename)],
    {
      cwd: directory,
      env: { ...process.env, npm_config_cache: join(directory, 'cache') },
    },
  );
  const program = "import * as all from 'websock-client'; console.log(Object.keys(all).join())";
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: directory,
    encoding: 'utf8',
  });
  assert.equal(output.trim(), 'Websock,WebsockError,socketWebClient');
});

test('the types fit their use, and refuse misuse', () => {
  const tsc = join(here, 'node_modules/.bin/tsc');
  execFileSync(tsc, ['--project', join(here, 'tsconfig.json')], { stdio: 'inherit' });
});
