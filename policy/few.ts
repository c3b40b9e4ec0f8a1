/**
 * A set that mostly holds none or one, without the 200 bytes and more that a Set costs: nothing, the one itself, a short list, and
 * a Set beyond that. What is in it is neither an array nor a Set.
 *
 * `with` and `without` return what to keep from then on. A list is never changed in place, a Set is.
 */
export type Few<T> = undefined | T | readonly T[] | Set<T>;

/** A longer list would be slower to search than a Set. */
const listItemsMax = 8;
const nobody: readonly never[] = [];

export function fewWith<T>(few: Few<T>, value: T): Few<T> {
  if (few === undefined) return value;
  if (few instanceof Set) return few.add(value);
  if (!isList(few)) return few === value ? few : [few, value];
  if (few.includes(value)) return few;
  // concat and toSpliced leave no room to grow, which a list made by pushing has.
  return few.length < listItemsMax ? few.concat([value]) : new Set(few).add(value);
}

export function fewWithout<T>(few: Few<T>, value: T): Few<T> {
  if (few instanceof Set) {
    few.delete(value);
    return few.size === 0 ? undefined : few;
  }
  if (!isList(few)) return few === value ? undefined : few;
  const at = few.indexOf(value);
  if (at < 0) return few;
  return few.length === 2 ? few[1 - at] : few.toSpliced(at, 1);
}

export function fewHas<T>(few: Few<T>, value: T): boolean {
  if (few instanceof Set) return few.has(value);
  return isList(few) ? few.includes(value) : few !== undefined && few === value;
}

export function fewSize<T>(few: Few<T>): number {
  if (few === undefined) return 0;
  if (few instanceof Set) return few.size;
  return isList(few) ? few.length : 1;
}

/** In the order of adding. Take a copy to add or remove meanwhile. */
export function fewValues<T>(few: Few<T>): Iterable<T> {
  if (few === undefined) return nobody;
  return few instanceof Set || isList(few) ? few : [few];
}

function isList<T>(few: Few<T>): few is readonly T[] {
  return Array.isArray(few);
}

/** Several values by key, most keys with one. */
export class MultiMap<K, V> {
  readonly #values = new Map<K, Few<V>>();

  /** Keys that have a value. */
  get size(): number {
    return this.#values.size;
  }
  add(key: K, value: V): void {
    const before = this.#values.get(key);
    const after = fewWith(before, value);
    if (after !== before) this.#values.set(key, after);
  }
  remove(key: K, value: V): void {
    const before = this.#values.get(key);
    const after = fewWithout(before, value);
    if (after === undefined) this.#values.delete(key);
    else if (after !== before) this.#values.set(key, after);
  }
  has(key: K): boolean {
    return this.#values.has(key);
  }
  count(key: K): number {
    return fewSize(this.#values.get(key));
  }
  of(key: K): Iterable<V> {
    return fewValues(this.#values.get(key));
  }
  keys(): Iterable<K> {
    return this.#values.keys();
  }
}
