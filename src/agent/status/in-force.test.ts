import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createInForceTracker } from './in-force.ts';

test('a revision counts only after the apply that followed it', () => {
  const tracker = createInForceTracker();
  assert.deepEqual(tracker.inForce({ Pod: '10' }), {});
  const first = tracker.begin('policy', { Pod: '10' });
  assert.deepEqual(tracker.inForce({ Pod: '11' }), {});
  tracker.done('policy', first);
  assert.deepEqual(tracker.inForce({ Pod: '12' }), { Pod: '10' });
  const second = tracker.begin('policy', { Pod: '12' });
  assert.deepEqual(tracker.inForce({ Pod: '12' }), { Pod: '10' });
  tracker.done('policy', second);
  assert.deepEqual(tracker.inForce({ Pod: '12' }), { Pod: '12' });
});

test('a part that cannot write holds up the kinds that need it, and no others', () => {
  const tracker = createInForceTracker();
  const revisions = { Pod: '1', Node: '2', BGPPeer: '3', CalicoNodeStatus: '4' };
  tracker.begin('policy', revisions);
  tracker.done('routes', tracker.begin('routes', revisions));
  assert.deepEqual(tracker.inForce(revisions), { BGPPeer: '3', CalicoNodeStatus: '4' });
});

test('a kind that needs two parts is as far as the one behind', () => {
  const tracker = createInForceTracker();
  tracker.done('policy', tracker.begin('policy', { Node: '1' }));
  tracker.done('routes', tracker.begin('routes', { Node: '2' }));
  assert.deepEqual(tracker.inForce({ Node: '3' }), { Node: '1' });
  const policy = tracker.begin('policy', { Node: '3' });
  const routes = tracker.begin('routes', { Node: '3' });
  tracker.done('routes', routes);
  assert.deepEqual(tracker.inForce({ Node: '3' }), { Node: '1' });
  tracker.done('policy', policy);
  assert.deepEqual(tracker.inForce({ Node: '3' }), { Node: '3' });
});

test('answers out of order, twice, or to nothing move nothing back', () => {
  const tracker = createInForceTracker();
  const one = tracker.begin('policy', { Pod: '1' });
  const two = tracker.begin('policy', { Pod: '2' });
  tracker.done('policy', two);
  tracker.done('policy', one);
  tracker.done('policy', two);
  tracker.done('policy', 99);
  assert.deepEqual(tracker.inForce({ Pod: '9' }), { Pod: '2' });
});

test('a kind that came later has no revision before its own apply', () => {
  const tracker = createInForceTracker();
  tracker.done('policy', tracker.begin('policy', { Pod: '1' }));
  assert.deepEqual(tracker.inForce({ Pod: '1', NetworkPolicy: '5' }), { Pod: '1' });
});
