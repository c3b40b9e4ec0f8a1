/**
 * What a filter makes of the attribute sets of routes: none (rejected), the set itself, or a changed one, interned like any other.
 * Each change is worked out once between `release`s.
 */
import { type CompiledFilter, changeAttributes, rejected } from '../filter/index.ts';
import { emptyAttributeValues, readCanonical } from '../wire/index.ts';
import type { AttributePool } from './attribute-pool.ts';

export class FilteredSets {
  readonly #filter: CompiledFilter;
  readonly #pool: AttributePool;
  #set = -1;
  #bytes: Uint8Array = new Uint8Array(0);
  /** By term, for the set in use: -1 where it cannot be made. */
  readonly #changed = new Map<number, number>();
  readonly #made: number[] = [];

  constructor(filter: CompiledFilter, pool: AttributePool) {
    this.#filter = filter;
    this.#pool = pool;
  }

  /** The set of a route to the prefix whose words begin at `words[base]`, after the filter; -1: the route is rejected. */
  of(set: number, words: Int32Array, base: number, bits: number): number {
    if (set !== this.#set) this.#use(set);
    const term = this.#filter.decide(words, base, bits);
    if (term === rejected) return -1;
    const changes = this.#filter.terms[term]?.changes;
    if (!changes) return set;
    const known = this.#changed.get(term);
    if (known !== undefined) return known;
    const bytes = changeAttributes(this.#bytes, changes);
    const changed = bytes ? this.#intern(bytes) : -1;
    this.#changed.set(term, changed);
    return changed;
  }

  /** Lets go of what nobody took. Sets may be freed and their numbers given again from here on. */
  release(): void {
    for (const set of this.#made.splice(0)) this.#pool.drop(set);
    this.#changed.clear();
    this.#set = -1;
  }

  #use(set: number): void {
    this.#set = set;
    this.#changed.clear();
    this.#bytes = Buffer.from(this.#pool.key(set), 'latin1');
    if (this.#filter.testsAttributes) this.#filter.use(this.#bytes, 0, this.#bytes.length);
  }

  #intern(bytes: Uint8Array): number {
    const key = Buffer.from(bytes).toString('latin1');
    const known = this.#pool.find(key);
    if (known >= 0) return known;
    const values = emptyAttributeValues();
    // Loops were looked for when the route came in.
    readCanonical(bytes, 0, bytes.length, 0, 0, values);
    const made = this.#pool.add(key, values);
    this.#made.push(made);
    return made;
  }
}
