/** What changed between two sets of objects in force, as one batch of model updates. Pure. */
import type { Kind, ModelUpdate } from '#model';
import type { ObjectRef, TypedObject } from './manifest/decode.ts';
import { sameObject } from './same-object.ts';

/** Objects in force by reference, e.g. `Pod default/web-1`. */
export type InForce = ReadonlyMap<ObjectRef, { readonly key: string; readonly typed: TypedObject }>;

/** What restricts comes before what it restricts, and what a rule says of a service after the service; deletions go the other way round. */
const upsertOrder: readonly Kind[] = [
  'Namespace',
  'ServiceAccount',
  'EndpointSlice',
  'Tier',
  'NetworkPolicy',
  'ClusterNetworkPolicy',
  'AdminNetworkPolicy',
  'BaselineAdminNetworkPolicy',
  'CalicoNetworkPolicy',
  'GlobalNetworkPolicy',
  'StagedNetworkPolicy',
  'StagedGlobalNetworkPolicy',
  'StagedKubernetesNetworkPolicy',
  'NetworkSet',
  'GlobalNetworkSet',
  'HostEndpoint',
  'Secret',
  'FelixConfiguration',
  'IPPool',
  'Node',
  'BGPFilter',
  'BGPConfiguration',
  'BGPPeer',
  'CalicoNodeStatus',
  'Pod',
];
const rank = new Map(upsertOrder.map((kind, index) => [kind, index]));

/** Upserts in dependency order, then deletions in the reverse of it. `updates` are sorted in place. */
export function inOrder(updates: ModelUpdate[]): ModelUpdate[] {
  const place = ({ type, kind }: ModelUpdate): number =>
    type === 'upsert' ? rank.get(kind)! : 2 * upsertOrder.length - rank.get(kind)!;
  return updates.sort((a, b) => place(a) - place(b));
}

/** At most one update for each object; upserts in dependency order, then deletions in the reverse of it. */
export function updatesBetween(before: InForce, after: InForce): ModelUpdate[] {
  const updates: ModelUpdate[] = [];
  for (const [ref, { key, typed }] of after) {
    const old = before.get(ref)?.typed;
    if (old && (old === typed || sameObject(old.object, typed.object))) continue;
    updates.push({ type: 'upsert', key, ...typed } as ModelUpdate);
  }
  for (const [ref, { key, typed }] of before) {
    if (!after.has(ref)) updates.push({ type: 'delete', kind: typed.kind, key });
  }
  return inOrder(updates);
}
