/**
 * Policies that name a service, and those of them that wait for the EndpointSlices: what was told of each stays in force meanwhile. The slices
 * are asked for when the first comes, because a large cluster has many, and most have no such policy.
 */
import { type CalicoPolicyObject, isStagedKind, type Kind, type ObjectKey } from '#model';
import type { AnyObject } from './kind-store.ts';

export interface TakenChange {
  readonly kind: Kind;
  readonly key: ObjectKey;
  /** Undefined: it is gone. */
  readonly object: AnyObject | undefined;
  /** What was handed on last. */
  readonly told: AnyObject | undefined;
}

const policyKinds: ReadonlySet<Kind> = new Set<Kind>([
  ...(['CalicoNetworkPolicy', 'GlobalNetworkPolicy'] as const),
  ...(['StagedNetworkPolicy', 'StagedGlobalNetworkPolicy'] as const),
]);

export class HeldBack {
  readonly #needing = new Set<string>();
  /** Staged ones: what is in force waits for none of these. */
  readonly #staged = new Set<string>();
  readonly #waiting = new Map<Kind, Map<ObjectKey, AnyObject | undefined>>();
  #listed = false;

  /** Some policy that is in force, or would be if it did not wait. */
  get needsSlices(): boolean {
    return this.#needing.size > 0;
  }
  get wantsSlices(): boolean {
    return this.needsSlices || this.#staged.size > 0;
  }

  holds(kind: Kind): boolean {
    return this.#waiting.has(kind);
  }

  /** @param onDisk slices of an earlier run are in force. @returns whether the change has to wait. */
  note({ kind, key, object, told }: TakenChange, onDisk: boolean): boolean {
    if (!policyKinds.has(kind)) return false;
    const ref = `${kind} ${key}`;
    const naming = isStagedKind(kind) ? this.#staged : this.#needing;
    if (!object || !namesService(object as CalicoPolicyObject)) {
      naming.delete(ref);
      return false;
    }
    naming.add(ref);
    if (this.#listed || onDisk || object === told) return false;
    const waiting = this.#waiting.get(kind) ?? new Map<ObjectKey, AnyObject | undefined>();
    this.#waiting.set(kind, waiting.set(key, told));
    return true;
  }

  /** It changes again. @returns what was told of it last, `before` where it does not wait. */
  take(kind: Kind, key: ObjectKey, before: AnyObject | undefined): AnyObject | undefined {
    const waiting = this.#waiting.get(kind);
    if (!waiting?.has(key)) return before;
    const told = waiting.get(key);
    waiting.delete(key);
    if (waiting.size === 0) this.#waiting.delete(kind);
    return told;
  }

  /** The slices are there, from now on: what waited, with what was told of each. */
  release(): readonly (readonly [Kind, ObjectKey, AnyObject | undefined])[] {
    this.#listed = true;
    const all = [...this.#waiting].flatMap(([kind, waiting]) =>
      [...waiting].map(([key, told]) => [kind, key, told] as const),
    );
    this.#waiting.clear();
    return all;
  }
}

function namesService({ ingress, egress }: CalicoPolicyObject): boolean {
  return [...ingress, ...egress].some(({ source, destination }) => source.services ?? destination.services);
}
