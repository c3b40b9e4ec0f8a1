import { grow, IntStack } from './arrays.ts';

/** Heads of chains by small integer key; links live in the caller's column. Last in, first out. */
export class ChainSet {
  #heads = new Int32Array(16);
  readonly #keys = new IntStack();

  /** Puts `item` at the head of the chain of `key`; returns what its link must hold. */
  add(key: number, item: number): number {
    if (key >= this.#heads.length) this.#heads = grow(this.#heads, key + 1);
    const previous = this.#heads[key]!;
    if (previous === 0) this.#keys.push(key);
    this.#heads[key] = item + 1;
    return previous;
  }
  /** First item of a chain plus 1. */
  first(key: number): number {
    return this.#heads[key] ?? 0;
  }
  /** Number of keys. */
  get count(): number {
    return this.#keys.length;
  }
  /** The keys in order of first use. @param index 0 <= index < count */
  key(index: number): number {
    return this.#keys.items[index]!;
  }
  clear(): void {
    for (let i = 0; i < this.#keys.length; i++) this.#heads[this.#keys.items[i]!] = 0;
    this.#keys.clear();
  }
}
