import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { scaleWeights, weightMax } from './weights.ts';

test('ratios of small integers are kept exactly', () => {
  assert.deepEqual(scaleWeights([10e9, 25e9]), [2, 5]);
  assert.deepEqual(scaleWeights([7, 7, 7]), [1, 1, 1]);
  assert.deepEqual(scaleWeights([1, 256]), [1, 256]);
  assert.deepEqual(scaleWeights([12.5]), [1]);
  assert.deepEqual(scaleWeights([0.5, 1 / 3]), [3, 2]);
  assert.deepEqual(scaleWeights([1.25e9, 3.125e9].map(Math.fround)), [2, 5], 'floats');
});

test('others are rounded, the greatest being 256, and none gets nothing', () => {
  assert.deepEqual(scaleWeights([1, 1000]), [1, 256]);
  assert.deepEqual(scaleWeights([1, 3e38]), [1, 256]);
});

test('weights are 1..256, in the order of the shares, and do not depend on the order in which they are given', () => {
  const share = fc.oneof(
    fc.integer({ min: 1, max: 1000 }),
    fc.float({ min: Math.fround(1e-3), noNaN: true, noDefaultInfinity: true }),
  );
  fc.assert(
    fc.property(fc.array(share, { minLength: 1, maxLength: 64 }), (shares) => {
      const weights = scaleWeights(shares);
      const ranked = shares.map((value, i) => [value, weights[i]!] as const).sort(([a], [b]) => a - b);
      for (const [i, [value, weight]] of ranked.entries()) {
        assert.ok(Number.isInteger(weight) && weight >= 1 && weight <= weightMax);
        const [before, lighter] = ranked[i - 1] ?? [0, 0];
        assert.ok(weight >= lighter && (value !== before || weight === lighter));
      }
      assert.deepEqual(scaleWeights(shares.toReversed()), weights.toReversed());
    }),
  );
});
