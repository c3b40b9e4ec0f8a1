import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseBitRate } from './bit-rate.ts';

test('bits per second with a unit are bytes per second; anything else is none', () => {
  assert.deepEqual(
    ['10Gbit', '2.5Gbit', '100Mbit', '64kbit', '1.6Tbit', '0.008kbit', '8000Tbit'].map(parseBitRate),
    [1.25e9, 3.125e8, 1.25e7, 8000, 2e11, 1, 1e15],
  );
  for (const text of [
    '',
    '10G',
    '10',
    '10Gbit/s',
    '-1Gbit',
    '0Gbit',
    '0.001kbit',
    '8001Tbit',
    '1e3Mbit',
    '.5Gbit',
    '10gbit',
    ' 1Gbit',
  ])
    assert.equal(parseBitRate(text), undefined, text);
});
