/** The fixed slice of the fuzzers that every run takes; `npm run fuzz` takes as much of any seed as one likes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzz, fuzzTargets } from './fuzz.ts';
import { generateUpdate } from './generate.ts';
import { Random } from './random.ts';
import { referenceVerdict } from './reference.ts';

const cases = 200_000;
const seed = 20_260_101;

test('200,000 cases: nothing throws, everything ends, encoders and decoders agree, nothing is left behind', () => {
  const results = [...fuzz({ cases, seed, from: 0 })];
  assert.equal(results.length, fuzzTargets().length);
  assert.ok(results.reduce((sum, result) => sum + result.cases, 0) >= cases);
});

test('what is generated is good and bad in useful parts', () => {
  const context = {
    asn4: true,
    ipv4: true,
    ipv6: true,
    ebgp: true,
    localAsn: 64512,
    peerAsn: 64513,
    localRouterId: 1,
  };
  const random = new Random(seed);
  const counts = { accept: 0, withdraw: 0, reset: 0 };
  for (let i = 0; i < 2000; i++) {
    const bytes = generateUpdate(random, true);
    if (bytes.length >= 23) counts[referenceVerdict(context, bytes).disposition]++;
  }
  for (const [verdict, count] of Object.entries(counts)) assert.ok(count > 200, `${verdict}: ${count} of 2000`);
});
