// Every test of the suite, with one browser.
import { after, before } from 'node:test';

import { closeBrowser, launch } from './harness.mjs';

before(launch);
after(closeBrowser);

const names = ['php-server', 'plain', 'redis', 'wordpress', 'laravel', 'symfony', 'crowd', 'docs'];
for (const name of names) {
  if (!process.env.ONLY || process.env.ONLY === name) await import(`./${name}.test.mjs`);
}
