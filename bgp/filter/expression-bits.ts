/**
 * One expression over AS paths, all of whose places are followed at once, a bit each: what there is no table for. A symbol costs so many words
 * as there are 32 places, and so many again for each place reached from which more than the next one follows; whatever the path.
 */
import { type ExpressionNode, type ParsedExpression, reach, symbolCount } from './expression-parser.ts';

/** What a path may cost still, in words looked at; some nanoseconds each. */
export interface Work {
  left: number;
  /** What is done once an expression counts as well: which places are after which. */
  readonly counting: boolean;
}

/** To look at a node takes as long as to look at so many words. */
const visitWords = 16;

/** What is known when the work is used up. */
export const undecided = -1;

export class ExpressionBits {
  readonly #nodes: readonly ExpressionNode[];
  /** Nodes that consume a symbol or wait for the end are places, numbered in their order; of others -1. */
  readonly #placeOf: Int32Array;
  readonly #nodeOf: readonly number[];
  readonly #words: number;
  /** By symbol: places that consume it. */
  readonly #consuming: readonly Int32Array[];
  /** By place: those after it; undefined: not looked for yet. */
  readonly #after: (Int32Array | undefined)[];
  /** Places after which the expression has matched, and those after which there is only the next one. */
  readonly #last: Uint8Array;
  readonly #single: Int32Array;
  /** An expression may begin anywhere. */
  readonly #first: Int32Array;
  #now: Int32Array;
  #next: Int32Array;

  constructor({ nodes, start }: ParsedExpression) {
    this.#nodes = nodes;
    this.#nodeOf = [...nodes.keys()].filter((node) => nodes[node]!.type === 'symbols' || nodes[node]!.type === 'end');
    this.#placeOf = new Int32Array(nodes.length).fill(-1);
    for (const [place, node] of this.#nodeOf.entries()) this.#placeOf[node] = place;
    this.#words = Math.max(1, (this.#nodeOf.length + 31) >>> 5);
    this.#consuming = Array.from({ length: symbolCount }, () => this.#row());
    for (const [place, node] of this.#nodeOf.entries()) {
      const found = nodes[node]!;
      if (found.type !== 'symbols') continue;
      for (let i = 0; i < symbolCount; i++) if ((found.mask & (1 << i)) !== 0) set(this.#consuming[i]!, place);
    }
    this.#after = this.#nodeOf.map(() => undefined);
    this.#last = new Uint8Array(this.#nodeOf.length);
    this.#single = this.#row();
    this.#first = this.#row();
    this.#reach(start, this.#first);
    this.#now = this.#row();
    this.#next = this.#row();
  }

  /** @param from nodes, of which those are places, after `symbols[0..at)`, at > 0. Returns 1 when it matches, 0, or `undecided`. */
  match(from: readonly number[], symbols: Uint8Array, at: number, length: number, work: Work): number {
    const words = this.#words;
    this.#now.fill(0);
    for (const node of from) set(this.#now, this.#placeOf[node]!);
    for (let i = at; i < length; i++) {
      work.left -= words;
      if (work.left < 0) return undecided;
      if (this.#step(symbols[i]!, work)) return 1;
      const before = this.#now;
      this.#now = this.#next;
      this.#next = before;
    }
    return this.#matchesAtEnd() ? 1 : 0;
  }

  #step(symbolIndex: number, work: Work): boolean {
    const words = this.#words;
    const now = this.#now;
    const next = this.#next;
    const consuming = this.#consuming[symbolIndex]!;
    const single = this.#single;
    let carry = 0;
    let several = 0;
    for (let w = 0; w < words; w++) {
      const taken = now[w]! & consuming[w]!;
      const shifted = taken & single[w]!;
      next[w] = this.#first[w]! | (shifted << 1) | carry;
      carry = shifted >>> 31;
      several |= taken ^ shifted;
    }
    if (several === 0) return false;
    for (let w = 0; w < words; w++) {
      for (let rest = now[w]! & consuming[w]! & ~single[w]!; rest !== 0; rest &= rest - 1) {
        const place = 32 * w + 31 - Math.clz32(rest & -rest);
        const after = this.#after[place] ?? this.#look(place, work);
        if (this.#last[place] === 1) return true;
        for (let i = 0; i < words; i++) next[i]! |= after[i]!;
        work.left -= words;
      }
    }
    return false;
  }

  #look(place: number, work: Work): Int32Array {
    const row = this.#row();
    const node = this.#nodes[this.#nodeOf[place]!] as { readonly next: number };
    const { matches, visited } = this.#reach(node.next, row);
    if (work.counting) work.left -= visitWords * visited;
    if (matches) this.#last[place] = 1;
    else if (place + 1 < this.#nodeOf.length) {
      const next = this.#row();
      set(next, place + 1);
      if (next.every((word, i) => word === row[i])) set(this.#single, place);
    }
    this.#after[place] = row;
    return row;
  }

  /** Sets the places that are reached from a node without a symbol. */
  #reach(node: number, row: Int32Array): { readonly matches: boolean; readonly visited: number } {
    const { reached, visited } = reach(this.#nodes, [node]);
    for (const index of reached) if (this.#placeOf[index]! >= 0) set(row, this.#placeOf[index]!);
    return { matches: reached.some((index) => this.#nodes[index]!.type === 'match'), visited };
  }

  #matchesAtEnd(): boolean {
    const waiting = this.#nodeOf.filter((node, place) => {
      const isHere = (this.#now[place >>> 5]! & (1 << (place & 31))) !== 0;
      return isHere && this.#nodes[node]!.type === 'end';
    });
    const { reached } = reach(this.#nodes, waiting, { atEnd: true });
    return reached.some((index) => this.#nodes[index]!.type === 'match');
  }

  #row(): Int32Array {
    return new Int32Array(this.#words);
  }
}

function set(row: Int32Array, place: number): void {
  row[place >>> 5]! |= 1 << (place & 31);
}
