// Every test of the suite, with one browser.
import { after, before } from 'node:test';

import { closeBrowser, launch } from './harness.mjs';

before(launch);
after(closeBrowser);

for (const name of ['php-server', 'plain', 'wordpress', 'laravel', 'symfony', 'crowd', 'docs']) {
  if (!process.env.ONLY || process.env.ONLY === name) await import(`./${name}.test.mjs`);
}
