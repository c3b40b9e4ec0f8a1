import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { FakeClock, type Logger, silentLogger } from '#kit';
import type { ClusterPolicyObject, Kind, ModelObjects, ModelUpdate } from '#model';
import { KubeError } from './client.ts';
import { event, FakeCluster, type FakeObject, refusal, tooLarge } from './fake-cluster.ts';
import { createKubeDatastore, type KubeDatastore } from './kube-datastore.ts';
import { compareResourceVersions } from './resource-version.ts';

const pods = '/api/v1/pods';
const namespaces = '/api/v1/namespaces';
const policies = '/apis/networking.k8s.io/v1/networkpolicies';
const nodes = '/api/v1/nodes';
const peers = '/apis/projectcalico.org/v3/bgppeers';
const oldPeers = '/apis/crd.projectcalico.org/v1/bgppeers';

function pod(name: string, version: string | number): FakeObject {
  return { metadata: { name, namespace: 'web', labels: { version: `${version}` } }, spec: {}, status: {} };
}
function policy(name: string, port: number): FakeObject {
  const spec = { podSelector: {}, ingress: [{ ports: [{ port }] }] };
  return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { name, namespace: 'web' }, spec };
}
function peer(apiVersion: string, name: string, more: object = {}): FakeObject {
  return { apiVersion, kind: 'BGPPeer', metadata: { name }, spec: { peerIP: '192.0.2.1', asNumber: 65001, ...more } };
}

interface World {
  readonly cluster: FakeCluster;
  readonly clock: FakeClock;
  readonly stateDir: string;
  readonly batches: (readonly ModelUpdate[])[];
  readonly datastore: KubeDatastore;
  inSync(): number;
  get<K extends Kind>(kind: K, key: string): ModelObjects[K] | undefined;
  /** Version labels of the pods that were told. */
  pods(): Record<string, string | undefined>;
  /** Lets everything that is due happen, and `ms` go by in steps. */
  pass(ms?: number): Promise<void>;
  requestsTo(path: string): readonly Record<string, unknown>[];
}

/** A datastore over a cluster in memory, in time that moves when told to. */
async function world(
  t: Pick<TestContext, 'after'>,
  before: Partial<World> & { readonly log?: Logger } = {},
): Promise<World> {
  const cluster = before.cluster ?? new FakeCluster();
  cluster.serve(pods, namespaces, policies, nodes);
  if (cluster.objects(namespaces).length === 0) {
    cluster.put(namespaces, { metadata: { name: 'kube-system', uid: 'cluster-1' } });
  }
  const clock = new FakeClock();
  const stateDir = before.stateDir ?? fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-kube-state-'));
  const datastore = createKubeDatastore(
    { log: before.log ?? silentLogger, clock, random: () => 0.5, connection: cluster },
    { namespace: 'poplin-system', stateDir },
  );
  const model = new Map<string, unknown>();
  const batches: (readonly ModelUpdate[])[] = [];
  let inSync = 0;
  datastore.onUpdates((batch) => {
    assert.ok(batch.length > 0);
    batches.push(batch);
    for (const update of batch) {
      if (update.type === 'upsert') model.set(`${update.kind} ${update.key}`, update.object);
      else assert.ok(model.delete(`${update.kind} ${update.key}`), `${update.key} is there to be deleted`);
    }
  });
  datastore.onInSync(() => {
    inSync++;
  });
  t.after(async () => {
    await datastore.stop();
    fs.rmSync(stateDir, { recursive: true, force: true });
  });
  const self: World = {
    cluster,
    clock,
    stateDir,
    batches,
    datastore,
    inSync: () => inSync,
    get: (kind, key) => model.get(`${kind} ${key}`) as never,
    pods: () => {
      const found = [...model].filter(([ref]) => ref.startsWith('Pod ')).sort(([a], [b]) => (a < b ? -1 : 1));
      return Object.fromEntries(
        found.map(([ref, object]) => [ref.slice(8), (object as ModelObjects['Pod']).metadata.labels['version']]),
      );
    },
    pass: async (ms = 100) => {
      for (let passed = 0; passed <= ms; passed += 50) {
        for (let i = 0; i < 12; i++) await turn();
        clock.advance(50);
      }
      for (let i = 0; i < 12; i++) await turn();
    },
    requestsTo: (path) => cluster.requests.filter((request) => request.path === path).map(({ query }) => query),
  };
  return self;
}

/** What is on disk is read in real time, beside a clock that moves when told to: turns of the loop until it has taken effect. */
async function onceRead(w: World, effect: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!effect() && performance.now() < end) await w.pass(0);
}

test('lists stream, watches go on from there, and the mark comes once', async (t) => {
  const w = await world(t);
  w.cluster.put(pods, pod('a', 1));
  await w.datastore.start();
  await w.pass();
  assert.equal(w.inSync(), 1);
  assert.deepEqual(w.pods(), { a: '1' });
  w.cluster.put(pods, pod('a', 2));
  w.cluster.put(pods, pod('b', 1));
  w.cluster.remove(pods, 'web/b');
  await w.pass();
  assert.deepEqual(w.pods(), { a: '2' });
  assert.equal(w.requestsTo(pods).length, 1);
  assert.deepEqual(
    w.batches.at(-1)?.map(({ type, key }) => `${type} ${key}`),
    ['upsert web/a'],
  );
});

test('a server without WatchList is listed by pages; a page that expired begins all over, whole', async (t) => {
  const w = await world(t);
  w.cluster.watchList = false;
  for (let i = 0; i < 1_200; i++) w.cluster.put(pods, pod(`p${i}`, 1));
  let compacted = false;
  w.cluster.fault = ({ path, query }) => {
    if (path === pods && query?.['continue'] && !compacted) {
      compacted = true;
      w.cluster.remove(pods, 'web/p0');
      w.cluster.compact();
    }
    return undefined;
  };
  await w.datastore.start();
  await w.pass(1_000);
  assert.equal(w.inSync(), 1);
  assert.equal(w.datastore.status().objects.Pod, 1_199);
  const queries = w.requestsTo(pods);
  assert.deepEqual(
    queries.map(({ limit, resourceVersion, watch }) => [watch, limit, resourceVersion === undefined]),
    [
      [true, undefined, true],
      [undefined, 500, false],
      [undefined, 500, true],
      [undefined, undefined, true],
      [true, undefined, false],
    ],
  );
});

for (const expiredAs of ['status', 'event'] as const) {
  test(`410 as ${expiredAs}: listed again not older than known, and only the difference is told`, async (t) => {
    const w = await world(t);
    w.cluster.expiredAs = expiredAs;
    for (const name of ['a', 'b', 'c']) w.cluster.put(pods, pod(name, 1));
    await w.datastore.start();
    await w.pass();
    const told = w.batches.length;
    w.cluster.fault = ({ path }) =>
      path === pods ? new KubeError('away', { code: 'UNREACHABLE', server: 'x' }) : undefined;
    w.cluster.cut(pods);
    await w.pass();
    assert.equal(w.datastore.status().kinds?.Pod?.state, 'failing');
    assert.equal(w.datastore.status().inSync, true);
    w.cluster.remove(pods, 'web/a');
    w.cluster.put(pods, pod('b', 2));
    w.cluster.compact();
    w.cluster.fault = () => undefined;
    await w.pass(2_000);
    assert.deepEqual(w.pods(), { b: '2', c: '1' });
    assert.deepEqual(
      w.batches
        .slice(told)
        .flat()
        .map(({ type, key }) => `${type} ${key}`),
      ['upsert web/b', 'delete web/a'],
    );
    assert.match(String(w.requestsTo(pods).at(-1)?.['resourceVersion']), /^\d+$/);
    assert.equal(w.datastore.status().kinds?.Pod?.state, 'synced');
  });
}

test('429 and 503 with Retry-After are waited for as long as they say', async (t) => {
  const w = await world(t);
  w.cluster.fault = ({ path }) => (path === pods ? refusal(429, {}, 7) : undefined);
  await w.datastore.start();
  await w.pass(6_500);
  assert.equal(w.requestsTo(pods).length, 1);
  assert.match(w.datastore.status().waitingFor.join(), /429/);
  w.cluster.fault = () => undefined;
  await w.pass(3_000);
  assert.equal(w.requestsTo(pods).length, 2);
  assert.equal(w.inSync(), 1);
});

test('an answer cut in an object is thrown away to its last newline, and the watch goes on before it', async (t) => {
  const w = await world(t);
  w.cluster.put(pods, pod('a', 1));
  await w.datastore.start();
  await w.pass();
  const { resourceVersion } = w.datastore.status().kinds!.Pod!;
  w.cluster.cut(pods, event('MODIFIED', pod('a', 2)).slice(0, 60));
  await w.pass(1_000);
  assert.equal(w.requestsTo(pods).at(-1)?.['resourceVersion'], resourceVersion);
  assert.deepEqual(w.pods(), { a: '1' });
  w.cluster.put(pods, pod('a', 3));
  await w.pass();
  assert.deepEqual(w.pods(), { a: '3' });
});

test('what is no JSON is never taken for an object; where it stays, a list reads past it', async (t) => {
  const w = await world(t);
  w.cluster.put(pods, pod('a', 1));
  await w.datastore.start();
  await w.pass();
  let garbage = 0;
  w.cluster.fault = ({ path, query }) => {
    if (path !== pods || query?.['sendInitialEvents']) return undefined;
    garbage++;
    setImmediate(() => w.cluster.send(pods, '{"type":"ADDED","object":\n'));
    return undefined;
  };
  w.cluster.send(pods, 'no json\n');
  await w.pass(5_000);
  assert.equal(garbage, 2);
  assert.deepEqual(w.pods(), { a: '1' });
  assert.equal(w.requestsTo(pods).at(-1)?.['sendInitialEvents'], true);
  for (const line of [
    'null\n',
    '[]\n',
    '{"type":"ADDED","object":{}}\n',
    '{"type":"NEW","object":{"metadata":{"name":"x"}}}\n',
  ]) {
    w.cluster.send(pods, line);
    await w.pass(1_000);
  }
  assert.deepEqual(w.pods(), { a: '1' });
});

test('a watch that is silent is replaced; bookmarks keep it, and it resumes from the last one', async (t) => {
  const w = await world(t);
  await w.datastore.start();
  await w.pass();
  for (let i = 0; i < 4; i++) {
    await w.pass(60_000);
    w.cluster.bookmark(pods);
  }
  assert.equal(w.requestsTo(pods).length, 1);
  await w.pass();
  const { resourceVersion } = w.datastore.status().kinds!.Pod!;
  await w.pass(170_000);
  assert.equal(w.requestsTo(pods).length, 2);
  assert.equal(w.requestsTo(pods)[1]?.['resourceVersion'], resourceVersion);
  assert.equal(w.datastore.status().kinds?.Pod?.state, 'synced');
});

test('a list by WatchList that never ends is given up for pages', async (t) => {
  const w = await world(t);
  w.cluster.put(pods, pod('a', 1));
  w.cluster.fault = ({ path, query }) => {
    if (path !== pods || !query?.['sendInitialEvents']) return undefined;
    return { status: 200, body: new PassThrough() };
  };
  await w.datastore.start();
  await w.pass(20_000);
  assert.equal(w.inSync(), 1);
  assert.deepEqual(w.pods(), { a: '1' });
});

test('an object too large to be read is named, keeps its last version, and the rest goes on', async (t) => {
  const w = await world(t);
  w.cluster.put(policies, policy('a', 80));
  await w.datastore.start();
  await w.pass();
  w.cluster.put(policies, { ...policy('a', 81), status: 'x'.repeat(9 * 1024 * 1024) });
  w.cluster.put(policies, policy('b', 82));
  await w.pass();
  const [fault] = w.datastore.status().faults;
  assert.equal(fault?.object, 'NetworkPolicy web/a');
  assert.match(fault?.message ?? '', /bytes as JSON.*make it smaller/);
  assert.equal(w.get('NetworkPolicy', 'web/a')?.ingress[0]?.ports[0]?.port, 80);
  assert.equal(w.get('NetworkPolicy', 'web/b')?.ingress[0]?.ports[0]?.port, 82);
  assert.equal(w.datastore.status().inSync, true);
});

test('an object too large to be read that does not begin with its name takes no other one away', async (t) => {
  const w = await world(t);
  w.cluster.put(policies, policy('a', 80));
  await w.datastore.start();
  await w.pass();
  const annotations = { text: 'x'.repeat(9 * 1024 * 1024) };
  w.cluster.put(policies, { ...policy('a', 81), metadata: { annotations, name: 'a', namespace: 'web' } });
  w.cluster.compact();
  w.cluster.cut(policies);
  await w.pass(2_000);
  assert.ok(w.requestsTo(policies).length > 2, 'listed again');
  assert.equal(w.get('NetworkPolicy', 'web/a')?.ingress[0]?.ports[0]?.port, 80);
  assert.match(w.datastore.status().faults[0]?.object ?? '', /NetworkPolicy \(name not read\)/);
});

test('a resourceVersion that the server does not have is not asked for again', async (t) => {
  const w = await world(t);
  w.cluster.put(pods, pod('a', 1));
  await w.datastore.start();
  await w.pass();
  let asked = 0;
  w.cluster.fault = ({ path, query }) => {
    if (path !== pods || query?.['resourceVersion'] === undefined) return undefined;
    asked++;
    return refusal(504, tooLarge);
  };
  w.cluster.cut(pods);
  await w.pass(2_000);
  assert.equal(asked, 1);
  assert.equal(w.datastore.status().kinds?.Pod?.state, 'synced');
});

test('kinds of both groups are one, by name, and the newer group wins', async (t) => {
  const w = await world(t);
  w.cluster.serve(peers, oldPeers);
  w.cluster.put(oldPeers, peer('crd.projectcalico.org/v1', 'both', { asNumber: 1 }));
  w.cluster.put(oldPeers, peer('crd.projectcalico.org/v1', 'old', { asNumber: 2 }));
  w.cluster.put(peers, peer('projectcalico.org/v3', 'both', { asNumber: 3 }));
  await w.datastore.start();
  await w.pass();
  assert.equal(w.get('BGPPeer', 'both')?.asNumber, 3);
  assert.equal(w.get('BGPPeer', 'old')?.asNumber, 2);
  assert.equal(w.datastore.status().objects.BGPPeer, 2);
  w.cluster.remove(peers, 'both');
  await w.pass();
  assert.equal(w.get('BGPPeer', 'both')?.asNumber, 1);
  w.cluster.put(peers, peer('projectcalico.org/v3', 'both', { asNumber: 0.5 }));
  await w.pass();
  assert.equal(w.get('BGPPeer', 'both'), undefined, 'the name is taken by one that cannot be read');
  assert.equal(w.datastore.status().faults[0]?.object, 'BGPPeer both');
  assert.equal(w.datastore.status().inSync, true, 'only a policy blocks');
  w.cluster.unserve(peers);
  await w.pass(40_000);
  assert.equal(w.get('BGPPeer', 'both')?.asNumber, 1);
  assert.deepEqual(w.datastore.status().kinds?.BGPPeer?.apiVersions, ['crd.projectcalico.org/v1']);
});

test('kinds that are absent cost one look at their group in half a minute, and are found by it', async (t) => {
  const w = await world(t);
  await w.datastore.start();
  await w.pass(200_000);
  assert.equal(w.requestsTo(peers).length, 1);
  w.cluster.serve(peers);
  w.cluster.put(peers, peer('projectcalico.org/v3', 'tor'));
  await w.pass(40_000);
  assert.equal(w.get('BGPPeer', 'tor')?.asNumber, 65001);
  assert.equal(w.datastore.status().kinds?.BGPPeer?.state, 'synced');
});

test('EndpointSlices are followed once a policy names a service, which waits for them', async (t) => {
  const slices = '/apis/discovery.k8s.io/v1/endpointslices';
  const calico = '/apis/projectcalico.org/v3/globalnetworkpolicies';
  const global = (name: string, source: object): FakeObject => ({
    apiVersion: 'projectcalico.org/v3',
    kind: 'GlobalNetworkPolicy',
    metadata: { name },
    spec: { ingress: [{ action: 'Deny', source }] },
  });
  const ofService = { services: { name: 'web', namespace: 'shop' } };
  const w = await world(t);
  w.cluster.serve(slices, calico);
  w.cluster.put(slices, {
    metadata: { name: 'a', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.0.0.1'] }],
    ports: [{ port: 80 }],
  });
  w.cluster.put(calico, global('one', { nets: ['10.0.0.0/8'] }));
  await w.datastore.start();
  await w.pass(200);
  assert.equal(w.inSync(), 1);
  assert.deepEqual(w.requestsTo(slices), [], 'no policy needs them');
  assert.equal(w.datastore.status().kinds?.EndpointSlice?.state, 'synced');

  const refuse = w.cluster.fault;
  w.cluster.fault = ({ path: asked }) => (asked === slices ? refusal(503) : undefined);
  const handedOn = (): string | undefined => w.datastore.status().kinds?.GlobalNetworkPolicy?.resourceVersion;
  const before = handedOn();
  w.cluster.put(calico, global('one', ofService));
  w.cluster.put(calico, global('two', ofService));
  w.cluster.put(pods, pod('a', 1));
  await w.pass(200);
  assert.ok(w.requestsTo(slices).length > 0);
  assert.equal(w.get('GlobalNetworkPolicy', 'two'), undefined, 'it would deny nothing yet');
  assert.deepEqual(w.get('GlobalNetworkPolicy', 'one')?.ingress[0]?.source, { nets: ['10.0.0.0/8'] });
  assert.deepEqual(w.pods(), { a: '1' }, 'others do not wait');
  assert.equal(handedOn(), before, 'nor is it told as handed on');
  assert.equal(w.datastore.status().kinds?.EndpointSlice?.state, 'failing');
  w.cluster.remove(calico, 'two');
  w.cluster.put(calico, global('three', ofService));

  w.cluster.fault = refuse;
  await w.pass(20_000);
  assert.deepEqual(w.get('GlobalNetworkPolicy', 'one')?.ingress[0]?.source, ofService);
  assert.ok(w.get('GlobalNetworkPolicy', 'three'));
  assert.equal(w.get('GlobalNetworkPolicy', 'two'), undefined);
  assert.deepEqual(w.get('EndpointSlice', 'shop/a')?.addresses, ['10.0.0.1']);
  assert.notEqual(handedOn(), before);
  const order = w.batches.flat().map(({ kind }) => kind);
  assert.ok(order.indexOf('EndpointSlice') < order.lastIndexOf('GlobalNetworkPolicy'), 'slices first');

  w.cluster.remove(slices, 'shop/a');
  await w.pass();
  assert.equal(w.get('EndpointSlice', 'shop/a'), undefined);
});

test('an agent whose policies name services is in sync with their EndpointSlices, not before', async (t) => {
  const slices = '/apis/discovery.k8s.io/v1/endpointslices';
  const calico = '/apis/projectcalico.org/v3/networkpolicies';
  const w = await world(t);
  w.cluster.serve(slices, calico);
  w.cluster.put(calico, {
    apiVersion: 'projectcalico.org/v3',
    kind: 'NetworkPolicy',
    metadata: { name: 'p', namespace: 'web' },
    spec: { egress: [{ action: 'Allow', destination: { services: { name: 'x' } } }] },
  });
  w.cluster.fault = ({ path: asked }) => (asked === slices ? refusal(403) : undefined);
  await w.datastore.start();
  await w.pass(500);
  assert.equal(w.inSync(), 0);
  assert.match(w.datastore.status().waitingFor.join(), /^EndpointSlice \(discovery.k8s.io\/v1\): /);
  w.cluster.fault = () => undefined;
  await w.pass(20_000);
  assert.equal(w.inSync(), 1);
  assert.ok(w.get('CalicoNetworkPolicy', 'web/p'));
});

test('a staged policy that names a service waits for the EndpointSlices alone', async (t) => {
  const slices = '/apis/discovery.k8s.io/v1/endpointslices';
  const staged = '/apis/projectcalico.org/v3/stagednetworkpolicies';
  const w = await world(t);
  w.cluster.serve(slices, staged);
  w.cluster.put(staged, {
    apiVersion: 'projectcalico.org/v3',
    kind: 'StagedNetworkPolicy',
    metadata: { name: 'p', namespace: 'web' },
    spec: { egress: [{ action: 'Allow', destination: { services: { name: 'x' } } }] },
  });
  w.cluster.fault = ({ path: asked }) => (asked === slices ? refusal(403) : undefined);
  await w.datastore.start();
  await w.pass(500);
  assert.equal(w.inSync(), 1);
  assert.ok(w.requestsTo(slices).length > 0);
  assert.equal(w.datastore.status().inSync, true, 'nothing in force waits');
  assert.equal(w.get('StagedNetworkPolicy', 'web/p'), undefined, 'it would report what is not so');
  w.cluster.fault = () => undefined;
  await w.pass(20_000);
  assert.ok(w.get('StagedNetworkPolicy', 'web/p'));
});

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

test('403 is not in sync, and names verb and resource; it counts again when it is granted', async (t) => {
  const w = await world(t);
  const calico = '/apis/projectcalico.org/v3/networkpolicies';
  w.cluster.serve(calico);
  const refused = [nodes, pods, calico];
  w.cluster.fault = ({ path }) => (refused.includes(path) ? refusal(403) : undefined);
  await w.datastore.start();
  await w.pass(60_000);
  assert.equal(w.inSync(), 0);
  assert.equal(w.datastore.status().kinds?.Node?.state, 'forbidden');
  const waiting = w.datastore.status().waitingFor.join('\n');
  assert.match(waiting, /Node.*list and watch on nodes \(API group ""\)/);
  // As people know it, not as it is called here.
  assert.match(waiting, /^NetworkPolicy \(projectcalico\.org\/v3\): .*list and watch on networkpolicies/m);
  w.cluster.fault = () => undefined;
  await w.pass(15_000);
  // Because some kinds were missing for long, what is on disk was asked for.
  await onceRead(w, () => w.inSync() > 0);
  assert.equal(w.inSync(), 1);
});

test('the last good version of an object counts across restarts, of this cluster only', async (t) => {
  const first = await world(t);
  first.cluster.put(policies, policy('a', 80));
  await first.datastore.start();
  await first.pass();
  first.cluster.put(policies, policy('a', 70_000));
  await first.pass();
  assert.equal(first.datastore.status().faults[0]?.effect, 'the last good version stays in force');
  await first.datastore.stop();
  const second = await world(t, { cluster: first.cluster, stateDir: first.stateDir });
  await second.datastore.start();
  await onceRead(second, () => second.inSync() > 0);
  assert.equal(second.inSync(), 1);
  assert.equal(second.get('NetworkPolicy', 'web/a')?.ingress[0]?.ports[0]?.port, 80);
  await second.datastore.stop();
  first.cluster.put(namespaces, { metadata: { name: 'kube-system', uid: 'cluster-2' } });
  const other = await world(t, { cluster: first.cluster, stateDir: first.stateDir });
  await other.datastore.start();
  await onceRead(other, () => other.inSync() > 0);
  const standIn = other.get('NetworkPolicy', 'web/a');
  assert.deepEqual([standIn?.standIn, standIn?.ingress, standIn?.egress], [true, [], []]);
});

test('a policy that nobody can read denies what it names: at once, across restarts, with the API server away', async (t) => {
  const first = await world(t);
  const broken = (spec: object) => ({ metadata: { name: 'a', namespace: 'web' }, spec });
  const ingress = { policyTypes: ['Ingress'], ingress: [{ because: 'of a later API' }] };
  await first.datastore.start();
  await first.pass();
  first.cluster.put(policies, broken({ podSelector: { matchLabels: { app: 'db' } }, ...ingress }));
  await first.pass();
  const expected = { policyTypes: ['Ingress'], ingress: [], egress: [], standIn: true };
  const { podSelector, metadata, ...rest } = first.get('NetworkPolicy', 'web/a')!;
  assert.deepEqual(rest, expected);
  assert.deepEqual(podSelector.matchLabels, { app: 'db' });
  assert.equal(first.datastore.status().inSync, true);
  await first.datastore.stop();
  const away = await world(t, { cluster: first.cluster, stateDir: first.stateDir });
  away.cluster.fault = () => refusal(500);
  await away.datastore.start();
  await away.pass(35_000);
  await onceRead(away, () => away.inSync() > 0);
  assert.equal(away.get('NetworkPolicy', 'web/a')?.standIn, true);
  away.cluster.fault = () => undefined;
  await away.pass(60_000);
  assert.match(away.datastore.status().faults[0]?.effect ?? '', /never valid: what it selects is denied/);
  away.cluster.put(
    policies,
    broken({ podSelector: { matchLabel: { app: 'db' } }, policyTypes: ['Egress', 'Sideways'] }),
  );
  await away.pass();
  const wider = away.get('NetworkPolicy', 'web/a');
  assert.deepEqual(wider?.podSelector, { matchLabels: {}, matchExpressions: [] }, 'whom it selects is not known');
  assert.deepEqual(wider?.policyTypes, ['Ingress', 'Egress']);
  away.cluster.put(policies, policy('a', 80));
  await away.pass();
  assert.equal(away.get('NetworkPolicy', 'web/a')?.ingress[0]?.ports[0]?.port, 80);
  assert.equal(away.get('NetworkPolicy', 'web/a')?.standIn, undefined);
  away.cluster.put(policies, broken({ podSelector: {}, ...ingress }));
  await away.pass();
  assert.equal(away.get('NetworkPolicy', 'web/a')?.ingress[0]?.ports[0]?.port, 80, 'the last good version');
});

test('an API server that answers with errors only is as good as none, after half a minute; so is a clock that is wrong', async (t) => {
  const first = await world(t);
  first.cluster.put(policies, policy('a', 80));
  await first.datastore.start();
  await first.pass();
  await first.datastore.stop();
  t.mock.method(Date, 'now', () => 0);
  const second = await world(t, { cluster: first.cluster, stateDir: first.stateDir });
  second.cluster.fault = () => refusal(500);
  await second.datastore.start();
  await second.pass(25_000);
  assert.equal(second.inSync(), 0);
  await second.pass(10_000);
  await onceRead(second, () => second.inSync() > 0);
  assert.equal(second.inSync(), 1);
  assert.match(second.datastore.status().stale?.reason ?? '', /model on disk of .*, 0 min old/);
  assert.equal(second.get('NetworkPolicy', 'web/a')?.ingress[0]?.ports[0]?.port, 80);
  second.cluster.fault = () => undefined;
  second.cluster.remove(policies, 'web/a');
  await second.pass(20_000);
  assert.equal(second.get('NetworkPolicy', 'web/a'), undefined);
  assert.equal(second.datastore.status().stale, undefined);
});

test('a change is on disk soon, where an agent finds it that is killed and starts while the API server is away', async (t) => {
  const w = await world(t);
  await w.datastore.start();
  // The whole model, first.
  await w.pass(1_500);
  const file = path.join(w.stateDir, 'datastore', 'last-good-kube.jsonl');
  const holds = async (text: string): Promise<boolean> => {
    // The file is written in real time.
    for (
      const end = performance.now() + 10_000;
      performance.now() < end;
      await new Promise((go) => setTimeout(go, 5))
    ) {
      if (fs.existsSync(file) && fs.readFileSync(file, 'utf8').includes(text)) return true;
    }
    return false;
  };
  assert.ok(await holds('kube-system'));
  w.cluster.put(pods, pod('a', 1));
  await w.pass(500);
  assert.ok(await holds('web/a'));
});

test('Secrets that peers name: missing is known, refused is said and keeps what was', async (t) => {
  const w = await world(t);
  w.cluster.serve(peers, '/api/v1/secrets');
  const secret = {
    metadata: { name: 'bgp', namespace: 'poplin-system' },
    apiVersion: 'v1',
    kind: 'Secret',
    data: { k: 'cHc=' },
  };
  const password = { secretKeyRef: { name: 'bgp', key: 'k' } };
  w.cluster.put(peers, peer('projectcalico.org/v3', 'tor', { password }));
  await w.datastore.start();
  await w.pass(1_000);
  assert.equal(w.inSync(), 1, 'a missing Secret is an answer');
  w.cluster.put('/api/v1/secrets', secret);
  await w.pass(40_000);
  assert.equal(w.get('Secret', 'poplin-system/bgp')?.data['k']?.reveal(), 'pw');
  w.cluster.fault = ({ path }) => (path.includes('/secrets/') ? refusal(403) : undefined);
  await w.pass(40_000);
  assert.equal(w.get('Secret', 'poplin-system/bgp')?.data['k']?.reveal(), 'pw');
  assert.equal(w.datastore.status().kinds?.Secret?.state, 'forbidden');
  w.cluster.fault = () => undefined;
  w.cluster.remove('/api/v1/secrets', 'poplin-system/bgp');
  await w.pass(60_000);
  assert.equal(w.get('Secret', 'poplin-system/bgp'), undefined);
});

test('Secrets that TCP-AO keys name are read, each once', async (t) => {
  const w = await world(t);
  w.cluster.serve(peers, '/api/v1/secrets');
  const put = (name: string) =>
    w.cluster.put('/api/v1/secrets', {
      metadata: { name, namespace: 'poplin-system' },
      apiVersion: 'v1',
      kind: 'Secret',
      data: { k: Buffer.from(name).toString('base64') },
    });
  for (const name of ['old', 'new', 'nobody-asks']) put(name);
  const key = (id: number, name: string) => ({
    sendID: id,
    recvID: id,
    algorithm: 'hmac-sha-1-96',
    secret: { secretKeyRef: { name, key: 'k' } },
  });
  const tcpAO = { keys: [key(1, 'old'), key(2, 'new')] };
  w.cluster.put(peers, peer('projectcalico.org/v3', 'tor', { tcpAO }));
  await w.datastore.start();
  await w.pass(1_000);
  const texts = ['old', 'new', 'nobody-asks'].map((name) =>
    w.get('Secret', `poplin-system/${name}`)?.data['k']?.reveal(),
  );
  assert.deepEqual(texts, ['old', 'new', undefined]);
});

test('a Pod asked for by name goes ahead of the watch, and older events do not undo it', async (t) => {
  const w = await world(t);
  w.cluster.put(pods, pod('a', 1));
  await w.datastore.start();
  await w.pass();
  const late = new PassThrough();
  w.cluster.fault = ({ path, query }) => (path === pods && query?.['watch'] ? { status: 200, body: late } : undefined);
  w.cluster.cut(pods);
  for (const version of [2, 3]) w.cluster.put(pods, pod('a', version));
  w.cluster.put(pods, pod('b', 1));
  await w.pass(1_000);
  assert.equal((await w.datastore.fetchPod('web/a'))?.metadata.labels['version'], '3');
  await w.datastore.fetchPod('web/b');
  await w.pass();
  assert.deepEqual(w.pods(), { a: '3', b: '1' });
  const [{ metadata }] = w.cluster.objects(pods) as [FakeObject];
  const older = {
    ...pod('a', 2),
    metadata: { ...pod('a', 2).metadata, resourceVersion: `${Number(metadata['resourceVersion']) - 1}` },
  };
  for (const type of ['MODIFIED', 'DELETED']) {
    late.write(event(type, older));
    await w.pass();
    assert.deepEqual(w.pods(), { a: '3', b: '1' }, type);
  }
  w.cluster.remove(pods, 'web/b');
  w.cluster.fault = () => undefined;
  late.end();
  await w.pass(1_000);
  assert.deepEqual(w.pods(), { a: '3' });
  assert.equal(await w.datastore.fetchPod('web/b'), undefined);
});

test('order of resourceVersions', () => {
  assert.ok(compareResourceVersions('9', '10') < 0);
  assert.ok(compareResourceVersions('11', '10') > 0);
  assert.equal(compareResourceVersions('10', '10'), 0);
});

test('whatever happens on the way, the model ends as the cluster is, and the mark is given once', async () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd');
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('put' as const), name, version: fc.nat(9) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('remove' as const), name }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('cut', 'end', 'compact', 'bookmark', 'fetch'), name }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('away', 'back', 'refuse', 'pages', 'garbage'), name }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(0, 50, 400, 3_000) }) },
  );
  const away = new KubeError('away', { code: 'UNREACHABLE', server: 'x' });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.integer({ min: 3, max: 4_000 }),
      async (steps, chunkBytes) => {
        const undo: (() => unknown)[] = [];
        const w = await world({ after: (fn) => void undo.push(fn as () => unknown) });
        try {
          w.cluster.chunkBytes = () => chunkBytes;
          await w.datastore.start();
          for (const one of steps) {
            if (one.do === 'put') w.cluster.put(pods, pod(one.name, one.version));
            else if (one.do === 'remove') w.cluster.remove(pods, `web/${one.name}`);
            else if (one.do === 'cut') w.cluster.cut(pods, event('ADDED', pod('a', 99)).slice(0, 30));
            else if (one.do === 'end') w.cluster.end(pods);
            else if (one.do === 'compact') w.cluster.compact();
            else if (one.do === 'bookmark') w.cluster.bookmark(pods);
            else if (one.do === 'fetch') await w.datastore.fetchPod(`web/${one.name}`).catch(() => undefined);
            else if (one.do === 'away') w.cluster.fault = () => away;
            else if (one.do === 'back') w.cluster.fault = () => undefined;
            else if (one.do === 'refuse') w.cluster.fault = ({ path }) => (path === pods ? refusal(500) : undefined);
            else if (one.do === 'pages') w.cluster.watchList = false;
            else if (one.do === 'garbage') w.cluster.send(pods, '{"type":"ADD\n');
            else await w.pass('ms' in one ? one.ms : 0);
          }
          w.cluster.fault = () => undefined;
          await w.pass(20_000);
          const expected = w.cluster
            .objects(pods)
            .map(({ metadata }) => [metadata.name, (metadata['labels'] as Record<string, string>)['version']]);
          assert.deepEqual(w.pods(), Object.fromEntries(expected.sort()));
          assert.equal(w.inSync(), 1);
          assert.equal(w.datastore.status().inSync, true);
        } finally {
          for (const fn of undo.reverse()) await fn();
        }
      },
    ),
    { numRuns: 40 },
  );
});
