/** Random histories of a small cluster: objects that come, change and go, and pods that are wired, in any order. */
import assert from 'node:assert/strict';
import fc, { type Arbitrary } from 'fast-check';
import { decodeObject } from '#datastore';
import type { IpAddress } from '#kit';
import {
  type Kind,
  type ModelUpdate,
  type NamespaceObject,
  type NetworkPolicyObject,
  type NodeObject,
  objectKey,
  type PodObject,
} from '#model';
import { createPolicyEngine, type PolicyEngine, PolicyStateStore } from '#policy';
import type { RawCalico } from './naive-calico-policy.ts';
import type { RawClusterPolicy } from './naive-cluster-policy.ts';
import { calicoArbitrary, calicoIds } from './random-calico.ts';
import { clusterPolicyArbitrary, clusterPolicyIds } from './random-cluster-policy.ts';
import { namespaceArbitrary, namespaceNames, nodeArbitrary, podArbitrary, policyArbitrary } from './random-policy.ts';
import { stagedArbitrary, stagedIds } from './random-staged.ts';

/** POPLIN_POLICY_CASES=10000 for the long form, some minutes. */
export const casesOr = (usual: number): number => Number(process.env['POPLIN_POLICY_CASES'] ?? usual);
/** Of one test: the usual time, and longer where more cases were asked for; on a machine with other work too. */
export const casesTimeout = { timeout: Math.max(240_000, casesOr(0) * 200) };

export const keyOf = (object: PodObject | NetworkPolicyObject): string =>
  `${object.metadata.namespace}/${object.metadata.name}`;

/** The oracle reads the manifest; the engine gets what the datastore makes of it. */
export function clusterPolicyUpdate(manifest: RawClusterPolicy): ModelUpdate {
  const { typed, faults } = decodeObject(manifest.kind, manifest, 'api');
  assert.ok(typed, JSON.stringify(faults));
  return { type: 'upsert', key: manifest.metadata.name, ...typed } as ModelUpdate;
}

export function calicoUpdate(manifest: RawCalico): ModelUpdate {
  const { typed, faults } = decodeObject(calicoKind(manifest.kind), manifest, 'directory');
  assert.ok(typed, JSON.stringify(faults));
  return { type: 'upsert', key: objectKey(typed.object.metadata), ...typed } as ModelUpdate;
}
const calicoKind = (kind: RawCalico['kind']): Kind => (kind === 'NetworkPolicy' ? 'CalicoNetworkPolicy' : kind);

export type Command =
  | { readonly type: 'namespace'; readonly object: NamespaceObject }
  | { readonly type: 'pod'; readonly object: PodObject }
  | { readonly type: 'policy'; readonly object: NetworkPolicyObject }
  | { readonly type: 'node'; readonly object: NodeObject }
  | { readonly type: 'clusterPolicy'; readonly manifest: RawClusterPolicy }
  | { readonly type: 'calico'; readonly manifest: RawCalico }
  | { readonly type: 'staged'; readonly update: ModelUpdate }
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

export const command: Arbitrary<Command> = fc.oneof(
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
    weight: 3,
    arbitrary: fc
      .constantFrom(...stagedIds)
      .chain(stagedArbitrary)
      .map((update) => ({ type: 'staged' as const, update })),
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
      fc.constantFrom(...stagedIds).map((id) => ({
        type: 'delete' as const,
        kind: id.kind,
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
export const crowd: Arbitrary<Command[]> = fc
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
export class Reference {
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
    case 'staged':
      return step.update;
    case 'clusterPolicy':
      return clusterPolicyUpdate(step.manifest);
  }
}
