/** Chance that can be had again: the same seed, the same draws. */

/** SplitMix32: any seed will do, and one of its own for each case costs nothing. */
export class Random {
  #state = 0;

  constructor(seed = 0) {
    this.seed(seed);
  }
  seed(seed: number): void {
    this.#state = seed >>> 0;
  }
  /** The seed of case `index` of target number `target` in a run with `seed`. */
  seedCase(seed: number, target: number, index: number): void {
    this.#state = (Math.imul(seed ^ 0x5bd1e995, 0x9e3779b1) ^ Math.imul(target + 1, 0x85ebca6b) ^ index) >>> 0;
    this.word();
    this.#state ^= Math.imul(index, 0xc2b2ae35);
  }
  /** 32 bits. */
  word(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }
  /** 0 <= x < 1. */
  fraction(): number {
    return this.word() / 0x1_0000_0000;
  }
  /** 0 <= x < limit. */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }
  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}
