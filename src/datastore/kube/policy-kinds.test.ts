/** Every kind of policy: followed where it is served, and what counts where one cannot be read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Logger, silentLogger } from '#kit';
import type { ClusterPolicyObject, Kind } from '#model';
import { refusal } from './fake-cluster.ts';
import { onceRead, policies, world } from './kube-world.ts';

test('kinds of the Network Policy API are followed where they are served, and nobody waits for them', async (t) => {
  const w = await world(t);
  await w.datastore.start();
  await w.pass();
  assert.equal(w.inSync(), 1);
  const of = (version: string, plural: string): string => `/apis/policy.networking.k8s.io/${version}/${plural}`;
  const served: readonly (readonly [Kind, string, string])[] = [
    ['ClusterNetworkPolicy', 'v1alpha2', 'clusternetworkpolicies'],
    ['AdminNetworkPolicy', 'v1alpha1', 'adminnetworkpolicies'],
    ['BaselineAdminNetworkPolicy', 'v1alpha1', 'baselineadminnetworkpolicies'],
  ];
  for (const [kind, version, plural] of served) {
    const apiVersion = `policy.networking.k8s.io/${version}`;
    const place = kind === 'ClusterNetworkPolicy' ? { tier: 'Admin', priority: 1 } : { priority: 1 };
    const spec = { ...(kind.startsWith('Baseline') ? {} : place), subject: { namespaces: {} } };
    w.cluster.serve(of(version, plural));
    w.cluster.put(of(version, plural), { apiVersion, kind, metadata: { name: 'default' }, spec });
  }
  await w.pass(40_000);
  assert.deepEqual(
    served.map(([kind]) => (w.get(kind, 'default') as ClusterPolicyObject | undefined)?.tier),
    ['Admin', 'Admin', 'Baseline'],
  );
  // Whom it is about cannot be read any more: as it was. A rule that cannot be read fails closed.
  const cnp = of('v1alpha2', 'clusternetworkpolicies');
  const change = (subject: object, egress: object[]): void =>
    w.cluster.put(cnp, { metadata: { name: 'default' }, spec: { tier: 'Admin', priority: 2, subject, egress } });
  change({ accounts: {} }, []);
  await w.pass();
  assert.equal(w.get('ClusterNetworkPolicy', 'default')?.priority, 1);
  assert.equal(w.datastore.status().faults[0]?.effect, 'the last good version stays in force');
  assert.equal(w.datastore.status().inSync, true);
  change({ namespaces: {} }, [{ action: 'Deny', to: [{ accounts: {} }] }]);
  await w.pass();
  assert.deepEqual(w.get('ClusterNetworkPolicy', 'default')?.egress[0]?.peers, [{ type: 'unknown' }]);
  assert.match(w.datastore.status().notUsed[0]?.message ?? '', /fails closed/);
  w.cluster.unserve(cnp);
  await w.pass(40_000);
  assert.equal(w.get('ClusterNetworkPolicy', 'default'), undefined);
});

test('a policy of any kind that becomes invalid: refused with field and reason, as it was in force, and no other is told of', async (t) => {
  const logged: unknown[] = [];
  const log: Logger = { ...silentLogger, warn: (fields) => void logged.push(fields), child: () => log };
  const w = await world(t, { log });
  const v3 = '/apis/projectcalico.org/v3';
  const upstream = '/apis/policy.networking.k8s.io';
  const admin = { tier: 'Admin', priority: 1, subject: { namespaces: {} } };
  const older = { priority: 1, subject: { namespaces: {} } };
  const selecting = { podSelector: {}, ingress: [{ from: [{ podSelector: {} }] }] };
  /** Kind, where it is served, a good spec, one that is not, the field that is wrong, and what is said of it. */
  const cases: readonly (readonly [Kind, string, object, object, string, RegExp])[] = [
    [
      'NetworkPolicy',
      policies,
      selecting,
      { ...selecting, ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/40' } }] }] },
      'spec.ingress[0].from[0].ipBlock.cidr',
      /"10.0.0.0\/40" is not a prefix/,
    ],
    [
      'ClusterNetworkPolicy',
      `${upstream}/v1alpha2/clusternetworkpolicies`,
      admin,
      { ...admin, priority: 5_000 },
      'spec.priority',
      /5000 is out of range/,
    ],
    [
      'AdminNetworkPolicy',
      `${upstream}/v1alpha1/adminnetworkpolicies`,
      older,
      { ...older, subject: { accounts: {} } },
      'spec.subject',
      /names nothing; write exactly one of/,
    ],
    [
      'BaselineAdminNetworkPolicy',
      `${upstream}/v1alpha1/baselineadminnetworkpolicies`,
      { subject: older.subject },
      { subject: { pods: { namespaceSelector: {} } } },
      'spec.subject.pods.podSelector',
      /is required/,
    ],
    ['CalicoNetworkPolicy', `${v3}/networkpolicies`, { order: 1 }, { selector: '(' }, 'spec.selector', /expected/],
    ['GlobalNetworkPolicy', `${v3}/globalnetworkpolicies`, {}, { order: 'first' }, 'spec.order', /is not a number/],
    ['Tier', `${v3}/tiers`, { order: 1 }, { defaultAction: 'Allow' }, 'spec.defaultAction', /one of Deny, Pass/],
    ['NetworkSet', `${v3}/networksets`, { nets: ['10.0.0.1'] }, { nets: ['10.0.0.1', 'x'] }, 'spec.nets[1]', /prefix/],
    ['GlobalNetworkSet', `${v3}/globalnetworksets`, { nets: ['10.0.0.1'] }, { nets: 5 }, 'spec.nets', /not a list/],
  ];
  const namespaced: readonly string[] = ['NetworkPolicy', 'CalicoNetworkPolicy', 'NetworkSet'];
  const metadata = (kind: Kind) => ({ name: 'default', ...(namespaced.includes(kind) && { namespace: 'x' }) });
  for (const [kind, path, good] of cases) {
    w.cluster.serve(path);
    // A baseline policy has one name only, the others take it too.
    w.cluster.put(path, { metadata: kind === 'Tier' ? { name: 'first' } : metadata(kind), spec: good });
  }
  await w.datastore.start();
  await w.pass();
  assert.equal(w.inSync(), 1);
  assert.deepEqual(w.datastore.status().faults, []);
  for (const [kind, path, good, bad, field, message] of cases) {
    const of = kind === 'Tier' ? { name: 'first' } : metadata(kind);
    const key = 'namespace' in of ? `${of.namespace}/${of.name}` : of.name;
    const before = w.get(kind, key);
    assert.ok(before, kind);
    const told = w.batches.length;
    w.cluster.put(path, { metadata: of, spec: bad });
    await w.pass();
    const { faults, inSync } = w.datastore.status();
    assert.deepEqual(
      faults.map((fault) => [fault.object, fault.field, fault.effect, fault.blocking]),
      [[`${kind} ${key}`, field, 'the last good version stays in force', false]],
    );
    assert.match(faults[0]!.message, message, kind);
    assert.match(JSON.stringify(logged.splice(0)).replaceAll('\\"', '"'), message, kind);
    assert.equal(inSync, true);
    assert.equal(w.get(kind, key), before);
    assert.equal(w.batches.length, told, 'nobody is told of anything');
    w.cluster.put(path, { metadata: of, spec: good });
    await w.pass();
    assert.deepEqual(w.datastore.status().faults, []);
  }
});

test('a cluster-wide policy whose subject was never readable denies those whom it can name, and nobody where it names nobody', async (t) => {
  const w = await world(t);
  await w.datastore.start();
  const cnp = '/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies';
  w.cluster.serve(cnp);
  const put = (name: string, namespaces: object): void => {
    const ingress = [{ action: 'Pass', from: [{ namespaces: {} }] }];
    const spec = { tier: 'Admin', priority: 1, subject: { namespaces }, ingress };
    w.cluster.put(cnp, { metadata: { name }, spec });
  };
  const matchExpressions = [{ key: 'a', operator: 'Within', values: ['b'] }];
  put('named', { matchLabels: { team: 'a' }, matchExpressions });
  put('nobody', { matchExpressions });
  await w.pass(40_000);
  const { subject, ingress, standIn } = w.get('ClusterNetworkPolicy', 'named')!;
  assert.deepEqual(subject.namespaceSelector, { matchLabels: { team: 'a' }, matchExpressions: [] });
  assert.deepEqual([ingress[0]?.action, standIn], ['Deny', true]);
  assert.equal(w.get('ClusterNetworkPolicy', 'nobody'), undefined);
  const { faults, inSync } = w.datastore.status();
  assert.equal(inSync, true);
  assert.deepEqual(
    faults.map(({ object, effect }) => [object, effect]),
    [
      [
        'ClusterNetworkPolicy named',
        'it was never valid: until it can be read, what it denies or passes is denied to all whom the readable part of its subject names',
      ],
      ['ClusterNetworkPolicy nobody', 'it was never valid: not in force'],
    ],
  );
  put('named', { matchLabels: { team: 'a' } });
  await w.pass();
  assert.deepEqual(w.get('ClusterNetworkPolicy', 'named')?.ingress[0]?.action, 'Pass');
});

test("Calico's policies are followed where they are served, under both of their names; Kubernetes' NetworkPolicy is another", async (t) => {
  const w = await world(t);
  const v3 = '/apis/projectcalico.org/v3';
  for (const plural of ['networkpolicies', 'globalnetworkpolicies', 'tiers', 'networksets', 'globalnetworksets']) {
    w.cluster.serve(`${v3}/${plural}`);
  }
  w.cluster.put(`${v3}/tiers`, { metadata: { name: 'first' }, spec: { order: 5, defaultAction: 'Pass' } });
  w.cluster.put(`${v3}/networkpolicies`, { metadata: { name: 'a', namespace: 'x' }, spec: { tier: 'first' } });
  w.cluster.put(`${v3}/globalnetworksets`, { metadata: { name: 's' }, spec: { nets: ['10.0.0.1'] } });
  const older = '/apis/crd.projectcalico.org/v1/globalnetworkpolicies';
  w.cluster.serve(older);
  const rules = [{ action: 'Deny', source: { services: { name: 'a' } } }];
  w.cluster.put(older, { metadata: { name: 'g' }, spec: { selector: "app == 'web'", ingress: rules } });
  await w.datastore.start();
  await w.pass();
  assert.equal(w.inSync(), 1);
  assert.equal(w.get('Tier', 'first')?.defaultAction, 'Pass');
  assert.equal(w.get('CalicoNetworkPolicy', 'x/a')?.tier, 'first');
  assert.equal(w.get('NetworkPolicy', 'x/a'), undefined);
  assert.deepEqual(w.get('GlobalNetworkSet', 's')?.nets, ['10.0.0.1/32']);
  assert.equal(w.get('GlobalNetworkPolicy', 'g')?.ingress[0]?.unknown, true);
  assert.match(w.datastore.status().notUsed[0]?.message ?? '', /fails closed: source.services.namespace/);
});

test('staged policies are followed where they are served; one that cannot be read holds nothing back', async (t) => {
  const w = await world(t);
  const v3 = '/apis/projectcalico.org/v3';
  const kinds = ['stagednetworkpolicies', 'stagedglobalnetworkpolicies', 'stagedkubernetesnetworkpolicies'];
  for (const plural of kinds) w.cluster.serve(`${v3}/${plural}`);
  w.cluster.put(`${v3}/stagednetworkpolicies`, { metadata: { name: 'a', namespace: 'x' }, spec: { tier: 'first' } });
  w.cluster.put(`${v3}/stagedglobalnetworkpolicies`, { metadata: { name: 'g' }, spec: { stagedAction: 'Delete' } });
  const kubernetes = `${v3}/stagedkubernetesnetworkpolicies`;
  w.cluster.put(kubernetes, { metadata: { name: 'k', namespace: 'x' }, spec: { podSelector: {}, ingress: [{}] } });
  w.cluster.put(kubernetes, { metadata: { name: 'later', namespace: 'x' }, spec: { podSelector: {}, because: 1 } });
  await w.datastore.start();
  await onceRead(w, () => w.inSync() > 0);
  assert.equal(w.inSync(), 1);
  const staged = w.get('StagedNetworkPolicy', 'x/a');
  assert.deepEqual([staged?.tier, staged?.stagedAction], ['first', 'Set']);
  assert.equal(w.get('StagedGlobalNetworkPolicy', 'g')?.stagedAction, 'Delete');
  assert.deepEqual(w.get('StagedKubernetesNetworkPolicy', 'x/k')?.ingress, [{ peers: [], ports: [] }]);
  assert.equal(w.get('StagedKubernetesNetworkPolicy', 'x/later'), undefined);
  const [fault] = w.datastore.status().faults;
  assert.deepEqual(
    [fault?.object, fault?.field, fault?.effect, fault?.blocking],
    ['StagedKubernetesNetworkPolicy x/later', 'spec.because', 'it was never valid: nothing is reported of it', false],
  );
});

test('staged policies that may not be listed are said so, and hold nothing back', async (t) => {
  const w = await world(t);
  const staged = '/apis/projectcalico.org/v3/stagednetworkpolicies';
  w.cluster.fault = ({ path }) => (path === staged ? refusal(403) : undefined);
  await w.datastore.start();
  await w.pass(60_000);
  assert.equal(w.inSync(), 1);
  const { kinds, inSync } = w.datastore.status();
  assert.deepEqual([inSync, kinds?.StagedNetworkPolicy?.state], [true, 'forbidden']);
  assert.match(kinds?.StagedNetworkPolicy?.reason ?? '', /list and watch on stagednetworkpolicies/);
});
