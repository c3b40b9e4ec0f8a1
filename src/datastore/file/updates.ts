/** What changed between two sets of objects in force, as one batch of model updates. Pure. */
import type { Kind, ModelUpdate, NamespaceObject } from '#model';
import { namespaceNameLabel } from '../manifest/core.ts';
import { type ObjectRef, objectRef, type TypedObject } from '../manifest/decode.ts';
import type { Held } from './resolve.ts';
import { sameObject } from './same-object.ts';

/** Objects in force by reference, e.g. `Pod default/web-1`. */
export type InForce = ReadonlyMap<ObjectRef, { readonly key: string; readonly typed: TypedObject }>;

/** What restricts comes before what it restricts; deletions go the other way round. */
const upsertOrder: readonly Kind[] = [
  'Namespace',
  'NetworkPolicy',
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

/**
 * The objects in force, with a Namespace for each namespace that is only mentioned: in a cluster none can be used
 * before it exists, and `namespaceSelector` must find it by name here too.
 */
export function withImpliedNamespaces(held: ReadonlyMap<ObjectRef, Held>): InForce {
  const out = new Map<ObjectRef, { key: string; typed: TypedObject }>();
  const mentioned = new Set<string>();
  for (const [ref, { version }] of held) {
    out.set(ref, version);
    const { namespace } = version.typed.object.metadata;
    if (namespace !== '') mentioned.add(namespace);
  }
  for (const name of mentioned) {
    const ref = objectRef('Namespace', name);
    if (!out.has(ref)) out.set(ref, { key: name, typed: { kind: 'Namespace', object: impliedNamespace(name) } });
  }
  return out;
}

function impliedNamespace(name: string): NamespaceObject {
  return { metadata: { name, namespace: '', uid: '', labels: { [namespaceNameLabel]: name }, annotations: {} } };
}

/** At most one update for each object; upserts in dependency order, then deletions in the reverse of it. */
export function updatesBetween(before: InForce, after: InForce): ModelUpdate[] {
  const upserts: ModelUpdate[] = [];
  const deletes: ModelUpdate[] = [];
  for (const [ref, { key, typed }] of after) {
    const old = before.get(ref)?.typed;
    if (old && (old === typed || sameObject(old.object, typed.object))) continue;
    upserts.push({ type: 'upsert', key, ...typed } as ModelUpdate);
  }
  for (const [ref, { key, typed }] of before) {
    if (!after.has(ref)) deletes.push({ type: 'delete', kind: typed.kind, key });
  }
  const byRank = (a: ModelUpdate, b: ModelUpdate): number => rank.get(a.kind)! - rank.get(b.kind)!;
  return [...upserts.sort(byRank), ...deletes.sort((a, b) => byRank(b, a))];
}
