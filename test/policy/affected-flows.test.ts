/** Whatever changes: of a flow whose verdict changes, the engine's updates name an end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc, { type Arbitrary } from 'fast-check';
import type { IpAddress } from '#kit';
import type { ModelUpdate, NamespaceObject, NetworkPolicyObject, PodObject } from '#model';
import { AffectedFlows, createPolicyEngine, type EstablishedFlow, flowAllowed, PolicyStateStore } from '#policy';
import { calicoArbitrary, calicoIds } from '../support/random-calico.ts';
import { calicoUpdate } from '../support/random-history.ts';
import {
  externals,
  namespaceArbitrary,
  namespaceNames,
  podArbitrary,
  policyArbitrary,
  probedPorts,
} from '../support/random-policy.ts';

interface World {
  readonly namespaces: readonly NamespaceObject[];
  readonly pods: readonly PodObject[];
  readonly policies: readonly NetworkPolicyObject[];
  readonly calico: readonly ModelUpdate[];
}

/** `p0` of each namespace is wired on this node, whatever becomes of its Pod object. */
const local = new Map(namespaceNames.map((namespace, n) => [`10.0.0.${2 * n + 1}`, `${namespace}/p0`]));

const parts = {
  namespaces: fc.tuple(...namespaceNames.map(namespaceArbitrary)),
  pods: fc
    .tuple(
      ...namespaceNames.flatMap((namespace, n) =>
        [0, 1].map((i) => fc.option(podArbitrary(namespace, `p${i}`, fc.constant(n * 2 + i + 1)), { freq: 8 })),
      ),
    )
    .map((pods) => pods.filter((pod) => pod !== null)),
  policies: fc
    .subarray(namespaceNames.flatMap((namespace) => ['a', 'b'].map((name) => [namespace, name] as const)))
    .chain((names) => fc.tuple(...names.map(([namespace, name]) => policyArbitrary(namespace, name)))),
  calico: fc
    .subarray([...calicoIds])
    .chain((ids) => fc.tuple(...ids.map(calicoArbitrary)))
    .map((manifests) => manifests.map(calicoUpdate)),
};
/** A world, and what becomes of parts of it: where only pods change, only members of sets do. */
const history: Arbitrary<World[]> = fc
  .tuple(fc.record(parts), fc.array(fc.record(parts, { requiredKeys: [] }), { minLength: 1, maxLength: 4 }))
  .map(([first, changes]) => {
    const worlds: World[] = [first];
    for (const change of changes) worlds.push({ ...worlds.at(-1)!, ...change });
    return worlds;
  });

function objectsOf({
  namespaces,
  pods,
  policies,
  calico,
}: World): Map<string, Extract<ModelUpdate, { type: 'upsert' }>> {
  const keyOf = ({ metadata }: PodObject | NetworkPolicyObject) => `${metadata.namespace}/${metadata.name}`;
  const all: Extract<ModelUpdate, { type: 'upsert' }>[] = [
    ...namespaces.map((object) => ({ type: 'upsert', kind: 'Namespace', key: object.metadata.name, object }) as const),
    ...pods.map((object) => ({ type: 'upsert', kind: 'Pod', key: keyOf(object), object }) as const),
    ...policies.map((object) => ({ type: 'upsert', kind: 'NetworkPolicy', key: keyOf(object), object }) as const),
    ...calico.filter((update) => update.type === 'upsert'),
  ];
  return new Map(all.map((update) => [`${update.kind} ${update.key}`, update]));
}

const addresses = [...[1, 2, 3, 4, 5, 6].map((n) => `10.0.0.${n}` as IpAddress), ...externals].filter(
  (address) => !address.includes(':'),
);
const flows: readonly EstablishedFlow[] = addresses.flatMap((source) =>
  addresses.flatMap((destination) =>
    [6, 17, 1].flatMap((protocol) =>
      (protocol === 1 ? [0] : probedPorts).map((destinationPort) => ({
        source,
        destination,
        fromHost: false,
        protocol,
        sourcePort: 1024,
        destinationPort,
      })),
    ),
  ),
);

test('a flow whose verdict changes has an end that the updates are about', () => {
  let changes = 0;
  fc.assert(
    fc.property(history, (worlds) => {
      const engine = createPolicyEngine();
      const state = new PolicyStateStore();
      const affected = new AffectedFlows();
      for (const [address, id] of local) engine.setLocalEndpoint(id, [address as IpAddress]);
      engine.inSync();
      const verdicts = () => flows.map((flow) => flowAllowed(state, flow, (address) => local.get(address)));
      let before = verdicts();
      let told = new Map<string, ModelUpdate>();
      for (const next of worlds.map(objectsOf)) {
        for (const [ref, { kind, key }] of told) if (!next.has(ref)) engine.update({ type: 'delete', kind, key });
        for (const update of next.values()) engine.update(update);
        told = next;
        const updates = engine.flush();
        const { endpoints, addresses: named } = affected.note(updates);
        state.apply(updates);
        const after = verdicts();
        for (const [i, flow] of flows.entries()) {
          if (before[i] === after[i]) continue;
          changes++;
          const ends = [flow.source, flow.destination];
          assert.ok(
            ends.some((end) => named.has(end) || endpoints.has(local.get(end) ?? '')),
            JSON.stringify(flow),
          );
        }
        before = after;
      }
    }),
    { numRuns: 300 },
  );
  assert.ok(changes > 1000, `${changes} verdicts changed`);
});
