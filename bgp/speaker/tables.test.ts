import assert from 'node:assert/strict';
import test from 'node:test';
import { Tables } from './tables.ts';

test('both families hash prefixes in the memory that the speaker was given for it', () => {
  const given: number[] = [];
  const zeroes = (length: number): Int32Array => {
    given.push(length);
    return new Int32Array(length);
  };
  const { ribs } = new Tables(false, { random: () => 0.5, zeroes });
  for (const { prefixes } of ribs) {
    for (let key = 0; key < 600; key++) prefixes.intern(Int32Array.of(key << 8, 0, 0, 0), 24);
  }
  assert.deepEqual(given, [2048, 2048]);
});
