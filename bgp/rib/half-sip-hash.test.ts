import assert from 'node:assert/strict';
import test from 'node:test';
import { halfSipHash } from './half-sip-hash.ts';

test('HalfSipHash-1-3: the vectors of whole words that Linux tests its own with (lib/tests/siphash_kunit.c)', () => {
  const octets = Uint8Array.from({ length: 64 }, (_, i) => i);
  const words = new Int32Array(octets.buffer);
  const expected = [
    0x5814c896, 0x7e059ea6, 0x577999b1, 0x6b28096c, 0x8b31d501, 0x911bb605, 0x57150ad7, 0x0a4100d0, 0xbc6dda8d,
  ];
  for (const [count, hash] of expected.entries()) {
    assert.equal(halfSipHash([0x03020100, 0x07060504], words, 4 * count) >>> 0, hash);
  }
});

test('HalfSipHash-1-3: zeros at the end count', () => {
  const words = new Int32Array(4);
  const hashes = new Set([0, 1, 2, 3, 4, 5].map((octets) => halfSipHash([1, 2], words, octets)));
  assert.equal(hashes.size, 6);
});
