/** Namespaces that a directory of manifests mentions without defining them. */
import type { NamespaceObject } from '#model';
import { namespaceNameLabel } from '../manifest/core.ts';
import { type ObjectRef, objectRef, type TypedObject } from '../manifest/decode.ts';
import type { InForce } from '../updates.ts';
import type { Held } from './resolve.ts';

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
