// The docs hold no example that nobody runs.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { unnamed, unused } from './examples.mjs';

test('every example of docs/sign-in.md has a name and has been run', () => {
  assert.equal(unnamed(), 0, 'code in docs/sign-in.md without "example:" in front of it');
  assert.deepEqual(unused(), []);
});
