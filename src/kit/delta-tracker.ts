/**
 * Desired against actual: the one place where "what we want" meets "what is there".
 *
 *        desired only      both, equal       actual only
 *      (pending update)   (nothing to do)   (pending delete)
 *              both, different = pending update
 *
 * Callers say what they want (`desire`, `undesire`) and what they found or wrote (`found`, `gone`); the tracker keeps the
 * two pending sets as both sides move, at O(1) a call, so that an apply costs what changed and not what exists. An
 * apply that fails half way leaves the rest pending: calling it again is always right.
 */
export class DeltaTracker<K, V> {
  readonly #desired = new Map<K, V>();
  readonly #actual = new Map<K, V>();
  readonly #updates = new Set<K>();
  readonly #deletes = new Set<K>();
  readonly #equal: (a: V, b: V) => boolean;

  constructor(equal: (a: V, b: V) => boolean = Object.is) {
    this.#equal = equal;
  }

  get desired(): ReadonlyMap<K, V> {
    return this.#desired;
  }
  get actual(): ReadonlyMap<K, V> {
    return this.#actual;
  }
  /** Keys that are wanted and are absent or different. Safe to iterate while calling `found` and `gone`. */
  get pendingUpdates(): ReadonlySet<K> {
    return this.#updates;
  }
  /** Keys that exist and are not wanted. */
  get pendingDeletes(): ReadonlySet<K> {
    return this.#deletes;
  }
  get inSync(): boolean {
    return this.#updates.size === 0 && this.#deletes.size === 0;
  }

  desire(key: K, value: V): void {
    this.#desired.set(key, value);
    this.#settle(key);
  }
  undesire(key: K): void {
    this.#desired.delete(key);
    this.#settle(key);
  }
  /** Makes exactly `entries` desired. */
  replaceDesired(entries: Iterable<readonly [K, V]>): void {
    for (const _ of this.replacingDesired(entries));
  }
  /** The same, a key a step. */
  *replacingDesired(entries: Iterable<readonly [K, V]>): Generator<void> {
    const wanted = new Set<K>();
    for (const [key, value] of entries) {
      wanted.add(key);
      this.desire(key, value);
      yield;
    }
    for (const key of this.#desired.keys()) {
      if (!wanted.has(key)) this.undesire(key);
      yield;
    }
  }
  /** The far side holds `value` now: it was read back, or a write of it succeeded. */
  found(key: K, value: V): void {
    const same = this.#actual.has(key) && this.#equal(this.#actual.get(key) as V, value);
    this.#actual.set(key, value);
    if (!same) this.#settle(key);
  }
  gone(key: K): void {
    this.#actual.delete(key);
    this.#settle(key);
  }
  /** A full dump: exactly `entries` are there. */
  replaceActual(entries: Iterable<readonly [K, V]>): void {
    for (const _ of this.replacingActual(entries));
  }
  /** The same, a key a step. What is said between steps counts too, but what is found then may be taken for gone: it is pending again. */
  *replacingActual(entries: Iterable<readonly [K, V]>): Generator<void> {
    const there = new Set<K>();
    for (const [key, value] of entries) {
      there.add(key);
      this.found(key, value);
      yield;
    }
    for (const key of this.#actual.keys()) {
      if (!there.has(key)) this.gone(key);
      yield;
    }
  }

  #settle(key: K): void {
    const wanted = this.#desired.has(key);
    const there = this.#actual.has(key);
    const same = wanted && there && this.#equal(this.#desired.get(key) as V, this.#actual.get(key) as V);
    if (wanted && !same) this.#updates.add(key);
    else this.#updates.delete(key);
    if (there && !wanted) this.#deletes.add(key);
    else this.#deletes.delete(key);
  }
}
