/** Conditions on prefixes, made ready for words: one prefix, or a set of them as a binary trie. */
import { parseCidr } from '#kit';
import type { TermRange } from './prefix-index.ts';
import type { PrefixMatch, PrefixSetMatch } from './types.ts';

/** @throws RangeError when it is no prefix. */
function parse(cidr: string): { readonly words: Int32Array; readonly bits: number; readonly most: number } {
  const parsed = parseCidr(cidr);
  if (!parsed) throw new RangeError(`${cidr} is not a prefix`);
  const { bytes, length } = parsed;
  const words = new Int32Array(bytes.length >> 2);
  for (let i = 0; i < words.length; i++) {
    words[i] = (bytes[4 * i]! << 24) | (bytes[4 * i + 1]! << 16) | (bytes[4 * i + 2]! << 8) | bytes[4 * i + 3]!;
  }
  return { words, bits: length, most: 8 * bytes.length };
}

/** The single prefixes of a list of terms, as columns by term: a test is a few comparisons of numbers. */
export class PrefixColumns {
  /** Words a prefix; 0: no term has one. */
  readonly stride: number;
  readonly words: Int32Array;
  readonly masks: Int32Array;
  readonly min: Uint8Array;
  readonly max: Uint8Array;
  /** 1: holds inside the range; 0: outside of it. */
  readonly inside: Uint8Array;

  /** @throws RangeError */
  constructor(matches: readonly (PrefixMatch | undefined)[]) {
    const first = matches.find((match) => match !== undefined);
    this.stride = first ? parse(first.cidr).words.length : 0;
    this.words = new Int32Array(this.stride * matches.length);
    this.masks = new Int32Array(this.stride * matches.length);
    this.min = new Uint8Array(matches.length);
    this.max = new Uint8Array(matches.length);
    this.inside = new Uint8Array(matches.length);
    for (const [term, match] of matches.entries()) if (match) this.#set(term, match);
  }

  #set(term: number, { operator, cidr, minLength, maxLength }: PrefixMatch): void {
    const { words, bits, most } = parse(cidr);
    if (words.length !== this.stride) throw new RangeError(`${cidr} is of another family than the prefixes before it`);
    for (let i = 0; i < words.length; i++) {
      const inWord = Math.min(32, Math.max(0, bits - 32 * i));
      this.words[term * this.stride + i] = words[i]!;
      this.masks[term * this.stride + i] = inWord === 0 ? 0 : -1 << (32 - inWord);
    }
    const exact = operator === 'equal' || operator === 'notEqual';
    this.min[term] = Math.min(255, Math.max(bits, minLength ?? 0));
    this.max[term] = Math.min(exact ? bits : most, maxLength ?? most);
    this.inside[term] = operator === 'notEqual' || operator === 'notIn' ? 0 : 1;
  }

  /** Where prefixes have to be for the term, which has one; undefined: anywhere. */
  range(term: number): TermRange | undefined {
    if (this.inside[term] === 0) return undefined;
    let first = 0n;
    let wild = 0n;
    for (let i = term * this.stride; i < (term + 1) * this.stride; i++) {
      first = (first << 32n) | BigInt((this.words[i]! & this.masks[i]!) >>> 0);
      wild = (wild << 32n) | BigInt(~this.masks[i]! >>> 0);
    }
    return { first, last: first | wild };
  }

  holds(term: number, words: Int32Array, base: number, bits: number): boolean {
    let inside = bits >= this.min[term]! && bits <= this.max[term]! ? 1 : 0;
    const at = term * this.stride;
    for (let i = 0; inside === 1 && i < this.stride; i++) {
      if (((words[base + i]! ^ this.words[at + i]!) & this.masks[at + i]!) !== 0) inside = 0;
    }
    return inside === this.inside[term];
  }
}

/**
 * Costs a step a bit of the tested prefix at most, whatever the number of entries, and 8 bytes a node. Ranges of lengths of
 * entries with the same prefix are kept as a list at its node.
 */
export class PrefixSet {
  readonly #negated: boolean;
  /** Child of node n for bit b at 2n + b; 0: none. */
  #children = new Int32Array(64);
  /** By node: index into `#ranges` plus 1; 0: no entry ends here. */
  #entry = new Int32Array(32);
  /** min, max, and the next of the same node plus 1. */
  readonly #ranges: number[] = [];
  #nodes = 1;

  /** @throws RangeError */
  constructor({ entries, negated = false }: PrefixSetMatch) {
    this.#negated = negated;
    for (const { cidr, minLength, maxLength } of entries) {
      const { words, bits, most } = parse(cidr);
      const min = Math.max(bits, minLength ?? bits);
      // A lower bound alone: anything longer; none: exactly it.
      const max = Math.min(most, maxLength ?? (minLength === undefined ? bits : most));
      const node = this.#insert(words, bits);
      this.#ranges.push(min, max, this.#entry[node]!);
      this.#entry[node] = this.#ranges.length - 2;
    }
  }

  holds(words: Int32Array, base: number, bits: number): boolean {
    return this.#contains(words, base, bits) !== this.#negated;
  }

  #contains(words: Int32Array, base: number, bits: number): boolean {
    let node = 0;
    for (let depth = 0; ; depth++) {
      for (let entry = this.#entry[node]!; entry !== 0; entry = this.#ranges[entry + 1]!) {
        if (bits >= this.#ranges[entry - 1]! && bits <= this.#ranges[entry]!) return true;
      }
      if (depth === bits) return false;
      const bit = (words[base + (depth >> 5)]! >>> (31 - (depth & 31))) & 1;
      node = this.#children[2 * node + bit]!;
      if (node === 0) return false;
    }
  }

  #insert(words: Int32Array, bits: number): number {
    let node = 0;
    for (let depth = 0; depth < bits; depth++) {
      const at = 2 * node + ((words[depth >> 5]! >>> (31 - (depth & 31))) & 1);
      let child = this.#children[at]!;
      if (child === 0) {
        // Making a node may replace the array.
        child = this.#make();
        this.#children[at] = child;
      }
      node = child;
    }
    return node;
  }

  #make(): number {
    if (this.#nodes === this.#entry.length) {
      const [children, entry] = [new Int32Array(4 * this.#nodes), new Int32Array(2 * this.#nodes)];
      children.set(this.#children);
      entry.set(this.#entry);
      this.#children = children;
      this.#entry = entry;
    }
    return this.#nodes++;
  }
}

/** Whether an address (4 or 16 bytes) lies in one of the prefixes; those of the other family hold none. @throws RangeError */
export function addressTest(cidrs: readonly string[]): (address: Uint8Array) => boolean {
  const sets = new Map<number, PrefixSet>();
  for (const words of [1, 4]) {
    const entries = cidrs
      .filter((cidr) => parse(cidr).words.length === words)
      .map((cidr) => ({ cidr, minLength: 0, maxLength: 128 }));
    sets.set(words, new PrefixSet({ entries }));
  }
  const scratch = new Int32Array(4);
  return (address) => {
    const count = address.length === 4 ? 1 : address.length >= 16 ? 4 : 0;
    for (let i = 0; i < count; i++) {
      scratch[i] =
        (address[4 * i]! << 24) | (address[4 * i + 1]! << 16) | (address[4 * i + 2]! << 8) | address[4 * i + 3]!;
    }
    return count > 0 && sets.get(count)!.holds(scratch, 0, 32 * count);
  };
}
