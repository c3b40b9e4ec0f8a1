/** The engine against the naive evaluator, and against itself from scratch, over random worlds and histories. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc, { type Arbitrary } from 'fast-check';
import { decodeObject } from '#datastore';
import { familyOf, type IpAddress } from '#kit';
import {
  type Kind,
  type ModelUpdate,
  type NamespaceObject,
  type NetworkPolicyObject,
  type NodeObject,
  objectKey,
  type PodObject,
} from '#model';
import { createPolicyEngine, evaluate, evaluateConnection, type PolicyEngine, PolicyStateStore } from '#policy';
import type { RawCalico } from '../support/naive-calico-policy.ts';
import type { RawClusterPolicy } from '../support/naive-cluster-policy.ts';
import { type NaiveCluster, type NaiveEnd, naiveDirectionAllows, naiveVerdict } from '../support/naive-policy.ts';
import { calicoArbitrary, calicoIds } from '../support/random-calico.ts';
import { clusterPolicyArbitrary, clusterPolicyIds } from '../support/random-cluster-policy.ts';
import {
  externals,
  namespaceArbitrary,
  namespaceNames,
  nodeArbitrary,
  podArbitrary,
  policyArbitrary,
  probedPorts,
  probedProtocols,
} from '../support/random-policy.ts';

/** POPLIN_POLICY_CASES=10000 for the long form, some minutes. */
const casesOr = (usual: number): number => Number(process.env['POPLIN_POLICY_CASES'] ?? usual);

const keyOf = (object: PodObject | NetworkPolicyObject): string =>
  `${object.metadata.namespace}/${object.metadata.name}`;
const counts = (pod: PodObject): boolean => !pod.hostNetwork && pod.phase !== 'Succeeded' && pod.phase !== 'Failed';

/** The oracle reads the manifest; the engine gets what the datastore makes of it. */
function clusterPolicyUpdate(manifest: RawClusterPolicy): ModelUpdate {
  const { typed, faults } = decodeObject(manifest.kind, manifest, 'api');
  assert.ok(typed, JSON.stringify(faults));
  return { type: 'upsert', key: manifest.metadata.name, ...typed } as ModelUpdate;
}

function calicoUpdate(manifest: RawCalico): ModelUpdate {
  const kind = calicoKind(manifest.kind);
  const { typed, faults } = decodeObject(kind, manifest, 'directory');
  assert.ok(typed, JSON.stringify(faults));
  return { type: 'upsert', key: objectKey(typed.object.metadata), ...typed } as ModelUpdate;
}
const calicoKind = (kind: RawCalico['kind']): Kind => (kind === 'NetworkPolicy' ? 'CalicoNetworkPolicy' : kind);

type World = NaiveCluster & Required<Pick<NaiveCluster, 'nodes' | 'clusterPolicies' | 'calico'>>;

/** Pods that count never share addresses here; completed ones do, with `p0` of red. */
const cluster: Arbitrary<World> = fc.record({
  nodes: fc.tuple(nodeArbitrary('n1'), nodeArbitrary('n2')),
  clusterPolicies: fc.subarray([...clusterPolicyIds]).chain((ids) => fc.tuple(...ids.map(clusterPolicyArbitrary))),
  calico: fc.subarray([...calicoIds]).chain((ids) => fc.tuple(...ids.map(calicoArbitrary))),
  namespaces: fc
    .tuple(...namespaceNames.map((name) => fc.option(namespaceArbitrary(name), { freq: 8 })))
    .map((all) => all.filter((namespace) => namespace !== null)),
  pods: fc
    .tuple(
      ...namespaceNames.flatMap((namespace, n) =>
        [0, 1].map((i) => podArbitrary(namespace, `p${i}`, fc.constant(n * 2 + i + 1))),
      ),
    )
    .map((pods) =>
      pods.map((pod) => (counts(pod) || pod.hostNetwork ? pod : { ...pod, podIPs: ['10.0.0.1' as IpAddress] })),
    ),
  policies: fc
    .array(fc.tuple(fc.constantFrom(...namespaceNames), fc.constantFrom('a', 'b')), { maxLength: 5, size: 'max' })
    .chain((names) => fc.tuple(...names.map(([namespace, name]) => policyArbitrary(namespace, name))))
    .map((policies) => [...new Map(policies.map((policy) => [keyOf(policy), policy])).values()]),
});

function updatesOf(world: World): ModelUpdate[] {
  return [
    ...world.nodes.map((object): ModelUpdate => ({ type: 'upsert', kind: 'Node', key: object.metadata.name, object })),
    ...world.clusterPolicies.map(clusterPolicyUpdate),
    ...world.calico.map(calicoUpdate),
    ...world.policies.map(
      (object): ModelUpdate => ({ type: 'upsert', kind: 'NetworkPolicy', key: keyOf(object), object }),
    ),
    ...world.pods.map((object): ModelUpdate => ({ type: 'upsert', kind: 'Pod', key: keyOf(object), object })),
    ...world.namespaces.map(
      (object): ModelUpdate => ({ type: 'upsert', kind: 'Namespace', key: object.metadata.name, object }),
    ),
  ];
}

function startEngine(world: World, local: readonly PodObject[]): { engine: PolicyEngine; store: PolicyStateStore } {
  const engine = createPolicyEngine();
  const store = new PolicyStateStore();
  // Every other local pod has its address from CNI only: its status is empty yet.
  const unreported = new Set(local.filter((_, i) => i % 2 === 0).map(keyOf));
  for (const update of updatesOf(world)) {
    const isUnreported = update.kind === 'Pod' && update.type === 'upsert' && unreported.has(update.key);
    engine.update(isUnreported ? { ...update, object: { ...update.object, podIPs: [] } } : update);
  }
  for (const pod of local) engine.setLocalEndpoint(keyOf(pod), pod.podIPs);
  engine.inSync();
  store.apply(engine.flush());
  return { engine, store };
}

/** Runs `check` on every pair of addresses of one family, protocol and port. */
function everyPacket(
  ends: readonly NaiveEnd[],
  check: (packet: {
    from: NaiveEnd;
    to: NaiveEnd;
    fromAddress: IpAddress;
    toAddress: IpAddress;
    protocol: 'TCP' | 'UDP' | 'SCTP';
    port: number;
  }) => void,
): void {
  const addressesOf = (end: NaiveEnd): readonly IpAddress[] =>
    'pod' in end ? end.pod.podIPs : [end.external as IpAddress];
  for (const from of ends) {
    for (const to of ends) {
      for (const fromAddress of addressesOf(from)) {
        const toAddress = addressesOf(to).find((address) => familyOf(address) === familyOf(fromAddress));
        if (toAddress === undefined) continue;
        for (const protocol of probedProtocols) {
          for (const port of probedPorts) check({ from, to, fromAddress, toAddress, protocol, port });
        }
      }
    }
  }
}

test('with every pod local, the emitted rules give the verdicts of the API documents', () => {
  fc.assert(
    fc.property(cluster, (world) => {
      const local = world.pods.filter(counts);
      const { store } = startEngine(world, local);
      const ends: NaiveEnd[] = [...local.map((pod) => ({ pod })), ...externals.map((external) => ({ external }))];
      everyPacket(ends, ({ from, to, fromAddress, toAddress, protocol, port }) => {
        const end = (side: NaiveEnd, address: IpAddress) =>
          'pod' in side ? { address, endpoint: keyOf(side.pod) } : { address };
        const connection = { from: end(from, fromAddress), to: end(to, toAddress), protocol, port };
        const family = familyOf(fromAddress) === 4 ? 'IPv4' : 'IPv6';
        assert.equal(
          evaluateConnection(store, connection).verdict,
          naiveVerdict(world, { from, to, protocol, port, family }),
          JSON.stringify(connection),
        );
      });
    }),
    { numRuns: casesOr(150) },
  );
});

test('with some pods local, each direction of these is right and nothing of others is kept', () => {
  fc.assert(
    fc.property(cluster, fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }), (world, choice) => {
      const local = world.pods.filter((pod, i) => counts(pod) && choice[i]);
      const { store } = startEngine(world, local);
      assert.deepEqual([...store.endpoints.keys()].sort(), local.map(keyOf).sort());
      const used = new Set(
        [...store.endpoints.values()]
          .flatMap(({ ingress, egress }) => [...ingress, ...egress])
          .flatMap((t) => t.policies),
      );
      assert.deepEqual([...store.policies.keys()].sort(), [...used].sort());
      const others: NaiveEnd[] = [
        ...world.pods.filter(counts).map((pod) => ({ pod })),
        ...externals.map((external) => ({ external })),
      ];
      everyPacket(others, ({ from, to, ...packet }) => {
        for (const [direction, end] of [['egress', from] as const, ['ingress', to] as const]) {
          if (!('pod' in end) || !local.includes(end.pod)) continue;
          const type = direction === 'egress' ? 'Egress' : 'Ingress';
          const endpoint = keyOf(end.pod);
          assert.equal(
            evaluate(store, { ...packet, endpoint, direction }).verdict === 'allow',
            naiveDirectionAllows(world, end.pod, type, packet),
            JSON.stringify({ ...packet, endpoint, direction }),
          );
        }
      });
    }),
    { numRuns: casesOr(100) },
  );
});

type Command =
  | { readonly type: 'namespace'; readonly object: NamespaceObject }
  | { readonly type: 'pod'; readonly object: PodObject }
  | { readonly type: 'policy'; readonly object: NetworkPolicyObject }
  | { readonly type: 'node'; readonly object: NodeObject }
  | { readonly type: 'clusterPolicy'; readonly manifest: RawClusterPolicy }
  | { readonly type: 'calico'; readonly manifest: RawCalico }
  | { readonly type: 'delete'; readonly kind: Kind; readonly key: string }
  | { readonly type: 'local'; readonly key: string; readonly addresses: readonly IpAddress[] }
  | { readonly type: 'unlocal'; readonly key: string }
  | { readonly type: 'settle'; readonly stepsMax: number }
  | { readonly type: 'flush' }
  | { readonly type: 'repeat' };

const namespace = fc.constantFrom(...namespaceNames);
const name = fc.constantFrom('p0', 'p1');
const podKey = fc.tuple(namespace, name).map((parts) => parts.join('/'));
/** Any two pods may hold the same addresses here. */
const slot = fc.integer({ min: 1, max: 4 });

const command: Arbitrary<Command> = fc.oneof(
  {
    weight: 2,
    arbitrary: namespace.chain(namespaceArbitrary).map((object) => ({ type: 'namespace' as const, object })),
  },
  {
    weight: 6,
    arbitrary: fc
      .tuple(namespace, name)
      .chain(([ns, pod]) => podArbitrary(ns, pod, slot))
      .map((object) => ({ type: 'pod' as const, object })),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(namespace, fc.constantFrom('a', 'b'))
      .chain(([ns, policy]) => policyArbitrary(ns, policy))
      .map((object) => ({ type: 'policy' as const, object })),
  },
  {
    weight: 4,
    arbitrary: fc
      .constantFrom(...clusterPolicyIds)
      .chain(clusterPolicyArbitrary)
      .map((manifest) => ({ type: 'clusterPolicy' as const, manifest })),
  },
  {
    weight: 5,
    arbitrary: fc
      .constantFrom(...calicoIds)
      .chain(calicoArbitrary)
      .map((manifest) => ({ type: 'calico' as const, manifest })),
  },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom('n1' as const, 'n2' as const)
      .chain(nodeArbitrary)
      .map((object) => ({ type: 'node' as const, object })),
  },
  {
    weight: 4,
    arbitrary: fc.oneof(
      fc.constantFrom(...clusterPolicyIds).map((id) => ({ type: 'delete' as const, kind: id.kind, key: id.name })),
      fc.constantFrom(...calicoIds).map((id) => ({
        type: 'delete' as const,
        kind: calicoKind(id.kind),
        key: objectKey({ namespace: '', ...id }),
      })),
      fc.constantFrom('n1', 'n2').map((key) => ({ type: 'delete' as const, kind: 'Node' as const, key })),
      namespace.map((key) => ({ type: 'delete' as const, kind: 'Namespace' as const, key })),
      podKey.map((key) => ({ type: 'delete' as const, kind: 'Pod' as const, key })),
      fc
        .tuple(namespace, fc.constantFrom('a', 'b'))
        .map((parts) => ({ type: 'delete' as const, kind: 'NetworkPolicy' as const, key: parts.join('/') })),
    ),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(podKey, slot)
      .map(([key, at]) => ({ type: 'local' as const, key, addresses: [`10.0.0.${at}` as IpAddress] })),
  },
  { weight: 1, arbitrary: podKey.map((key) => ({ type: 'unlocal' as const, key })) },
  { weight: 3, arbitrary: fc.constantFrom<Command>({ type: 'flush' }, { type: 'repeat' }) },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 8 }).map((stepsMax) => ({ type: 'settle' as const, stepsMax })) },
);

/** Every namespace, pod and policy at once, every pod local: a history that starts so has much to change. */
const crowd: Arbitrary<Command[]> = fc
  .tuple(
    fc.tuple(...namespaceNames.map(namespaceArbitrary)),
    fc.tuple(...namespaceNames.flatMap((ns) => ['p0', 'p1'].map((pod) => podArbitrary(ns, pod, slot)))),
    fc.tuple(...namespaceNames.flatMap((ns) => ['a', 'b'].map((policy) => policyArbitrary(ns, policy)))),
    fc.tuple(...clusterPolicyIds.map(clusterPolicyArbitrary)),
    fc.subarray([...calicoIds]).chain((ids) => fc.tuple(...ids.map(calicoArbitrary))),
  )
  .map(([namespaces, pods, policies, manifests, calico]) => [
    ...calico.map((manifest): Command => ({ type: 'calico', manifest })),
    ...manifests.map((manifest): Command => ({ type: 'clusterPolicy', manifest })),
    ...policies.map((object): Command => ({ type: 'policy', object })),
    ...pods.map((object): Command => ({ type: 'pod', object })),
    ...namespaces.map((object): Command => ({ type: 'namespace', object })),
    ...pods.map((pod): Command => ({ type: 'local', key: keyOf(pod), addresses: pod.podIPs })),
  ]);

/** The final state that a history leads to, and a way to hand it to a new engine in any order. */
class Reference {
  readonly updates = new Map<string, ModelUpdate>();
  readonly local = new Map<string, readonly IpAddress[]>();

  apply(engine: PolicyEngine, step: Command): void {
    if (step.type === 'local') {
      this.local.set(step.key, step.addresses);
      engine.setLocalEndpoint(step.key, step.addresses);
    } else if (step.type === 'unlocal') {
      this.local.delete(step.key);
      engine.removeLocalEndpoint(step.key);
    } else if (step.type === 'settle') {
      engine.settle(step.stepsMax);
    } else if (step.type === 'repeat') {
      for (const update of this.updates.values()) engine.update(structuredClone(update));
      for (const [key, addresses] of this.local) engine.setLocalEndpoint(key, addresses);
    } else if (step.type !== 'flush') {
      const update = updateOf(step as ModelCommand);
      if (update.type === 'delete') this.updates.delete(`${update.kind} ${update.key}`);
      else this.updates.set(`${update.kind} ${update.key}`, update);
      engine.update(update);
    }
  }

  fromScratch(reverse: boolean): PolicyStateStore {
    const engine = createPolicyEngine();
    const calls = [
      ...[...this.updates.values()].map((update) => () => engine.update(update)),
      ...[...this.local].map(
        ([key, addresses]) =>
          () =>
            engine.setLocalEndpoint(key, addresses),
      ),
      () => engine.inSync(),
    ];
    for (const call of reverse ? calls.reverse() : calls) call();
    const store = new PolicyStateStore();
    store.apply(engine.flush());
    return store;
  }
}

type ModelCommand = Exclude<Command, { readonly type: 'local' | 'unlocal' | 'settle' | 'flush' | 'repeat' }>;

function updateOf(step: ModelCommand): ModelUpdate {
  switch (step.type) {
    case 'delete':
      return { type: 'delete', kind: step.kind, key: step.key } as ModelUpdate;
    case 'namespace':
      return { type: 'upsert', kind: 'Namespace', key: step.object.metadata.name, object: step.object };
    case 'pod':
      return { type: 'upsert', kind: 'Pod', key: keyOf(step.object), object: step.object };
    case 'policy':
      return { type: 'upsert', kind: 'NetworkPolicy', key: keyOf(step.object), object: step.object };
    case 'node':
      return { type: 'upsert', kind: 'Node', key: step.object.metadata.name, object: step.object };
    case 'calico':
      return calicoUpdate(step.manifest);
    case 'clusterPolicy':
      return clusterPolicyUpdate(step.manifest);
  }
}

/** Sets compare by members, whatever their order. */
function contents(store: PolicyStateStore): object {
  return { sets: store.sets, policies: store.policies, endpoints: store.endpoints };
}

test('any history ends in the state that its final objects give from scratch, and says each thing once', () => {
  fc.assert(
    fc.property(
      crowd,
      fc.array(command, { maxLength: 30, size: 'max' }),
      fc.nat({ max: 40 }),
      (start, steps, syncAt) => {
        const history = [...start, ...steps];
        const engine = createPolicyEngine();
        const store = new PolicyStateStore();
        const reference = new Reference();
        for (const [i, step] of [...history, { type: 'flush' } as const].entries()) {
          if (i === syncAt || i === history.length) engine.inSync();
          reference.apply(engine, step);
          if (step.type !== 'flush') continue;
          const updates = engine.flush();
          if (i < syncAt && i < history.length) assert.deepEqual(updates, [], 'nothing before the model is in sync');
          else {
            store.apply(updates);
            assert.deepEqual(contents(store), contents(reference.fromScratch(i % 2 === 0)));
          }
          reference.apply(engine, { type: 'repeat' });
          assert.deepEqual(engine.flush(), [], 'the same again changes nothing');
        }
        for (const key of reference.local.keys()) assert.equal(engine.isEndpointReady(key), store.endpoints.has(key));
      },
    ),
    { numRuns: casesOr(300) },
  );
});

test('when everything goes, everything is taken back', () => {
  fc.assert(
    fc.property(cluster, fc.boolean(), (world, podsFirst) => {
      const { engine, store } = startEngine(world, world.pods);
      const deletes = updatesOf(world).map(({ kind, key }): ModelUpdate => ({ type: 'delete', kind, key }));
      for (const update of podsFirst ? deletes.reverse() : deletes) {
        engine.update(update);
        store.apply(engine.flush());
      }
      assert.deepEqual([store.sets.size, store.policies.size, store.endpoints.size], [0, 0, 0]);
      assert.equal(engine.stats().sets, 0);
    }),
    { numRuns: casesOr(100) },
  );
});
