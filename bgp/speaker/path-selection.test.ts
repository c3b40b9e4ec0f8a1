import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isOnPath, mayBeBack } from './path-selection.ts';
import { peer } from './test-network.ts';
import type { PathSelector } from './types.ts';

const far = peer('10.0.0.2', 65002, { name: 'far', localAddress: '10.0.0.1' });
const near = peer('fe80::2%eth0', 65003, { name: 'near' });

test('a path is named by the peer, its address, our address on it, or the interface of a link-local peer', () => {
  const hits = (which: PathSelector, own?: string): string[] =>
    [far, near].filter((config) => isOnPath(which, config, own)).map(({ name }) => name);
  assert.deepEqual(hits({ peer: 'far' }), ['far']);
  assert.deepEqual(hits({ address: 'fe80::2%eth0' }), ['near']);
  assert.deepEqual(hits({ interface: 'eth0' }), ['near']);
  assert.deepEqual(hits({ interface: 'eth1' }), []);
  assert.deepEqual(hits({ localAddress: '10.0.0.1' }), ['far']);
  assert.deepEqual(hits({ localAddress: '10.0.0.9' }), []);
  assert.deepEqual(hits({}), []);
});

test('our address on a path is that of the session that is there, before the configured one', () => {
  assert.equal(isOnPath({ localAddress: '10.0.0.7' }, far, '10.0.0.7'), true);
  assert.equal(isOnPath({ localAddress: '10.0.0.1' }, far, '10.0.0.7'), false);
});

test('what comes back concerns all when nothing is named', () => {
  const hits = (which: PathSelector): string[] =>
    [far, near].filter((config) => mayBeBack(which, config)).map(({ name }) => name);
  assert.deepEqual(hits({}), ['far', 'near']);
  assert.deepEqual(hits({ peer: 'near' }), ['near']);
  assert.deepEqual(hits({ address: '10.0.0.2' }), ['far']);
  assert.deepEqual(hits({ interface: 'eth0' }), ['near']);
  assert.deepEqual(hits({ interface: 'eth1' }), []);
});
