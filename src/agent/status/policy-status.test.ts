import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PolicyDataplaneStatus } from '#felix';
import type { Kind } from '#model';
import { clusterEvents } from './cluster-events.ts';
import { type NodeReport, nodeReport } from './cluster-report.ts';
import { type ApiObject, type ClusterInput, clusterStatuses } from './cluster-status.ts';
import { nodeFacts } from './fake-facts.ts';
import { GenerationBook } from './generation-book.ts';
import { poplinNodeContent } from './poplin-node.ts';

const policy = (extra: Partial<ApiObject['metadata']> = {}, status?: ApiObject['status']): ApiObject => ({
  metadata: { name: 'tenants', uid: 'u', generation: 2, resourceVersion: '100', ...extra },
  ...(status ? { status } : {}),
});
/** What a node writes of itself, as another reads it. */
function report(node: string, revision: string | undefined, refused: string[] = [], lastError?: string): NodeReport {
  const facts = nodeFacts();
  const status = poplinNodeContent(
    {
      ...facts,
      datastore: {
        ...facts.datastore,
        kinds: { ClusterNetworkPolicy: { state: 'synced', apiVersions: ['policy.networking.k8s.io/v1alpha2'] } },
      },
      inForce: revision === undefined ? {} : { ClusterNetworkPolicy: revision },
      policy: {
        ...facts.policy,
        lastError,
        policies: {
          known: 2,
          broken: refused.length,
          refused: refused.map((id) => ({ id, direction: 'egress', reason: 'ports with protocol any' })),
        },
      },
    },
    () => '2026-01-01T00:00:00Z',
  );
  return nodeReport(JSON.parse(JSON.stringify({ metadata: { name: node }, status })))!;
}
const input = (reports: NodeReport[], extra: Partial<ClusterInput> = {}): ClusterInput => ({
  objects: { ClusterNetworkPolicy: [policy()] },
  reports,
  faults: [],
  notUsed: [],
  serviceCIDRs: [],
  since: new Map([['ClusterNetworkPolicy tenants', '100']]),
  ...extra,
});
const conditions = (given: ClusterInput) =>
  Object.fromEntries(
    clusterStatuses(given)[0]!.conditions.map(({ type, status, reason, message }) => [type, [status, reason, message]]),
  );

test('InForce says on how many nodes the generation holds, and what the others are waiting for', () => {
  assert.deepEqual(conditions(input([report('n1', '100'), report('n2', '1000')])), {
    Accepted: ['True', 'Accepted', 'understood and in force'],
    InForce: ['True', 'InForceOnAllNodes', 'generation 2 is in force on 2 of 2 nodes'],
  });
  const late = input([report('n1', '100'), report('n2', '99'), report('n3', undefined, [], 'iptables is not there')]);
  assert.deepEqual(conditions(late)['InForce'], [
    'False',
    'NotYetOnAllNodes',
    'generation 2 is in force on 1 of 3 nodes; not yet in the kernel (on n2); iptables is not there (on n3)',
  ]);
  assert.deepEqual(conditions(input([]))['InForce']!.slice(0, 2), ['Unknown', 'NoNodeReports']);
});

test('what nodes refuse is named with them, in the status and in an Event', () => {
  const given = input([
    report('n1', '100', ['ClusterNetworkPolicy:tenants', 'NetworkPolicy:web/a', 'CalicoNetworkPolicy:web/a']),
    report('n2', '100', ['ClusterNetworkPolicy:other']),
  ]);
  const text =
    'generation 2 is in force on 1 of 2 nodes; spec.egress: ports with protocol any (all that it decides is denied on this node) (on n1)';
  assert.deepEqual(conditions(given)['InForce'], ['False', 'RefusedByNodes', text]);
  assert.deepEqual(
    clusterEvents(clusterStatuses(given), [], given.reports).map(({ regarding, reason, action, note }) => [
      regarding,
      reason,
      action,
      note,
    ]),
    [
      [
        {
          apiVersion: 'policy.networking.k8s.io/v1alpha2',
          kind: 'ClusterNetworkPolicy',
          name: 'tenants',
          uid: 'u',
        },
        'RefusedByNodes',
        'DeniedInstead',
        text,
      ],
      [
        { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', namespace: 'web', name: 'a' },
        'RefusedByNodes',
        'DeniedInstead',
        'spec.egress: ports with protocol any (all that it decides is denied on this node) (on n1)',
      ],
      [
        { apiVersion: 'projectcalico.org/v3', kind: 'NetworkPolicy', namespace: 'web', name: 'a' },
        'RefusedByNodes',
        'DeniedInstead',
        'spec.egress: ports with protocol any (all that it decides is denied on this node) (on n1)',
      ],
    ],
  );
});

test('an object that cannot be read is in force nowhere; rules that fail closed are named', () => {
  const object = 'ClusterNetworkPolicy tenants';
  const fault = { object, field: 'spec.subject', message: 'names nothing', effect: 'not in force', blocking: false };
  const unread = conditions(input([report('n1', '100')], { faults: [{ ...fault, since: 'now' }] }));
  const text = 'spec.subject: names nothing (not in force)';
  assert.deepEqual(unread, {
    Accepted: ['False', 'Invalid', text],
    InForce: ['False', 'Invalid', `generation 2 is in force on no node: ${text}`],
  });
  const notUsed = [{ object, field: 'spec.egress[0].to[0]', message: 'cannot be read, and the rule fails closed: x' }];
  const closed = conditions(input([report('n1', '100')], { notUsed }));
  assert.deepEqual(closed['Accepted']!.slice(0, 2), ['True', 'InForceInPart']);
  assert.match(closed['Accepted']![2]!, /^spec\.egress\[0\]\.to\[0\]: cannot be read, and the rule fails closed/);
  assert.equal(closed['InForce']![0], 'True');
});

test('a generation counts from when it was first seen, whatever moves the object afterwards', () => {
  const book = new GenerationBook();
  const note = (...objects: ApiObject[]): string | undefined =>
    book.note({ ClusterNetworkPolicy: objects }).get('ClusterNetworkPolicy tenants');
  assert.equal(note(policy()), '100');
  assert.equal(note(policy({ resourceVersion: '120' })), '100', 'a status was written');
  assert.equal(note(policy({ resourceVersion: '130', generation: 3 })), '130');
  assert.equal(note(policy({ resourceVersion: '140', generation: 3, uid: 'another' })), '140');
  assert.equal(note(), undefined);
  // Somebody else has found it in force everywhere; a newer generation is another matter.
  const stands = (observedGeneration: number) => ({
    conditions: [{ type: 'InForce', status: 'True', observedGeneration }],
  });
  assert.equal(note(policy({ resourceVersion: '150' }, stands(2))), '');
  book.forget();
  assert.equal(note(policy({ resourceVersion: '160', generation: 3 }, stands(2))), '160');
});

test("Calico's kinds have it too, by namespace where they stand in one, as their API calls them", () => {
  const named = (name: string, namespace?: string): ApiObject => policy({ name, ...(namespace ? { namespace } : {}) });
  const objects = {
    CalicoNetworkPolicy: [named('a', 'shop'), named('a', 'web')],
    GlobalNetworkPolicy: [named('a')],
    Tier: [named('first')],
    NetworkSet: [named('far', 'shop')],
    GlobalNetworkSet: [named('far')],
  };
  const since = new GenerationBook().note(objects);
  assert.deepEqual(
    [...since].map(([ref, revision]) => `${ref} ${revision}`),
    [
      'CalicoNetworkPolicy shop/a 100',
      'CalicoNetworkPolicy web/a 100',
      'GlobalNetworkPolicy a 100',
      'Tier first 100',
      'NetworkSet shop/far 100',
      'GlobalNetworkSet far 100',
    ],
  );
  const facts = nodeFacts();
  const kinds = ['CalicoNetworkPolicy', 'GlobalNetworkPolicy', 'Tier', 'NetworkSet', 'GlobalNetworkSet'] as const;
  const status = poplinNodeContent(
    {
      ...facts,
      datastore: {
        ...facts.datastore,
        kinds: Object.fromEntries(
          kinds.map((kind) => [kind, { state: 'synced' as const, apiVersions: ['projectcalico.org/v3'] }]),
        ),
      },
      inForce: { ...Object.fromEntries(kinds.map((kind) => [kind, '100'])), NetworkSet: '99' },
      policy: {
        ...facts.policy,
        policies: {
          known: 2,
          broken: 1,
          refused: [{ id: 'CalicoNetworkPolicy:web/a', direction: 'egress', reason: 'too much' }],
        },
      },
    },
    () => '2026-01-01T00:00:00Z',
  );
  const reports = [nodeReport(JSON.parse(JSON.stringify({ metadata: { name: 'n1' }, status })))!];
  const notUsed = [
    {
      object: 'CalicoNetworkPolicy shop/a',
      field: 'spec.ingress[0]',
      message: 'cannot be read, and the rule fails closed: x',
    },
  ];
  const given = input(reports, { objects, since, notUsed });
  const statuses = clusterStatuses(given);
  assert.deepEqual(
    statuses.map(({ kind, object, conditions: list }) =>
      [kind, object.metadata.namespace ?? '', ...list.map(({ reason }) => reason)].join(' '),
    ),
    [
      'CalicoNetworkPolicy shop InForceInPart InForceOnAllNodes FieldsWithoutEffect',
      'CalicoNetworkPolicy web Accepted RefusedByNodes',
      'GlobalNetworkPolicy  Accepted InForceOnAllNodes',
      'Tier  Accepted InForceOnAllNodes',
      'NetworkSet shop Accepted NotYetOnAllNodes',
      'GlobalNetworkSet  Accepted InForceOnAllNodes',
    ],
  );
  const [event, ...more] = clusterEvents(statuses, [], reports);
  assert.deepEqual(more, []);
  assert.deepEqual(event?.regarding, {
    apiVersion: 'projectcalico.org/v3',
    kind: 'NetworkPolicy',
    name: 'a',
    namespace: 'web',
    uid: 'u',
  });
});

/** What a node writes of itself as it stands at `revision` of every kind. */
function reportOf(
  node: string,
  kind: Kind,
  revision: string,
  refused: PolicyDataplaneStatus['hostEndpoints']['refused'] = [],
): NodeReport {
  const facts = nodeFacts();
  const status = poplinNodeContent(
    {
      ...facts,
      datastore: { ...facts.datastore, kinds: { [kind]: { state: 'synced', apiVersions: ['projectcalico.org/v3'] } } },
      inForce: { [kind]: revision },
      policy: { ...facts.policy, hostEndpoints: { programmed: 0, refused } },
    },
    () => '2026-01-01T00:00:00Z',
  );
  return nodeReport(JSON.parse(JSON.stringify({ metadata: { name: node }, status })))!;
}

test('a host endpoint is in force on its node, or not there and why; other nodes have nothing to do with it', () => {
  const endpoint: ApiObject = { ...policy({ name: 'up' }), spec: { node: 'n1' } };
  const given = (...reports: NodeReport[]): ClusterInput =>
    input(reports, { objects: { HostEndpoint: [endpoint] }, since: new Map([['HostEndpoint up', '100']]) });
  const other = reportOf('n2', 'HostEndpoint', '1');
  const inForce = (...reports: NodeReport[]) => conditions(given(...reports))['InForce'];
  assert.deepEqual(inForce(reportOf('n1', 'HostEndpoint', '100'), other), [
    'True',
    'InForceOnAllNodes',
    'generation 2 is in force on 1 of 1 nodes',
  ]);
  assert.equal(inForce(reportOf('n1', 'HostEndpoint', '99'), other)?.[1], 'NotYetOnAllNodes');
  assert.deepEqual(inForce(other)?.slice(0, 2), ['Unknown', 'NoNodeReports']);
  const refusing = given(
    reportOf('n1', 'HostEndpoint', '100', [
      { id: 'HostEndpoint:up', reason: 'no interface has any of its expectedIPs' },
    ]),
    other,
  );
  const text =
    'generation 2 is in force on 0 of 1 nodes; no interface has any of its expectedIPs (it is not in force on this node) (on n1)';
  assert.deepEqual(conditions(refusing)['InForce'], ['False', 'RefusedByNodes', text]);
  const events = clusterEvents(clusterStatuses(refusing), [], refusing.reports);
  assert.deepEqual(
    events.map(({ regarding, reason, action }) => [regarding.kind, reason, action]),
    [['HostEndpoint', 'RefusedByNodes', 'LeftOut']],
  );
});

test('a staged policy is never said to be in force, but on how many nodes it is reported on', () => {
  const object = policy({ namespace: 'shop' });
  for (const kind of ['StagedNetworkPolicy', 'StagedGlobalNetworkPolicy', 'StagedKubernetesNetworkPolicy'] as const) {
    const since = new Map([[`${kind} shop/tenants`, '100']]);
    const given = input([reportOf('n1', kind, '100'), reportOf('n2', kind, '99')], {
      objects: { [kind]: [object] },
      since,
    });
    assert.deepEqual(conditions(given), {
      Accepted: ['True', 'Accepted', 'understood'],
      Staged: ['False', 'NotYetOnAllNodes', 'generation 2 is reported on 1 of 2 nodes; not yet calculated (on n2)'],
    });
    const everywhere = conditions(input([reportOf('n1', kind, '100')], { objects: { [kind]: [object] }, since }));
    assert.deepEqual(everywhere['Staged']?.slice(0, 2), ['True', 'StagedOnAllNodes']);
  }
});
