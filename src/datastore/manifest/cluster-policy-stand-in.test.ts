import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clusterPolicyStandIn } from './cluster-policy-stand-in.ts';

const bad = { key: 'tier', operator: 'Within', values: ['a'] };
const from = [{ namespaces: {} }];
const policy = (subject: object, extra: object = {}) => ({
  apiVersion: 'policy.networking.k8s.io/v1alpha2',
  kind: 'ClusterNetworkPolicy',
  metadata: { name: 'p' },
  spec: {
    tier: 'Admin',
    priority: 5,
    subject,
    ingress: [
      { action: 'Accept', from },
      { action: 'Pass', from, protocols: [{ tcp: { destinationPort: { number: 80 } } }] },
      { action: 'Deny', from: [{ accounts: {} }] },
    ],
    ...extra,
  },
});
const standIn = (subject: object, extra: object = {}) =>
  clusterPolicyStandIn('ClusterNetworkPolicy', policy(subject, extra));

test('what can be read of the subject bounds it; rules deny or are left out', () => {
  const found = standIn({
    pods: {
      namespaceSelector: { matchLabels: { team: 'a', 'not a key!': 'x' }, matchExpressions: [bad] },
      podSelector: { matchExpressions: [bad, { key: 'app', operator: 'Exists' }] },
    },
  });
  assert.deepEqual(found?.subject, {
    namespaceSelector: { matchLabels: { team: 'a' }, matchExpressions: [] },
    podSelector: { matchLabels: {}, matchExpressions: [{ key: 'app', operator: 'Exists', values: [] }] },
  });
  assert.equal(found?.standIn, true);
  assert.deepEqual(
    found?.ingress.map(({ action, peers, ports }) => [action, peers[0]?.type, ports.length]),
    [
      ['Deny', 'pods', 1],
      ['Deny', 'unknown', 0],
    ],
  );
});

test('a subject of which nothing names anybody closes nothing: it may have meant every pod', () => {
  for (const subject of [
    {},
    { accounts: { a: 'b' } },
    { namespaces: { matchLabels: { a: 'b' } }, accounts: {} },
    { namespaces: { matchExpressions: [bad] } },
    { namespaces: { matchExpressions: [bad, { key: 'a', operator: 'NotIn', values: ['b'] }] } },
    { namespaces: 'all' },
  ])
    assert.equal(standIn(subject), undefined, JSON.stringify(subject));
});

test('nothing stands in for what is wrong elsewhere, nor for other kinds', () => {
  const subject = { namespaces: { matchLabels: { a: 'b' }, matchExpressions: [bad] } };
  assert.ok(standIn(subject));
  assert.equal(standIn(subject, { priority: 5_000 }), undefined);
  assert.equal(clusterPolicyStandIn('NetworkPolicy', policy(subject)), undefined);
  assert.equal(clusterPolicyStandIn('ClusterNetworkPolicy', undefined), undefined);
});
