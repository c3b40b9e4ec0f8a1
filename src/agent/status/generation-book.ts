/**
 * The oldest resourceVersion that was seen of each object's current generation.
 *
 * An agent that takes over has seen nothing yet. What stands in the status then counts: where it says that this generation is in force everywhere, nodes
 * have passed it (one that joins lists everything before it reports), else they will soon be as far as the object is now.
 */
import { type ApiObject, refOf, type StatusKind } from './cluster-status.ts';
import type { Condition } from './conditions.ts';

interface Seen {
  readonly generation: number;
  readonly since: string;
}

export class GenerationBook {
  #seen = new Map<string, Seen>();

  /** All objects of one round; those that are not among them are forgotten. @returns by `refOf`. */
  note(objects: Readonly<Partial<Record<StatusKind, readonly ApiObject[]>>>): ReadonlyMap<string, string> {
    const next = new Map<string, Seen>();
    const since = new Map<string, string>();
    for (const [kind, list] of Object.entries(objects) as [StatusKind, readonly ApiObject[]][]) {
      for (const object of list) {
        const { uid = '', generation = 0, resourceVersion = '' } = object.metadata;
        const ref = refOf(kind, object);
        const key = `${ref} ${uid}`;
        const before = this.#seen.get(key);
        const seen =
          before?.generation === generation
            ? before
            : { generation, since: !before && saysInForce(object, generation) ? '' : resourceVersion };
        next.set(key, seen);
        since.set(ref, seen.since);
      }
    }
    this.#seen = next;
    return since;
  }

  /** Another agent holds the Lease: what was seen until then may be old. */
  forget(): void {
    this.#seen.clear();
  }
}

function saysInForce({ status }: ApiObject, generation: number): boolean {
  const conditions = status?.['conditions'];
  if (!Array.isArray(conditions)) return false;
  return (conditions as readonly Condition[]).some(
    (each) =>
      (each?.type === 'InForce' || each?.type === 'Staged') &&
      each.status === 'True' &&
      each.observedGeneration === generation,
  );
}
