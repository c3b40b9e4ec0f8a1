import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lackingCapabilities } from './capabilities.ts';

const status = (effective: string): string => `Name:\tnode\nCapPrm:\t000001ffffffffff\nCapEff:\t${effective}\n`;

test('what the process lacks is named with what it is for and the remedy', () => {
  assert.equal(lackingCapabilities(status('000001ffffffffff'), 179), undefined);
  assert.equal(lackingCapabilities(status('0000000000003400'), 179), undefined, 'as the manifest gives');
  assert.match(
    lackingCapabilities(status('0000000000002400'), 179)!,
    /lacks CAP_NET_ADMIN \(routes.*\): .*securityContext/,
  );
  assert.match(lackingCapabilities(status('0000000000000000'), 179)!, /NET_ADMIN.*NET_RAW.*NET_BIND_SERVICE/);
});

test('a port that anybody may bind needs no right; a status without the line says nothing', () => {
  assert.equal(lackingCapabilities(status('0000000000003000'), 1790), undefined);
  assert.match(lackingCapabilities(status('0000000000003000'), 179)!, /NET_BIND_SERVICE/);
  assert.equal(lackingCapabilities('Name:\tnode\n', 179), undefined);
});
