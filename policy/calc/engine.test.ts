import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IpAddress } from '#kit';
import type { LabelSelector, Labels, ModelUpdate, NetworkPolicyObject, NetworkPolicyPeer, PodObject } from '#model';
import { PolicyStateStore } from '../explain/policy-state.ts';
import { createPolicyEngine, type PolicyEngine } from './engine.ts';

function meta(namespace: string, name: string, labels: Labels = {}) {
  return { namespace, name, uid: `${namespace}/${name}`, labels, annotations: {} };
}

function podObject(key: string, labels: Labels, ips: readonly string[], part: Partial<PodObject> = {}): PodObject {
  const [namespace, name] = key.split('/') as [string, string];
  return {
    metadata: meta(namespace, name, labels),
    nodeName: 'n1',
    hostNetwork: false,
    serviceAccountName: 'default',
    ports: [{ name: 'http', containerPort: 8080, protocol: 'TCP' }],
    phase: 'Running',
    terminating: false,
    podIPs: ips as IpAddress[],
    ...part,
  };
}

function pod(key: string, labels: Labels, ips: readonly string[], part?: Partial<PodObject>): ModelUpdate {
  return { type: 'upsert', kind: 'Pod', key, object: podObject(key, labels, ips, part) };
}

function namespace(name: string, labels: Labels): ModelUpdate {
  return { type: 'upsert', kind: 'Namespace', key: name, object: { metadata: meta('', name, labels) } };
}

const matching = (matchLabels: Labels): LabelSelector => ({ matchLabels, matchExpressions: [] });

/** Ingress to `subject` from `peers`, on every port. */
function policy(key: string, subject: Labels, peers: NetworkPolicyPeer[], port?: string): ModelUpdate {
  const [ns, name] = key.split('/') as [string, string];
  const object: NetworkPolicyObject = {
    metadata: meta(ns, name),
    podSelector: matching(subject),
    policyTypes: ['Ingress'],
    ingress: [{ peers, ports: port === undefined ? [] : [{ protocol: 'TCP', port }] }],
    egress: [],
  };
  return { type: 'upsert', kind: 'NetworkPolicy', key, object };
}

const fromApp = (app: string): NetworkPolicyPeer => ({ podSelector: matching({ app }) });
const ip = (...texts: string[]): IpAddress[] => texts as IpAddress[];

function started(...updates: ModelUpdate[]): PolicyEngine {
  const engine = createPolicyEngine();
  for (const update of updates) engine.update(update);
  engine.inSync();
  return engine;
}

test('sets come before policies before endpoints, and go the other way round', () => {
  const engine = started(pod('red/a', { app: 'a' }, []), pod('red/b', { app: 'b' }, ['10.0.0.2']));
  engine.update(policy('red/p', { app: 'a' }, [fromApp('b')]));
  engine.setLocalEndpoint('red/a', ip('10.0.0.1'));
  assert.deepEqual(engine.flush(), [
    { type: 'set', id: "pods:ns=red;app == 'b'", setType: 'ip', members: ['10.0.0.2'] },
    {
      type: 'policy',
      id: 'NetworkPolicy:red/p',
      program: { ingress: [{ action: 'allow', source: { type: 'set', set: "pods:ns=red;app == 'b'" } }], egress: [] },
    },
    {
      type: 'endpoint',
      id: 'red/a',
      program: {
        ingress: [{ tier: 'default', policies: ['NetworkPolicy:red/p'], endOfTier: 'deny' }],
        egress: [],
      },
    },
  ]);
  engine.removeLocalEndpoint('red/a');
  assert.deepEqual(engine.flush(), [
    { type: 'endpointRemove', id: 'red/a' },
    { type: 'policyRemove', id: 'NetworkPolicy:red/p' },
    { type: 'setRemove', id: "pods:ns=red;app == 'b'" },
  ]);
});

test('nothing before the model is in sync', () => {
  const engine = createPolicyEngine();
  engine.update(pod('red/a', {}, []));
  engine.setLocalEndpoint('red/a', ip('10.0.0.1'));
  assert.deepEqual(engine.flush(), []);
  assert.equal(engine.isEndpointReady('red/a'), false);
  engine.inSync();
  assert.equal(engine.flush().length, 1);
  assert.equal(engine.isEndpointReady('red/a'), true);
});

test('an endpoint without its Pod object waits, and is taken back when the object goes', () => {
  const engine = started();
  engine.setLocalEndpoint('red/a', ip('10.0.0.1'));
  assert.deepEqual(engine.flush(), []);
  engine.update(pod('red/a', {}, []));
  assert.deepEqual(engine.flush(), [{ type: 'endpoint', id: 'red/a', program: { ingress: [], egress: [] } }]);
  engine.update({ type: 'delete', kind: 'Pod', key: 'red/a' });
  assert.deepEqual(engine.flush(), [{ type: 'endpointRemove', id: 'red/a' }]);
  assert.equal(engine.isEndpointReady('red/a'), false);
});

test("a policy that selects no local pod is not even compiled, nor are its peers' sets computed", () => {
  const engine = started(
    pod('red/a', { app: 'a' }, ['10.0.0.1']),
    pod('red/b', { app: 'b' }, ['10.0.0.2']),
    policy('red/p', { app: 'b' }, [fromApp('a')]),
  );
  engine.setLocalEndpoint('red/a', ip('10.0.0.1'));
  assert.deepEqual(
    engine.flush().map((update) => update.type),
    ['endpoint'],
  );
  const { compiledPolicies, memberChanges, sets } = engine.stats();
  assert.deepEqual({ compiledPolicies, memberChanges, sets }, { compiledPolicies: 0, memberChanges: 0, sets: 0 });
});

/** One local pod that two policies with the same peer select. */
function world(): { engine: PolicyEngine; store: PolicyStateStore } {
  const engine = started(
    namespace('red', {}),
    pod('red/a', { app: 'a' }, ['10.0.0.1']),
    pod('red/b', { app: 'b' }, ['10.0.0.2', 'fd00::2']),
    policy('red/p', { app: 'a' }, [fromApp('b')]),
    policy('red/q', {}, [fromApp('b')]),
  );
  engine.setLocalEndpoint('red/a', ip('10.0.0.1'));
  const store = new PolicyStateStore();
  store.apply(engine.flush());
  return { engine, store };
}

test('policies with the same peers share one set, which goes with the last of them', () => {
  const { engine, store } = world();
  assert.deepEqual([...store.sets.keys()], ["pods:ns=red;app == 'b'"]);
  engine.update({ type: 'delete', kind: 'NetworkPolicy', key: 'red/p' });
  assert.deepEqual(
    engine.flush().map((update) => update.type),
    ['endpoint', 'policyRemove'],
  );
  engine.update({ type: 'delete', kind: 'NetworkPolicy', key: 'red/q' });
  assert.deepEqual(
    engine.flush().map((update) => update.type),
    ['endpoint', 'policyRemove', 'setRemove'],
  );
});

test('a policy replaced by another with the same peers leaves the set alone', () => {
  const { engine } = world();
  engine.update({ type: 'delete', kind: 'NetworkPolicy', key: 'red/p' });
  engine.update({ type: 'delete', kind: 'NetworkPolicy', key: 'red/q' });
  engine.update(policy('red/r', {}, [fromApp('b')]));
  assert.deepEqual(
    engine.flush().map((update) => update.type),
    ['policy', 'endpoint', 'policyRemove', 'policyRemove'],
  );
});

test('a change that is taken back before the flush says nothing', () => {
  const { engine } = world();
  engine.update(pod('red/b', { app: 'c' }, ['10.0.0.2', 'fd00::2']));
  engine.update({ type: 'delete', kind: 'Pod', key: 'red/b' });
  engine.update(pod('red/b', { app: 'b' }, ['10.0.0.2', 'fd00::2']));
  engine.update({ type: 'delete', kind: 'NetworkPolicy', key: 'red/p' });
  engine.update(policy('red/p', { app: 'a' }, [fromApp('b')]));
  assert.deepEqual(engine.flush(), []);
});

test('a policy that is deleted and made again between two flushes stays in force', () => {
  const { engine } = world();
  engine.update({ type: 'delete', kind: 'NetworkPolicy', key: 'red/p' });
  assert.equal(engine.settle(100), true);
  engine.update(policy('red/p', { app: 'a' }, [fromApp('b')]));
  assert.deepEqual(engine.flush(), []);
  engine.update({ type: 'delete', kind: 'NetworkPolicy', key: 'red/p' });
  assert.deepEqual(
    engine.flush().map((update) => update.type),
    ['endpoint', 'policyRemove'],
  );
});

test('endpoints with equal policies share one program, whatever way they came to it', () => {
  const engine = started(
    policy('red/p', { app: 'a' }, [fromApp('b')]),
    policy('red/q', { tier: 'x' }, [fromApp('b')]),
    policy('red/r', { tier: 'x' }, [fromApp('c')]),
    pod('red/a', { app: 'a' }, []),
    pod('red/b', { tier: 'x' }, []),
  );
  for (const id of ['red/a', 'red/b']) engine.setLocalEndpoint(id, []);
  engine.flush();
  const { updates, endpointPrograms } = cost(engine, () => {
    for (const key of ['red/a', 'red/b']) engine.update(pod(key, { app: 'a', tier: 'x' }, []));
  });
  const programs = updates.flatMap((update) => (update.type === 'endpoint' ? [update.program] : []));
  assert.deepEqual(programs[0]!.ingress[0]!.policies, [
    'NetworkPolicy:red/p',
    'NetworkPolicy:red/q',
    'NetworkPolicy:red/r',
  ]);
  assert.equal(programs[0], programs[1]);
  assert.equal(endpointPrograms, 1);
});

test('a policy whose rules change costs its endpoints nothing', () => {
  const { engine } = world();
  const { updates, endpointPrograms } = cost(engine, () => engine.update(policy('red/q', {}, [fromApp('c')])));
  assert.deepEqual(
    updates.map(({ type }) => type),
    ['set', 'policy'],
  );
  assert.equal(endpointPrograms, 0);
});

test('an address that two pods hold for a moment stays until the last has gone', () => {
  const { engine } = world();
  engine.update(pod('red/new', { app: 'b' }, ['10.0.0.2']));
  assert.deepEqual(engine.flush(), []);
  engine.update({ type: 'delete', kind: 'Pod', key: 'red/b' });
  assert.deepEqual(engine.flush(), [
    { type: 'setDelta', id: "pods:ns=red;app == 'b'", added: [], removed: ['fd00::2'] },
  ]);
  engine.update(pod('red/new', { app: 'b' }, ['10.0.0.2'], { phase: 'Succeeded' }));
  assert.deepEqual(engine.flush(), [
    { type: 'setDelta', id: "pods:ns=red;app == 'b'", added: [], removed: ['10.0.0.2'] },
  ]);
});

test('a local pod is a peer from the moment it has its address, and follows its labels', () => {
  const { engine } = world();
  engine.update(pod('red/c', { app: 'b' }, []));
  assert.deepEqual(engine.flush(), []);
  engine.setLocalEndpoint('red/c', ip('10.0.0.3'));
  const updates = engine.flush();
  assert.deepEqual(updates[0], { type: 'setDelta', id: "pods:ns=red;app == 'b'", added: ['10.0.0.3'], removed: [] });
  assert.deepEqual(
    updates.slice(1).map((update) => update.type),
    ['endpoint'],
  );
  engine.update(pod('red/c', { app: 'b' }, ['10.0.0.3']));
  assert.deepEqual(engine.flush(), [], 'the status says what was known');
});

test('named ports follow the pods: numbers, protocols, addresses', () => {
  const engine = started(
    pod('red/a', { app: 'a' }, ['10.0.0.1'], { ports: [{ name: 'http', containerPort: 80, protocol: 'TCP' }] }),
    pod('red/b', { app: 'a' }, ['10.0.0.2', 'fd00::2']),
    pod('red/u', { app: 'a' }, ['10.0.0.3'], { ports: [{ name: 'http', containerPort: 80, protocol: 'UDP' }] }),
    pod('red/h', { app: 'a' }, ['192.168.0.1'], { hostNetwork: true }),
    policy('red/p', { app: 'a' }, [], 'http'),
  );
  engine.setLocalEndpoint('red/a', ip('10.0.0.1'));
  const id = "ports:tcp:http:ns=red;app == 'a'";
  assert.deepEqual(engine.flush()[0], {
    type: 'set',
    id,
    setType: 'ip,port',
    members: ['10.0.0.1,tcp:80', '10.0.0.2,tcp:8080', 'fd00::2,tcp:8080'],
  });
  engine.update(
    pod('red/a', { app: 'a' }, ['10.0.0.1'], { ports: [{ name: 'http', containerPort: 81, protocol: 'TCP' }] }),
  );
  assert.deepEqual(engine.flush(), [
    { type: 'setDelta', id, added: ['10.0.0.1,tcp:81'], removed: ['10.0.0.1,tcp:80'] },
  ]);
});

test('a big change can be taken in slices', () => {
  const engine = started(pod('red/a', { app: 'a' }, []));
  for (let i = 0; i < 100; i++) engine.update(policy(`red/p${i}`, { app: 'a' }, [fromApp(`a${i}`)]));
  engine.setLocalEndpoint('red/a', ip('10.0.0.1'));
  // A pod, its program, and for each policy itself, its rules, its set.
  assert.equal(engine.settle(301), false);
  assert.equal(engine.settle(2), true);
  const { compiledPolicies } = engine.stats();
  assert.equal(engine.flush().length, 201);
  assert.equal(engine.stats().compiledPolicies, compiledPolicies, 'nothing was left to the flush');
});

test('a selector of many pods is taken in slices too, whatever happens to them meanwhile', () => {
  const engine = started(pod('red/a', { app: 'a' }, ['10.0.0.1']), policy('red/p', { app: 'a' }, [fromApp('b')]));
  for (let i = 0; i < 1000; i++) engine.update(pod(`red/b${i}`, { app: 'b' }, [`10.1.${i >> 8}.${i & 255}`]));
  engine.setLocalEndpoint('red/a', ip('10.0.0.1'));
  // All pods and the policy are known, and some of the set's members.
  while (engine.stats().memberChanges < 100) engine.settle(1);
  assert.ok(engine.stats().memberChanges < 300);
  for (const i of [0, 999]) engine.update({ type: 'delete', kind: 'Pod', key: `red/b${i}` });
  for (const i of [1, 998]) engine.update(pod(`red/b${i}`, { app: 'c' }, [`10.1.${i >> 8}.${i & 255}`]));
  for (const i of [2, 997]) engine.update(pod(`red/b${i}`, { app: 'b' }, [`10.2.${i >> 8}.${i & 255}`]));
  engine.update(pod('red/new', { app: 'b' }, ['10.3.0.1']));
  const [set] = engine.flush();
  assert.ok(set?.type === 'set');
  const members = new Set(set.members);
  assert.equal(members.size, set.members.length);
  assert.equal(members.size, 997);
  for (const member of ['10.2.0.2', '10.2.3.229', '10.3.0.1', '10.1.0.3']) assert.ok(members.has(member), member);
});

test('kinds that mean nothing for policy are ignored', () => {
  const engine = started();
  engine.update({ type: 'delete', kind: 'BGPPeer', key: 'tor' });
  assert.equal(engine.isDirty(), false);
});

const namespaceCount = 100;
const podsPerNamespace = 100;

/** 10,000 pods in 100 namespaces, 10 policies in each, 110 pods of this node spread over 11 namespaces. */
function bigCluster(): { engine: PolicyEngine; store: PolicyStateStore } {
  const engine = createPolicyEngine();
  for (let n = 0; n < namespaceCount; n++) {
    engine.update(namespace(`ns${n}`, { team: `t${n % 10}`, unique: `u${n}` }));
    for (let p = 0; p < podsPerNamespace; p++) {
      const labels = { app: `a${p % 10}`, unique: `ns${n}-p${p}`, same: 'yes' };
      engine.update(pod(`ns${n}/p${p}`, labels, [`10.${n}.0.${p}`]));
    }
    for (let i = 0; i < 10; i++) {
      const team: NetworkPolicyPeer = {
        namespaceSelector: matching({ team: `t${i}` }),
        podSelector: matching({ app: 'a0' }),
      };
      engine.update(policy(`ns${n}/p${i}`, { app: `a${i}` }, [fromApp(`a${(i + 1) % 10}`), team]));
    }
  }
  for (let n = 0; n < 11; n++) {
    for (let p = 0; p < 10; p++) engine.setLocalEndpoint(`ns${n}/p${p}`, ip(`10.${n}.0.${p}`));
  }
  engine.inSync();
  const store = new PolicyStateStore();
  store.apply(engine.flush());
  return { engine, store };
}

/** Updates and work of one flush after `change`. */
function cost(engine: PolicyEngine, change: () => void) {
  const before = engine.stats();
  change();
  const updates = engine.flush();
  const after = engine.stats();
  return {
    updates,
    evaluations: after.evaluations - before.evaluations,
    memberChanges: after.memberChanges - before.memberChanges,
    compiledPolicies: after.compiledPolicies - before.compiledPolicies,
    endpointPrograms: after.endpointPrograms - before.endpointPrograms,
  };
}

test('with 10,000 pods and 1,000 policies a change costs what it touches', () => {
  const { engine, store } = bigCluster();
  assert.deepEqual([store.policies.size, store.endpoints.size, store.sets.size], [110, 110, 120]);
  const relabel = (key: string, labels: Labels, address: string) => () => engine.update(pod(key, labels, [address]));

  const irrelevant = cost(engine, relabel('ns5/p50', { app: 'a0', unique: 'other', same: 'no' }, '10.5.0.50'));
  assert.deepEqual(irrelevant, {
    updates: [],
    evaluations: 0,
    memberChanges: 0,
    compiledPolicies: 0,
    endpointPrograms: 0,
  });

  const remote = cost(engine, relabel('ns5/p50', { app: 'a3' }, '10.5.0.50'));
  assert.deepEqual(
    remote.updates.map((update) => ('added' in update ? [update.id, update.added, update.removed] : update)).sort(),
    [
      ["pods:ns(team == 't5');app == 'a0'", [], ['10.5.0.50']],
      ["pods:ns=ns5;app == 'a0'", [], ['10.5.0.50']],
      ["pods:ns=ns5;app == 'a3'", ['10.5.0.50'], []],
    ],
  );
  assert.deepEqual([remote.evaluations, remote.memberChanges, remote.compiledPolicies], [2, 3, 0]);

  const asleep = cost(engine, relabel('ns50/p50', { app: 'a3' }, '10.50.0.50'));
  assert.equal(asleep.updates.length, 1, 'only the set over namespaces of the team knows the pod');
  assert.ok(asleep.evaluations <= 2);

  const local = cost(engine, relabel('ns5/p1', { app: 'a3', unique: 'x', same: 'yes' }, '10.5.0.1'));
  assert.deepEqual(local.updates.map(({ type }) => type).sort(), [
    'endpoint',
    'policyRemove',
    'setDelta',
    'setDelta',
    'setRemove',
  ]);
  assert.ok(local.evaluations <= 6 && local.endpointPrograms === 1, JSON.stringify(local));
});

test('a namespace that changes its team costs its own pods, a policy its own rules', () => {
  const { engine, store } = bigCluster();
  const moved = cost(engine, () => engine.update(namespace('ns50', { team: 't1' })));
  store.apply(moved.updates);
  assert.deepEqual(
    moved.updates
      .map((update) => ('added' in update ? [update.id, update.added.length, update.removed.length] : 0))
      .sort(),
    [
      ["pods:ns(team == 't0');app == 'a0'", 0, 10],
      ["pods:ns(team == 't1');app == 'a0'", 10, 0],
    ],
  );
  assert.ok(moved.evaluations <= 2 + podsPerNamespace, `${moved.evaluations} evaluations`);

  const changed = cost(engine, () => engine.update(policy('ns5/p5', { app: 'a5' }, [fromApp('a1')])));
  assert.deepEqual(
    changed.updates.map(({ type }) => type),
    ['policy', 'setRemove'],
  );
  assert.equal(changed.compiledPolicies, 1);

  const first = cost(engine, () =>
    engine.update(policy('ns5/new', { app: 'a5' }, [{ podSelector: matching({ unique: 'ns5-p7' }) }])),
  );
  assert.deepEqual(
    first.updates.map(({ type }) => type),
    ['set', 'policy', 'endpoint'],
  );
  assert.ok(first.evaluations <= podsPerNamespace, `${first.evaluations} evaluations`);
});
