/**
 * Which terms of a long list are worth a look for a prefix: the addresses of the family are cut where a term's prefix begins or ends, and each piece
 * knows the terms whose prefix holds it, and those that cannot be told by the prefix alone. A look-up is a binary search.
 */

/** With fewer terms that have a prefix a walk through all of them is as quick. */
export const indexedTermsMin = 8;
/** Terms in all pieces together, for each term of the list. Nested prefixes, or terms without one, would make it their product. */
const itemsPerTermMax = 64;

/** Addresses from `first` to `last` as numbers of 32 or 128 bits. */
export interface TermRange {
  readonly first: bigint;
  readonly last: bigint;
}

export class PrefixIndex {
  /** After `find`: the terms are `items[start..end)`, ascending. */
  start = 0;
  end = 0;
  readonly items: Int32Array;
  /** First addresses of the pieces, ascending, `stride` unsigned words each. */
  readonly #bounds: Uint32Array;
  readonly #starts: Int32Array;
  readonly #stride: number;

  private constructor(stride: number, bounds: readonly bigint[], terms: readonly (readonly number[])[]) {
    this.#stride = stride;
    this.#bounds = new Uint32Array(stride * bounds.length);
    for (const [n, bound] of bounds.entries()) {
      for (let i = 0; i < stride; i++) {
        this.#bounds[n * stride + i] = Number((bound >> BigInt(32 * (stride - 1 - i))) & 0xffffffffn);
      }
    }
    this.items = Int32Array.from(terms.flat());
    this.#starts = new Int32Array(terms.length + 1);
    for (const [n, each] of terms.entries()) this.#starts[n + 1] = this.#starts[n]! + each.length;
  }

  /**
   * @param stride words of an address. @param ranges by term, of prefixes that it may be about; undefined: of any.
   * @returns undefined where it would not pay, or be too large.
   */
  static make(stride: number, ranges: readonly (TermRange | undefined)[]): PrefixIndex | undefined {
    const bounded = ranges.filter((range) => range !== undefined);
    if (bounded.length < indexedTermsMin) return undefined;
    const end = 1n << BigInt(32 * stride);
    const cuts = new Set([0n, ...bounded.flatMap(({ first, last }) => [first, last + 1n])]);
    cuts.delete(end);
    const bounds = [...cuts].sort((a, b) => (a < b ? -1 : 1));
    const pieces = new Map(bounds.map((bound, piece) => [bound, piece]));
    const terms = bounds.map((): number[] => []);
    let items = 0;
    for (const [term, range] of ranges.entries()) {
      const from = range === undefined ? 0 : pieces.get(range.first)!;
      const to = range === undefined ? bounds.length : (pieces.get(range.last + 1n) ?? bounds.length);
      items += to - from;
      if (items > itemsPerTermMax * ranges.length) return undefined;
      for (let piece = from; piece < to; piece++) terms[piece]!.push(term);
    }
    return new PrefixIndex(stride, bounds, terms);
  }

  /** Of the prefix whose words begin at `words[base]`. */
  find(words: Int32Array, base: number): void {
    let low = 0;
    let high = this.#starts.length - 2;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#isAfter(middle, words, base)) high = middle - 1;
      else low = middle;
    }
    this.start = this.#starts[low]!;
    this.end = this.#starts[low + 1]!;
  }

  #isAfter(piece: number, words: Int32Array, base: number): boolean {
    const at = piece * this.#stride;
    for (let i = 0; i < this.#stride; i++) {
      const bound = this.#bounds[at + i]!;
      const word = words[base + i]! >>> 0;
      if (bound !== word) return bound > word;
    }
    return false;
  }
}
