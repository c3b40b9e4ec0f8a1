import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DatastoreFault } from '#datastore';
import { type Cidr, toCidr } from '#kit';
import { clusterEvents } from './cluster-events.ts';
import { byNodes, type NodeReport, nodeReport } from './cluster-report.ts';
import { type ApiObject, type ClusterInput, clusterStatuses, type StatusKind } from './cluster-status.ts';
import { nextStatus } from './cluster-writer.ts';
import type { Condition } from './conditions.ts';
import { nodeFacts, peerStatus, speakerStatus } from './fake-facts.ts';
import { poplinNodeContent } from './poplin-node.ts';

const object = (
  name: string,
  spec: Record<string, unknown> = {},
  more: Partial<ApiObject['metadata']> = {},
): ApiObject => ({
  metadata: { name, generation: 1, resourceVersion: '1', ...more },
  spec,
});
const report = (node: string, extra: Partial<NodeReport> = {}): NodeReport => ({
  node,
  sessions: [],
  issues: [],
  refusals: [],
  revisions: new Map(),
  ...extra,
});
const session = (peer: string, state: string, lastError = '') => ({ peer, address: '10.0.0.9', state, lastError });
const input = (extra: Partial<ClusterInput>): ClusterInput => ({
  objects: {},
  reports: [],
  faults: [],
  notUsed: [],
  serviceCIDRs: [],
  since: new Map(),
  ...extra,
});
const conditionOf = (given: ClusterInput, kind: StatusKind, name: string, type: string) =>
  clusterStatuses(given)
    .find((each) => each.kind === kind && each.object.metadata.name === name)!
    .conditions.find((each) => each.type === type);
const fault = (ref: string): DatastoreFault => ({
  object: ref,
  field: 'spec.asNumber',
  message: '0 is reserved; write 1..4294967295',
  effect: 'the last good version stays in force',
  blocking: false,
  since: '2026-01-01T00:00:00Z',
});

test('BGPPeer: established on how many nodes, and why not on the others', () => {
  const objects = { BGPPeer: [object('tor')] };
  const of = (...reports: NodeReport[]) => conditionOf(input({ objects, reports }), 'BGPPeer', 'tor', 'Established')!;
  const up = (node: string) => report(node, { sessions: [session('tor', 'Established')] });
  assert.deepEqual([of().status, of().reason], ['Unknown', 'NoSession']);
  assert.deepEqual([of(up('n1'), up('n2')).status, of(up('n1'), up('n2')).reason], ['True', 'AllEstablished']);
  const refused = of(up('n1'), report('n2', { sessions: [session('tor', 'Active', 'ECONNREFUSED')] }));
  assert.equal(refused.reason, 'SomeNotEstablished');
  assert.match(
    refused.message,
    /^1 of 2 sessions on 2 nodes are Established; 10.0.0.9 Active: ECONNREFUSED \(on n2\)$/,
  );
  const held = of(
    report('n1', { sessions: [session('tor', 'NotConfigured', 'Secret x is missing')] }),
    report('n2', { sessions: [session('tor', 'Idle')] }),
  );
  assert.deepEqual([held.status, held.reason], ['False', 'PasswordMissing']);
  assert.match(held.message, /NotConfigured: Secret x is missing \(on n1\); 10.0.0.9 Idle \(on n2\)/);
});

test('BGPPeer with a range that is held down: why, though there is no session to say so', () => {
  const objects = { BGPPeer: [object('tor')] };
  const of = (field: string, message: string) => {
    const issue = { object: 'BGPPeer tor', field, message, effect: 'heldDown' as const };
    const reports = [report('n1', { issues: [issue] }), report('n2')];
    const {
      status,
      reason,
      message: text,
    } = conditionOf(input({ objects, reports }), 'BGPPeer', 'tor', 'Established')!;
    return [status, reason, text];
  };
  const text = 'Secret x is not there';
  assert.deepEqual(of('spec.password', text), ['False', 'PasswordMissing', `spec.password: ${text} (on n1)`]);
  assert.equal(of('spec.tcpAO', 'the kernel has no TCP-AO')[1], 'HeldDown');
});

test('sessions of another object whose name begins alike do not count', () => {
  const reports = [report('n1', { sessions: [session('tor-2', 'Established')] })];
  const found = conditionOf(
    input({ objects: { BGPPeer: [object('tor')] }, reports }),
    'BGPPeer',
    'tor',
    'Established',
  )!;
  assert.equal(found.reason, 'NoSession');
});

test('Accepted says what is invalid, left out or in force in part, with object, field and remedy', () => {
  const objects = { BGPPeer: [object('tor')] };
  const accepted = (extra: Partial<ClusterInput>) =>
    conditionOf(input({ objects, ...extra }), 'BGPPeer', 'tor', 'Accepted')!;
  const issue = (effect: 'unused' | 'partial') => ({
    object: 'BGPPeer tor',
    field: 'spec.filters',
    message: 'BGPFilter x is not there',
    effect,
  });
  assert.equal(accepted({}).status, 'True');
  assert.deepEqual(
    [accepted({ faults: [fault('BGPPeer tor')] }).status, accepted({ faults: [fault('BGPPeer tor')] }).reason],
    ['False', 'Invalid'],
  );
  assert.match(accepted({ faults: [fault('BGPPeer tor')] }).message, /spec.asNumber: 0 is reserved.*last good/);
  const left = accepted({ reports: [report('n1', { issues: [issue('unused')] }), report('n2')] });
  assert.deepEqual([left.status, left.reason], ['False', 'NotUsed']);
  assert.match(left.message, /spec.filters: BGPFilter x is not there \(on n1\)/);
  const part = accepted({ reports: [report('n1', { issues: [issue('partial')] })] });
  assert.deepEqual([part.status, part.reason], ['True', 'InForceInPart']);
});

test('BGPFilter: applied in full, not at all, or without some fields', () => {
  const objects = { BGPFilter: [object('f')], BGPPeer: [object('tor', { filters: ['f'] })] };
  const applied = (extra: Partial<ClusterInput>) =>
    conditionOf(input({ objects, ...extra }), 'BGPFilter', 'f', 'Applied')!;
  assert.deepEqual([applied({}).status, applied({}).reason], ['True', 'AppliedInFull']);
  assert.equal(applied({ objects: { BGPFilter: [object('f')] } }).reason, 'NotReferenced');
  const issues = [
    { object: 'BGPFilter f', field: 'spec.exportV4[0].communities', message: 'not yet', effect: 'partial' as const },
  ];
  const found = applied({ reports: [report('n1', { issues })] });
  assert.deepEqual([found.status, found.reason], ['False', 'FieldsNotApplied']);
  assert.match(found.message, /spec.exportV4\[0\].communities: not yet/);
});

test('IPPool: the later of two that overlap, and one among Services, is not accepted', () => {
  const pools = [
    object('b', { cidr: '10.0.0.0/16' }, { creationTimestamp: '2026-01-01T00:00:00Z' }),
    object('a', { cidr: '10.0.8.0/24' }, { creationTimestamp: '2026-01-02T00:00:00Z' }),
    object('six', { cidr: 'fd00::/48' }),
    object('off', { cidr: '10.2.0.0/16', disabled: true }),
  ];
  const given = input({ objects: { IPPool: pools }, serviceCIDRs: [toCidr('fd00::/112')!] });
  const of = (name: string, type: string) => conditionOf(given, 'IPPool', name, type)!;
  assert.equal(of('b', 'Accepted').status, 'True');
  assert.deepEqual([of('a', 'Accepted').reason, of('a', 'Allocatable').reason], ['CIDROverlap', 'CIDROverlap']);
  assert.match(
    of('a', 'Accepted').message,
    /10.0.8.0\/24 overlaps 10.0.0.0\/16 of IPPool b.*delete one, and make it anew/,
  );
  assert.equal(of('six', 'Accepted').reason, 'InServiceRange');
  assert.deepEqual([of('off', 'Accepted').status, of('off', 'Allocatable').reason], ['True', 'PoolDisabled']);
  const reversed = input({ objects: { IPPool: pools.toReversed() }, serviceCIDRs: given.serviceCIDRs as Cidr[] });
  const names = (statuses: ReturnType<typeof clusterStatuses>) =>
    statuses.map((each) => [each.object.metadata.name, each.conditions]).sort();
  assert.deepEqual(names(clusterStatuses(reversed)), names(clusterStatuses(given)));
});

test('fields without effect are named, and the condition is there only then', () => {
  const objects = { FelixConfiguration: [object('default')] };
  const note = (field: string) => ({ object: 'FelixConfiguration default', field, message: 'm' });
  const of = (notUsed: ClusterInput['notUsed']) =>
    conditionOf(input({ objects, notUsed }), 'FelixConfiguration', 'default', 'FieldsNotUsed');
  assert.equal(of([]), undefined);
  assert.equal(
    of([note('spec.bpfEnabled'), note('spec.awsSrcDstCheck')])!.message,
    'spec.awsSrcDstCheck, spec.bpfEnabled',
  );
});

test('what nodes write is what the summing-up agent reads', () => {
  const facts = nodeFacts({
    speaker: speakerStatus([
      peerStatus('mesh/n2'),
      peerStatus('peer/tor', { state: 'Idle' }),
      peerStatus('peer/rack/n3', { address: '10.0.0.3' }),
    ]),
    bgp: {
      issues: [
        { object: { kind: 'BGPPeer', name: 'tor' }, field: 'spec.password', message: 'Secret x', effect: 'heldDown' },
      ],
      heldDown: new Map([['peer/tor', 'Secret x']]),
    },
  });
  const status = poplinNodeContent(facts, () => '2026-01-01T00:00:00Z');
  const read = nodeReport(JSON.parse(JSON.stringify({ metadata: { name: 'n1' }, status })));
  assert.deepEqual(read, {
    node: 'n1',
    sessions: [
      { peer: 'tor', address: '10.0.0.9', state: 'NotConfigured', lastError: 'Secret x' },
      { peer: 'rack', address: '10.0.0.3', state: 'Established', lastError: '' },
    ],
    issues: [{ object: 'BGPPeer tor', field: 'spec.password', message: 'Secret x', effect: 'heldDown' }],
    refusals: [],
    revisions: new Map(),
  });
});

test('reports that are none, or of an agent that stopped, do not count', () => {
  assert.equal(nodeReport({}), undefined);
  assert.equal(nodeReport({ metadata: { name: 'n1' } }), undefined);
  assert.deepEqual(nodeReport({ metadata: { name: 'n1' }, status: { bgp: 7, exceptions: [null, 3] } }), report('n1'));
  const conditions = [{ type: 'Ready', status: 'False', reason: 'AgentStopped' }];
  assert.equal(nodeReport({ metadata: { name: 'n1' }, status: { conditions } }), undefined);
});

test('a text that many nodes say stands once', () => {
  const nodes = Array.from({ length: 50 }, (_, i) => `n${i}`);
  assert.equal(
    byNodes(
      nodes.map((node) => [node, 'same'] as const),
      50,
    ),
    'same',
  );
  assert.match(
    byNodes(
      nodes.slice(1).map((node) => [node, 'same'] as const),
      50,
    ),
    /^same \(on n1, .* and 44 more\)$/,
  );
  assert.match(
    byNodes(
      nodes.map((node) => [node, `why ${node}`] as const),
      50,
    ),
    /and 46 more$/,
  );
});

test('nothing is written when it stands there, times stay, and conditions of others too', () => {
  const at = '2026-02-02T00:00:00Z';
  const stands: Condition[] = [
    { type: 'Foreign', status: 'True', reason: 'X', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' },
    {
      type: 'Accepted',
      status: 'True',
      reason: 'Accepted',
      message: 'm',
      observedGeneration: 3,
      lastTransitionTime: '2026-01-01T00:00:00Z',
    },
  ];
  const thing: ApiObject = {
    metadata: { name: 'x', generation: 3 },
    status: { observedGeneration: 3, conditions: stands },
  };
  const now = { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'm' } as const;
  const next = (object: ApiObject, condition: Omit<Condition, 'lastTransitionTime'>) =>
    nextStatus({ kind: 'BGPPeer', object, conditions: [condition] }, at);
  assert.equal(next(thing, now), undefined);
  const reworded = next(thing, { ...now, message: 'other' })!;
  assert.deepEqual(
    reworded.conditions.map(({ type, lastTransitionTime }) => [type, lastTransitionTime]),
    [
      ['Foreign', '2026-01-01T00:00:00Z'],
      ['Accepted', '2026-01-01T00:00:00Z'],
    ],
  );
  assert.equal(next(thing, { ...now, status: 'False' })!.conditions[1]!.lastTransitionTime, at);
  const changed = next({ ...thing, metadata: { name: 'x', generation: 4 } }, now)!;
  assert.deepEqual([changed.observedGeneration, changed.conditions[1]!.observedGeneration], [4, 4]);
});

test('Events name what somebody must mend, once each', () => {
  const pools = [object('a', { cidr: '10.0.0.0/16' }), object('b', { cidr: '10.0.0.0/24' }, { uid: 'u' })];
  const faults = [fault('NetworkPolicy web/deny'), fault('CalicoNetworkPolicy web/tiered'), fault('BGPPeer tor')];
  const given = input({ objects: { IPPool: pools, BGPPeer: [object('tor')] }, faults });
  const events = clusterEvents(clusterStatuses(given), faults, []);
  assert.deepEqual(
    events.map(({ regarding, reason }) => [regarding.kind, regarding.namespace, regarding.name, reason]),
    [
      ['BGPPeer', undefined, 'tor', 'Invalid'],
      ['IPPool', undefined, 'b', 'CIDROverlap'],
      ['NetworkPolicy', 'web', 'deny', 'Invalid'],
      ['NetworkPolicy', 'web', 'tiered', 'Invalid'],
    ],
  );
  assert.equal(events[1]!.regarding.uid, 'u');
  assert.match(events[2]!.note, /spec.asNumber: 0 is reserved.*\(the last good version stays in force\)/);
});
