/** Random staged policies, in the small world of random-policy.ts: each says of an enforced policy there that it would be another, or none. */
import assert from 'node:assert/strict';
import fc, { type Arbitrary } from 'fast-check';
import { decodeObject } from '#datastore';
import { type Kind, type ModelUpdate, objectKey, type StagedAction, type StagedKind } from '#model';
import { calicoArbitrary } from './random-calico.ts';
import { policyArbitrary } from './random-policy.ts';

export interface StagedId {
  readonly kind: StagedKind;
  readonly namespace?: string;
  readonly name: string;
}

export const stagedIds: readonly StagedId[] = [
  { kind: 'StagedGlobalNetworkPolicy', name: 'a' },
  { kind: 'StagedGlobalNetworkPolicy', name: 'b' },
  { kind: 'StagedNetworkPolicy', name: 'a', namespace: 'red' },
  { kind: 'StagedNetworkPolicy', name: 'other', namespace: 'green' },
  { kind: 'StagedKubernetesNetworkPolicy', name: 'a', namespace: 'red' },
  { kind: 'StagedKubernetesNetworkPolicy', name: 'other', namespace: 'green' },
];

export const enforcedKindOf: Readonly<Record<StagedKind, Kind>> = {
  StagedGlobalNetworkPolicy: 'GlobalNetworkPolicy',
  StagedNetworkPolicy: 'CalicoNetworkPolicy',
  StagedKubernetesNetworkPolicy: 'NetworkPolicy',
};

const action = fc.constantFrom<StagedAction>('Set', 'Set', 'Set', 'Delete', 'Ignore');

export function stagedArbitrary({ kind, namespace = '', name }: StagedId): Arbitrary<ModelUpdate> {
  const key = objectKey({ namespace, name });
  if (kind === 'StagedKubernetesNetworkPolicy') {
    return fc
      .tuple(policyArbitrary(namespace, name), action)
      .map(([object, stagedAction]) => ({ type: 'upsert', kind, key, object: { ...object, stagedAction } }));
  }
  const written = kind === 'StagedNetworkPolicy' ? 'NetworkPolicy' : 'GlobalNetworkPolicy';
  const id = (written === 'NetworkPolicy' ? { kind: written, name, namespace } : { kind: written, name }) as never;
  return fc.tuple(calicoArbitrary(id), action).map(([manifest, stagedAction]): ModelUpdate => {
    const { spec } = manifest as { spec: { tier?: string } };
    const said = stagedAction === 'Delete' ? { ...(spec.tier && { tier: spec.tier }) } : spec;
    const { typed, faults } = decodeObject(kind, { ...manifest, kind, spec: { ...said, stagedAction } }, 'directory');
    assert.ok(typed, JSON.stringify(faults));
    return { type: 'upsert', key, ...typed } as ModelUpdate;
  });
}
