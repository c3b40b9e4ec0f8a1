import assert from 'node:assert/strict';
import { test } from 'node:test';
import { effectiveCapabilities } from '#sys';
import { lackingCapabilities } from './capabilities.ts';

test('what the process lacks is named with what it is for and the remedy', () => {
  assert.equal(lackingCapabilities(0x3400n, 179), undefined, 'as the manifest gives');
  assert.match(lackingCapabilities(0x2400n, 179)!, /lacks CAP_NET_ADMIN \(routes.*\): .*securityContext/);
  assert.match(lackingCapabilities(0n, 179)!, /NET_ADMIN.*NET_RAW.*NET_BIND_SERVICE/);
});

test('a port that anybody may bind needs no right', () => {
  assert.equal(lackingCapabilities(0x3000n, 1790), undefined);
  assert.match(lackingCapabilities(0x3000n, 179)!, /NET_BIND_SERVICE/);
});

test('the own set can be read', () => {
  assert.ok(effectiveCapabilities() >= 0n);
});
