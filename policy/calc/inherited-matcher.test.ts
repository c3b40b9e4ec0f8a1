import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IpAddress } from '#kit';
import type { CalicoPolicyObject, CalicoRule, Labels, ModelUpdate, NetworkSetObject, PodObject } from '#model';
import { createPolicyEngine, type PolicyEngine } from './engine.ts';

function meta(namespace: string, name: string, labels: Labels) {
  return { namespace, name, uid: `${namespace}/${name}`, labels, annotations: {} };
}

function pod(key: string, labels: Labels, address: string, serviceAccountName = 'default'): ModelUpdate {
  const [namespace, name] = key.split('/') as [string, string];
  const object: PodObject = {
    metadata: meta(namespace, name, labels),
    nodeName: 'n1',
    hostNetwork: false,
    serviceAccountName,
    ports: [],
    phase: 'Running',
    terminating: false,
    podIPs: [address as IpAddress],
  };
  return { type: 'upsert', kind: 'Pod', key, object };
}

const namespace = (name: string, labels: Labels): ModelUpdate => ({
  type: 'upsert',
  kind: 'Namespace',
  key: name,
  object: { metadata: meta('', name, labels) },
});
const serviceAccount = (key: string, labels: Labels): ModelUpdate => {
  const [ns, name] = key.split('/') as [string, string];
  return { type: 'upsert', kind: 'ServiceAccount', key, object: { metadata: meta(ns, name, labels) } };
};
const networkSet = (name: string, labels: Labels, nets: readonly string[]): ModelUpdate => {
  const object = { metadata: meta('', name, labels), nets } as NetworkSetObject;
  return { type: 'upsert', kind: 'GlobalNetworkSet', key: name, object };
};

/** Those of `source` come in to pods of app l. */
function policy(name: string, source: CalicoRule['source']): ModelUpdate {
  const object: CalicoPolicyObject = {
    metadata: meta('', name, {}),
    tier: 'default',
    selector: "app == 'l'",
    types: ['Ingress'],
    ingress: [{ action: 'Allow', source, destination: {} }],
    egress: [],
  };
  return { type: 'upsert', kind: 'GlobalNetworkPolicy', key: name, object };
}

const podCount = 300;
const start: readonly ModelUpdate[] = [
  namespace('red', { team: 'a' }),
  namespace('blue', { team: 'b' }),
  serviceAccount('red/robot', { role: 'x' }),
  networkSet('g', { app: 'x' }, ['192.0.2.0/24']),
  pod('red/l', { app: 'l' }, '10.9.0.1'),
  ...Array.from({ length: podCount }, (_, i) =>
    pod(
      `${i % 2 ? 'red' : 'blue'}/p${i}`,
      { app: i % 3 ? 'x' : 'y' },
      `10.0.${i >> 8}.${i & 255}`,
      i % 5 ? 'default' : 'robot',
    ),
  ),
];
const policies: readonly ModelUpdate[] = [
  policy('own', { selector: "app == 'x'" }),
  policy('team', { selector: "app == 'x'", namespaceSelector: "team == 'a'" }),
  policy('not-team', { namespaceSelector: "team != 'a'" }),
  policy('role', { serviceAccounts: { names: [], selector: "role == 'x'" } }),
];
const changes: readonly ModelUpdate[] = [
  namespace('blue', { team: 'a' }),
  namespace('red', {}),
  serviceAccount('red/robot', { role: 'y' }),
  serviceAccount('blue/robot', { role: 'x' }),
  networkSet('g', { app: 'x' }, ['192.0.2.0/25']),
  networkSet('h', { app: 'x' }, ['198.51.100.0/24']),
  { type: 'delete', kind: 'Pod', key: 'red/p1' },
  { type: 'delete', kind: 'Pod', key: 'red/p299' },
  pod('blue/p2', { app: 'y' }, '10.0.0.2'),
  pod('blue/p298', { app: 'x' }, '10.1.1.42'),
  pod('red/new', { app: 'x' }, '10.2.0.1', 'robot'),
];

function engineOf(...updates: readonly ModelUpdate[]): PolicyEngine {
  const engine = createPolicyEngine();
  engine.setLocalEndpoint('red/l', ['10.9.0.1' as IpAddress]);
  engine.inSync();
  for (const update of updates) engine.update(update);
  return engine;
}

function members(engine: PolicyEngine): Map<string, string[]> {
  const sets = engine.flush().filter((update) => update.type === 'set');
  return new Map(sets.map((set) => [set.id, set.members.toSorted()] as const).sort());
}

test('what happens while inherited labels are handed out in steps ends in the same members', () => {
  const expected = members(engineOf(...start, ...changes, ...policies));
  assert.ok(expected.size >= 4);
  for (let steps = 0; steps < 60; steps += 1) {
    const engine = engineOf(...start, ...policies);
    // Everything but the members.
    while (engine.stats().endpointPrograms === 0) engine.settle(1);
    engine.settle(steps);
    for (const update of changes) engine.update(update);
    assert.deepEqual(members(engine), expected, `after ${steps} steps`);
  }
});

test('a policy that asks for labels which nobody asked for before gives them to all', () => {
  const engine = engineOf(...start, policies[0]!);
  const before = members(engine);
  assert.equal(before.size, 1);
  for (const update of policies) engine.update(update);
  const expected = members(engineOf(...start, ...policies));
  assert.deepEqual(new Map([...before, ...members(engine)].sort()), expected);
});

test('a namespace or service account that is relabelled costs nothing while no selector asks', () => {
  const engine = engineOf(...start, policies[0]!);
  engine.flush();
  const { evaluations } = engine.stats();
  engine.update(namespace('red', { team: 'c' }));
  engine.update(serviceAccount('red/robot', { role: 'z' }));
  assert.deepEqual(engine.flush(), []);
  assert.equal(engine.stats().evaluations, evaluations);
});

test('selectors that were there before what they select look only at what is filed under their label', () => {
  const count = 500;
  const each = Array.from({ length: count }, (_, i) => i);
  const engine = engineOf(
    namespace('red', {}),
    pod('red/l', { app: 'l' }, '10.9.0.1'),
    ...each.flatMap((i) => [
      networkSet(`set-${i}`, { set: `s${i}` }, [`10.${i >> 8}.${i & 255}.0/24`]),
      policy(`p-${i}`, { selector: `set == 's${i}'` }),
    ]),
  );
  assert.equal(members(engine).size, count);
  assert.ok(engine.stats().evaluations < 5 * count, `${engine.stats().evaluations} evaluations`);
});
