import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toIpAddress } from '#kit';
import { conditionsDiffer, withTransitionTimes } from './conditions.ts';
import type { NodeFacts } from './facts.ts';
import { datastoreStatus, nodeFacts, peerStatus, speakerStatus } from './fake-facts.ts';
import { nodeConditions, nodeConditionTypes } from './node-conditions.ts';
import { contentKey, EXCEPTIONS_MAX, poplinNodeContent, revisionKey, SESSIONS_MAX } from './poplin-node.ts';
import { createSinceKeeper } from './since.ts';

const since = (): string => '2026-01-01T00:00:00Z';
const contentOf = (extra: Partial<NodeFacts> = {}) => poplinNodeContent(nodeFacts(extra), since);
const conditionOf = (type: string, extra: Partial<NodeFacts>) =>
  nodeConditions(nodeFacts(extra)).find((each) => each.type === type)!;

test('a node that is well has every condition True', () => {
  const conditions = nodeConditions(nodeFacts());
  assert.deepEqual(
    conditions.map(({ type, status }) => [type, status]),
    nodeConditionTypes.map((type) => [type, 'True']),
  );
});

test('each thing that is wrong turns its condition, with a reason and the remedy', () => {
  const cases: readonly [string, string, Partial<NodeFacts>, RegExp][] = [
    ['Ready', 'ComponentNotReady', { ready: { ok: false, reasons: ['cni: waits'] } }, /cni: waits/],
    [
      'DatastoreInSync',
      'Forbidden',
      { datastore: datastoreStatus({ kinds: { CalicoNetworkPolicy: { state: 'forbidden', apiVersions: [] } } }) },
      /^NetworkPolicy\.projectcalico\.org may not be read: give .* get, list and watch/,
    ],
    [
      'DatastoreInSync',
      'ServerUnreachable',
      { datastore: datastoreStatus({ stale: { reason: 'refused', since: 'noon' } }) },
      /from disk, since noon: refused/,
    ],
    [
      'DatastoreInSync',
      'NotListedYet',
      { datastore: datastoreStatus({ inSync: false, waitingFor: ['Pod'] }) },
      /^Pod$/,
    ],
    [
      'DatastoreInSync',
      'WatchFailing',
      { datastore: datastoreStatus({ kinds: { Pod: { state: 'failing', apiVersions: ['v1'], reason: 'HTTP 500' } } }) },
      /Pod: HTTP 500/,
    ],
    [
      'PolicyInForce',
      'ApplyFailed',
      { policy: { ...nodeFacts().policy, failures: 2, lastError: 'xtables lock' } },
      /xtables lock/,
    ],
    [
      'PolicyInForce',
      'DatastoreNotInSync',
      { policy: { ...nodeFacts().policy, inSync: false } },
      /rules of an earlier run stay/,
    ],
    [
      'PolicyInForce',
      'PolicyNotExpressible',
      { policy: { ...nodeFacts().policy, policies: { known: 2, broken: 1, refused: [] } } },
      /1 policies/,
    ],
    ['RoutesInForce', 'Refused', { routes: { ...nodeFacts().routes, refused: 3 } }, /3 routes/],
    ['RoutesInForce', 'WaitingForEndOfRib', { routes: { ...nodeFacts().routes, stale: 3 } }, /End-of-RIB/],
    ['RoutesInForce', 'NextHopUnresolved', { routes: { ...nodeFacts().routes, unresolved: 1 } }, /next hop/],
    [
      'BGPEstablished',
      'SpeakerNotRunning',
      { bgp: { issues: [], heldDown: new Map(), startFailure: 'port 179 is taken' }, speaker: undefined as never },
      /port 179/,
    ],
    [
      'BGPEstablished',
      'NoneEstablished',
      { speaker: speakerStatus([peerStatus('peer/tor', { state: 'Active', lastError: 'ECONNREFUSED' })]) },
      /peer\/tor \(10.0.0.9\): ECONNREFUSED/,
    ],
    [
      'BGPEstablished',
      'SomeNotEstablished',
      {
        bgp: { issues: [], heldDown: new Map([['peer/b', 'make Secret x']]) },
        speaker: speakerStatus([peerStatus('peer/a'), peerStatus('peer/b', { state: 'Idle' })]),
      },
      /peer\/b \(10.0.0.9\): make Secret x/,
    ],
    ['AddressDetected', 'NodeMissing', { addresses: { rejected: [] }, nodeKnown: false }, /no Node n1/],
    [
      'AddressDetected',
      'NoAddress',
      {
        addresses: {
          rejected: [{ address: toIpAddress('10.9.9.9')!, interface: 'docker0', reason: 'is a bridge' }],
        },
      },
      /10.9.9.9 on docker0: is a bridge; annotate/,
    ],
    ['PodCIDRAssigned', 'NotAssigned', { podCIDRs: [] }, /--allocate-node-cidrs/],
  ];
  for (const [type, reason, extra, message] of cases) {
    const found = conditionOf(type, extra);
    assert.deepEqual([found.status, found.reason], ['False', reason], type);
    assert.match(found.message, message);
  }
});

test('before the Node is read nothing is said of it', () => {
  const unread = {
    nodeKnown: false,
    podCIDRs: [],
    addresses: { rejected: [] },
    datastore: datastoreStatus({ inSync: false }),
  };
  assert.equal(conditionOf('AddressDetected', unread).status, 'Unknown');
  assert.equal(conditionOf('PodCIDRAssigned', unread).status, 'Unknown');
});

test('no peer is well; a change under way is no failure', () => {
  assert.equal(conditionOf('BGPEstablished', { speaker: speakerStatus([]) }).reason, 'NoPeers');
  assert.equal(conditionOf('PolicyInForce', { policy: { ...nodeFacts().policy, applied: false } }).status, 'True');
  assert.equal(conditionOf('RoutesInForce', { routes: { ...nodeFacts().routes, pending: 5 } }).status, 'True');
});

test('times of transition stay while the status does', () => {
  const [at, later] = ['2026-01-01T00:00:00Z', '2026-01-01T01:00:00Z'];
  const first = withTransitionTimes(nodeConditions(nodeFacts()), [], at);
  const second = withTransitionTimes(nodeConditions(nodeFacts({ podCIDRs: [] })), first, later);
  const of = (type: string) => second.find((each) => each.type === type)!.lastTransitionTime;
  assert.equal(of('Ready'), at);
  assert.equal(of('PodCIDRAssigned'), later);
  assert.equal(conditionsDiffer(first, second), true);
  const reworded = second.map((each) => ({ ...each, message: 'other words' }));
  assert.equal(conditionsDiffer(second, reworded), false);
});

test('columns and counts say what a person looks for', () => {
  const content = contentOf();
  assert.deepEqual(content.summary, {
    ready: 'True',
    sessions: '2/2',
    pods: '3',
    routes: '3',
    policies: '2',
    version: '0.1.0',
    address: '10.0.0.1',
  });
  assert.deepEqual(content.kinds, [{ kind: 'Pod', apiVersions: ['v1'], state: 'synced', resourceVersion: '10' }]);
});

test('a thousand sessions: those that are down and those named by BGPPeers are listed first, the rest is counted', () => {
  const mesh = Array.from({ length: 1000 }, (_, i) => peerStatus(`mesh/n${i}`, i === 900 ? { state: 'Active' } : {}));
  const { bgp } = contentOf({ speaker: speakerStatus([...mesh, peerStatus('peer/tor')]) });
  assert.equal(bgp.sessions.length, SESSIONS_MAX);
  assert.deepEqual([bgp.established, bgp.configured], [1000, 1001]);
  assert.ok(bgp.sessions.some(({ name }) => name === 'mesh/n900'));
  assert.ok(bgp.sessions.some(({ name }) => name === 'peer/tor'));
});

test('a session that is kept down says NotConfigured and why', () => {
  const { bgp } = contentOf({
    bgp: { issues: [], heldDown: new Map([['peer/b', 'make Secret x']]) },
    speaker: speakerStatus([peerStatus('peer/b', { state: 'Idle', lastError: 'old' })]),
  });
  assert.deepEqual([bgp.sessions[0]!.state, bgp.sessions[0]!.lastError], ['NotConfigured', 'make Secret x']);
});

test('exceptions are bounded and counted', () => {
  const faults = Array.from({ length: 200 }, (_, i) => ({
    object: `NetworkPolicy default/p${i}`,
    field: 'spec',
    message: 'x'.repeat(2000),
    effect: 'kept',
    blocking: false,
    since: '2026-01-01T00:00:00Z',
  }));
  const content = contentOf({
    datastore: datastoreStatus({ faults, faultsTotal: 5000 }),
    bgp: {
      heldDown: new Map(),
      issues: [{ object: { kind: 'BGPPeer', name: 'tor' }, field: '', message: 'm', effect: 'unused' }],
    },
  });
  assert.equal(content.exceptions.length, EXCEPTIONS_MAX);
  assert.equal(content.exceptionsTotal, 5001);
  assert.ok(JSON.stringify(content).length < 150_000);
});

test('what is not worth a write: a peer that goes round while it is down, revisions alone', () => {
  const down = (state: 'Active' | 'Connect') =>
    contentOf({ speaker: speakerStatus([peerStatus('peer/tor', { state })]) });
  assert.equal(contentKey(down('Active')), contentKey(down('Connect')));
  const moved = contentOf({ inForce: { Pod: '11' } });
  assert.equal(contentKey(contentOf()), contentKey(moved));
  assert.notEqual(revisionKey(contentOf()), revisionKey(moved));
  assert.notEqual(contentKey(contentOf()), contentKey(contentOf({ podCIDRs: [] })));
});

test('since stands still while a peer is up, or down', () => {
  let now = Date.parse('2026-01-01T00:10:00Z');
  const keeper = createSinceKeeper(() => now);
  assert.equal(keeper.of(peerStatus('a', { stateForMs: 600_000 })), '2026-01-01T00:00:00Z');
  now += 60_500;
  assert.equal(keeper.of(peerStatus('a', { stateForMs: 660_000 })), '2026-01-01T00:00:00Z');
  const down = keeper.of(peerStatus('a', { state: 'Idle', stateForMs: 0 }));
  now += 5_000;
  assert.equal(keeper.of(peerStatus('a', { state: 'Connect', stateForMs: 100 })), down);
  assert.notEqual(keeper.of(peerStatus('a', { establishedCount: 2, stateForMs: 0 })), down);
  keeper.keep([]);
  assert.equal(keeper.of(peerStatus('a', { stateForMs: 0 })), '2026-01-01T00:11:05Z');
});
