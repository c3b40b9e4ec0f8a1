/** What changes of Calico's kinds cost, and what they say to the receiver: by counters, and by what is emitted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cidr, IpAddress } from '#kit';
import type { CalicoPolicyObject, EndpointSliceObject, Labels, ModelUpdate, ObjectMeta, PodObject } from '#model';
import { createPolicyEngine, type PolicyEngine } from './engine.ts';

const namespacesCount = 50;
const podsPerNamespace = 40;

function meta(namespace: string, name: string, labels: Labels = {}): ObjectMeta {
  return { namespace, name, uid: `${namespace}/${name}`, labels, annotations: {} };
}
function pod(namespace: string, index: number, labels: Labels): ModelUpdate {
  const object: PodObject = {
    metadata: meta(namespace, `p${index}`, labels),
    nodeName: 'n1',
    hostNetwork: false,
    serviceAccountName: index === 0 ? 'first' : 'default',
    ports: [],
    phase: 'Running',
    terminating: false,
    podIPs: [`10.${namespace.slice(1)}.0.${index + 1}` as IpAddress],
  };
  return { type: 'upsert', kind: 'Pod', key: `${namespace}/p${index}`, object };
}
const namespace = (name: string, labels: Labels): ModelUpdate => ({
  type: 'upsert',
  kind: 'Namespace',
  key: name,
  object: { metadata: meta('', name, labels) },
});
const networkSet = (nets: readonly string[], labels: Labels = { zone: 'out' }): ModelUpdate => ({
  type: 'upsert',
  kind: 'GlobalNetworkSet',
  key: 's',
  object: { metadata: meta('', 's', labels), nets: nets as Cidr[] },
});
function policy(name: string, part: Partial<CalicoPolicyObject>): ModelUpdate {
  const object: CalicoPolicyObject = {
    metadata: meta('', name),
    tier: 'default',
    selector: "app == 'web'",
    types: ['Ingress'],
    ingress: [],
    egress: [],
    ...part,
  };
  return { type: 'upsert', kind: 'GlobalNetworkPolicy', key: name, object };
}
const from = (source: object): Partial<CalicoPolicyObject> => ({
  ingress: [{ action: 'Allow', source, destination: {} }],
});

/** 2,000 pods, of which n0/p0 and n0/p1 are local and `web`. */
function world(...more: ModelUpdate[]): PolicyEngine {
  const engine = createPolicyEngine();
  for (let n = 0; n < namespacesCount; n++) {
    engine.update(namespace(`n${n}`, { team: `t${n % 5}` }));
    for (let i = 0; i < podsPerNamespace; i++) engine.update(pod(`n${n}`, i, { app: n === 0 && i < 2 ? 'web' : 'db' }));
  }
  for (const update of more) engine.update(update);
  for (const i of [0, 1]) engine.setLocalEndpoint(`n0/p${i}`, [`10.0.0.${i + 1}` as IpAddress]);
  engine.inSync();
  engine.flush();
  return engine;
}

test('a namespace or a service account that is relabelled costs what stands in it', () => {
  const engine = world(
    policy('g', {
      ingress: [
        { action: 'Allow', source: { namespaceSelector: "team == 't1'" }, destination: {} },
        { action: 'Allow', source: { serviceAccounts: { names: [], selector: "role == 'x'" } }, destination: {} },
      ],
    }),
  );
  let before = engine.stats();
  engine.update(namespace('n7', { team: 't1' }));
  const updates = engine.flush();
  assert.deepEqual(
    updates.map((each) => (each.type === 'setDelta' ? [each.added.length, each.removed.length] : each.type)),
    [[podsPerNamespace, 0]],
  );
  let after = engine.stats();
  assert.ok(after.evaluations - before.evaluations < 3 * podsPerNamespace, `${after.evaluations - before.evaluations}`);
  assert.equal(after.memberChanges - before.memberChanges, podsPerNamespace);
  before = engine.stats();
  const account = { metadata: meta('n3', 'first', { role: 'x' }) };
  engine.update({ type: 'upsert', kind: 'ServiceAccount', key: 'n3/first', object: account });
  assert.deepEqual(engine.flush(), [
    { type: 'setDelta', id: "pods:any;pcsa.role == 'x'", added: ['10.3.0.1/32'], removed: [] },
  ]);
  after = engine.stats();
  assert.ok(after.evaluations - before.evaluations < 5);
});

test('a network set that changes says its difference to the sets that select it, and to no other', () => {
  const engine = world(
    networkSet(['192.0.2.0/24', '10.5.0.1/32']),
    policy('g', from({ selector: "zone == 'out'" })),
    policy('h', from({ selector: "app == 'db'" })),
  );
  engine.update(networkSet(['192.0.2.0/24', '198.51.100.0/24']));
  const id = "pods:any;zone == 'out'";
  assert.deepEqual(engine.flush(), [{ type: 'setDelta', id, added: ['198.51.100.0/24'], removed: ['10.5.0.1/32'] }]);
  engine.update(networkSet(['192.0.2.0/24', '198.51.100.0/24']));
  assert.deepEqual(engine.flush(), [], 'the same again');
  // The address of a pod that a network set holds too stays while either brings it.
  engine.update(networkSet(['10.5.0.1/32'], { app: 'db' }));
  assert.deepEqual(
    engine.flush().map((each) => (each.type === 'setDelta' ? [each.id, each.removed.length] : each.type)),
    [[id, 2]],
  );
  engine.update({ type: 'delete', kind: 'GlobalNetworkSet', key: 's' });
  assert.deepEqual(engine.flush(), []);
});

test('a tier that moves changes the programs of those whom its policies select', () => {
  const tier = (order: number): ModelUpdate => ({
    type: 'upsert',
    kind: 'Tier',
    key: 'first',
    object: { metadata: meta('', 'first'), order, defaultAction: 'Pass' },
  });
  const engine = world(
    tier(5),
    policy('g', { tier: 'first', serviceAccountSelector: "projectcalico.org/name == 'first'" }),
    policy('h', {}),
  );
  const before = engine.stats();
  engine.update(tier(5_000_000));
  const [update, ...rest] = engine.flush();
  assert.deepEqual(rest, []);
  assert.deepEqual(update, {
    type: 'endpoint',
    id: 'n0/p0',
    program: {
      ingress: [
        { tier: 'default', policies: ['GlobalNetworkPolicy:h'], endOfTier: 'deny' },
        { tier: 'first', policies: ['GlobalNetworkPolicy:g'], endOfTier: 'pass' },
      ],
      egress: [],
    },
  });
  assert.equal(engine.stats().endpointPrograms - before.endpointPrograms, 1);
  assert.equal(engine.stats().compiledPolicies, before.compiledPolicies);
});

function slice(service: string, name: string, hosts: readonly number[], ports: readonly number[] = [80]): ModelUpdate {
  const object: EndpointSliceObject = {
    metadata: meta('shop', name),
    serviceName: service,
    addresses: hosts.map((host) => `10.77.0.${host}` as IpAddress),
    ports: ports.map((port) => ({ port, protocol: 'TCP' })),
  };
  return { type: 'upsert', kind: 'EndpointSlice', key: `shop/${name}`, object };
}
const toService = (name: string): Partial<CalicoPolicyObject> => ({
  types: ['Egress'],
  egress: [{ action: 'Allow', source: {}, destination: { services: { namespace: 'shop', name } } }],
});

test('a slice that changes says its difference to the sets of its service, whatever others there are', () => {
  const others = Array.from({ length: 200 }, (_, i) => slice(`other-${i}`, `o${i}`, [i]));
  const engine = world(
    ...others,
    slice('web', 'a', [1, 2]),
    slice('web', 'b', [2, 3]),
    policy('g', toService('web')),
    policy('h', toService('none')),
  );
  const id = 'service:shop/web';
  const before = engine.stats();
  engine.update(slice('web', 'a', [1, 2, 4]));
  assert.deepEqual(engine.flush(), [{ type: 'setDelta', id, added: ['10.77.0.4,tcp:80'], removed: [] }]);
  assert.equal(engine.stats().evaluations - before.evaluations, 2);
  // What another slice of the service holds stays.
  engine.update(slice('web', 'a', [4]));
  assert.deepEqual(engine.flush(), [{ type: 'setDelta', id, added: [], removed: ['10.77.0.1,tcp:80'] }]);
  engine.update(slice('other-3', 'o3', [9]));
  assert.deepEqual(engine.flush(), [], 'of a service that nobody names');
  engine.update(slice('other-3', 'b', [2, 3]));
  assert.deepEqual(engine.flush(), [
    { type: 'setDelta', id, added: [], removed: ['10.77.0.2,tcp:80', '10.77.0.3,tcp:80'] },
  ]);
  engine.update({ type: 'delete', kind: 'EndpointSlice', key: 'shop/a' });
  assert.deepEqual(engine.flush(), [{ type: 'setDelta', id, added: [], removed: ['10.77.0.4,tcp:80'] }]);
});

test('the slices of a service that a policy begins to name are taken in one by one', () => {
  const slices = Array.from({ length: 50 }, (_, i) => slice('web', `s${i}`, [i, i + 1], [80, 81]));
  const engine = world(...slices);
  engine.update(policy('g', toService('web')));
  let steps = 0;
  while (!engine.settle(1)) {
    steps++;
    // Changes of some that were told of, and of some that were not.
    if (steps === 20) for (const index of [0, 49]) engine.update(slice('web', `s${index}`, [200 + index], [80]));
    if (steps === 25) engine.update({ type: 'delete', kind: 'EndpointSlice', key: 'shop/s48' });
    if (steps === 26) for (const name of ['s1', 's47']) engine.update(slice('other', name, [250]));
  }
  assert.ok(steps >= 48, `${steps}`);
  const [set] = engine.flush();
  assert.ok(set?.type === 'set' && set.setType === 'ip,port');
  // s0, s1, s47, s48 and s49 are not as they were.
  const hosts = Array.from({ length: 46 }, (_, i) => i + 2);
  const expected = [...hosts.flatMap((host) => [`10.77.0.${host},tcp:80`, `10.77.0.${host},tcp:81`])];
  assert.deepEqual([...set.members].sort(), [...expected, '10.77.0.200,tcp:80', '10.77.0.249,tcp:80'].sort());
});
