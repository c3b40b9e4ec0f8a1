/** The engine against the naive evaluator, and against itself from scratch, over random worlds and histories. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc, { type Arbitrary } from 'fast-check';
import { familyOf, type IpAddress } from '#kit';
import type { ModelUpdate, PodObject } from '#model';
import { createPolicyEngine, evaluate, evaluateConnection, type PolicyEngine, PolicyStateStore } from '#policy';
import { type NaiveCluster, type NaiveEnd, naiveDirectionAllows, naiveVerdict } from '../support/naive-policy.ts';
import { calicoArbitrary, calicoIds } from '../support/random-calico.ts';
import { clusterPolicyArbitrary, clusterPolicyIds } from '../support/random-cluster-policy.ts';
import {
  calicoUpdate,
  casesOr,
  casesTimeout,
  clusterPolicyUpdate,
  command,
  crowd,
  keyOf,
  Reference,
} from '../support/random-history.ts';
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

const counts = (pod: PodObject): boolean => !pod.hostNetwork && pod.phase !== 'Succeeded' && pod.phase !== 'Failed';

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

test('with every pod local, the emitted rules give the verdicts of the API documents', casesTimeout, () => {
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

test('with some pods local, each direction of these is right and nothing of others is kept', casesTimeout, () => {
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

/** Sets compare by members, whatever their order. */
function contents(store: PolicyStateStore): object {
  return { sets: store.sets, policies: store.policies, endpoints: store.endpoints };
}

test(
  'any history ends in the state that its final objects give from scratch, and says each thing once',
  casesTimeout,
  () => {
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
  },
);

test('when everything goes, everything is taken back', casesTimeout, () => {
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
