/**
 * Regular expressions over AS_PATH in the customary syntax, on the path as text: `65001 65002 {65003,65004}`.
 *
 *   _  a border: start, end, space, comma, brace or parenthesis      ^ $  start and end
 *   .  any character     [0-9] [^1-3]  a class     ( ) |  groups and choice
 *   * + ? {n} {n,} {n,m}  repetition               \{  a character as such
 *
 * An own matcher instead of RegExp: operators write these, peers choose the text, and a backtracking engine takes exponential time
 * on some pairs of both. Here all expressions of a filter become one finite automaton whose states are made when first met, so
 * that a path costs one table look-up a character, whatever the expressions and however many.
 *
 * Some expressions have exponentially many states (`1.{20}2$`), and some path leads to a new one with each of its characters. So the table is
 * bounded, and what a path may add to it; where it says nothing, the rest of the path is matched without one (expression-bits.ts). That
 * is bounded as well: a path that is too much for its expressions stays undecided.
 */
import { ExpressionBits, undecided, type Work } from './expression-bits.ts';
import {
  type ExpressionNode,
  type ParsedExpression,
  parseExpression,
  reach,
  symbolCount,
} from './expression-parser.ts';

export interface MatchLimits {
  /** States of the table. */
  readonly states: number;
  /** Nodes looked at to make states, for one path: some milliseconds. */
  readonly visits: number;
  /** Words looked at where there is no table, for one path: some milliseconds. A path of 255 ASes, and what people write, take a hundredth. */
  readonly work: number;
}
/** Paths up to this wait for what is done once: some hundred ASes. */
const usualSymbols = 4096;
const defaultLimits: MatchLimits = { states: 1024, visits: 4000, work: 600_000 };
const unknown = 0;

/**
 * Several expressions as one automaton: a path is read once, however many there are. A state is the places where the expressions
 * may stand, and which of them have matched already.
 */
export class AsPathExpressions {
  readonly #nodes: ExpressionNode[] = [];
  /** By node: its expression. */
  readonly #owner: number[] = [];
  readonly #parsed: readonly ParsedExpression[];
  /** By expression: the first of its nodes, and that where it starts. */
  readonly #bases: number[] = [];
  readonly #starts: number[] = [];
  /** By expression, once it was needed. */
  readonly #bits: (ExpressionBits | undefined)[];
  /** By state: nodes that consume a symbol or wait for the end, ascending. Without any, whatever follows changes nothing. */
  readonly #states: (readonly number[])[] = [];
  /** By state: 1 for each expression that has matched; and those that match if the path ends here. */
  readonly #matched: Uint8Array[] = [];
  readonly #matchedAtEnd: Uint8Array[] = [];
  readonly #known = new Map<string, number>();
  /** Next state plus 1, by state and symbol. */
  #table = new Int32Array(16 * symbolCount);
  readonly #limits: MatchLimits;
  #visitsLeft = 0;

  /** @throws RangeError naming what is wrong. */
  constructor(texts: readonly string[], limits: Partial<MatchLimits> = {}) {
    this.#limits = { ...defaultLimits, ...limits };
    this.#parsed = texts.map(parseExpression);
    for (const [index, { nodes, start }] of this.#parsed.entries()) {
      const base = this.#nodes.length;
      this.#bases.push(base);
      for (const node of nodes) this.#nodes.push(moved(node, base));
      for (let i = 0; i < nodes.length; i++) this.#owner.push(index);
      this.#starts.push(base + start);
    }
    this.#bits = texts.map(() => undefined);
    this.#stateOf(this.#starts, new Uint8Array(texts.length), true);
  }

  /**
   * By expression: 1 where it matches somewhere in `symbols[0..length)`; undefined where that would take too long. Valid until the next call.
   * Linear in `length`.
   */
  match(symbols: Uint8Array, length: number): Uint8Array | undefined {
    this.#visitsLeft = this.#limits.visits;
    let state = 0;
    for (let i = 0; i < length && this.#states[state]!.length > 0; i++) {
      const next = this.#table[state * symbolCount + symbols[i]!]!;
      if (next !== unknown) state = next - 1;
      else if (i > 0 && (this.#visitsLeft <= 0 || this.#states.length >= this.#limits.states)) {
        return this.#matchWithoutTable(state, symbols, i, length);
      } else state = this.#step(state, symbols[i]!);
    }
    return this.#matchedAtEnd[state]!;
  }

  #step(state: number, symbolIndex: number): number {
    const matched = this.#matched[state]!;
    const kernel = this.#starts.filter((_, index) => matched[index] === 0);
    for (const index of this.#states[state]!) {
      const node = this.#nodes[index]!;
      if (node.type === 'symbols' && (node.mask & (1 << symbolIndex)) !== 0) kernel.push(node.next);
    }
    const next = this.#stateOf(kernel, matched, false);
    this.#table[state * symbolCount + symbolIndex] = next + 1;
    return next;
  }

  #matchWithoutTable(state: number, symbols: Uint8Array, at: number, length: number): Uint8Array | undefined {
    const matched = this.#matched[state]!.slice();
    const work: Work = { left: this.#limits.work, counting: length > usualSymbols };
    for (let index = 0; index < matched.length; index++) {
      if (matched[index] !== 0) continue;
      const base = this.#bases[index]!;
      const from = this.#states[state]!.filter((node) => this.#owner[node] === index).map((node) => node - base);
      const bits = this.#bits[index] ?? new ExpressionBits(this.#parsed[index]!);
      this.#bits[index] = bits;
      const found = bits.match(from, symbols, at, length, work);
      if (found === undecided) return undefined;
      matched[index] = found;
    }
    return matched;
  }

  /** What can be reached without a symbol; expressions whose end is reached are marked in `matched`, and nothing of them is left. */
  #closure(kernel: readonly number[], matched: Uint8Array, atStart: boolean, atEnd: boolean): number[] {
    const { reached, visited } = reach(this.#nodes, kernel, { atStart, atEnd });
    this.#visitsLeft -= visited;
    const out = reached.filter((index) => this.#nodes[index]!.type !== 'match');
    for (const index of reached) if (this.#nodes[index]!.type === 'match') matched[this.#owner[index]!] = 1;
    return out.filter((index) => matched[this.#owner[index]!] === 0).sort((a, b) => a - b);
  }

  /** The state after what `kernel` leads to, made when it is new. */
  #stateOf(kernel: readonly number[], before: Uint8Array, atStart: boolean): number {
    const matched = before.slice();
    const nodes = this.#closure(kernel, matched, atStart, false);
    const key = `${atStart ? '^' : ''}${nodes.join()} ${matched.join('')}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const state = this.#states.push(nodes) - 1;
    this.#known.set(key, state);
    this.#matched.push(matched);
    const atEnd = matched.slice();
    // At the end of an empty path `^` may still be passed.
    this.#closure(nodes, atEnd, atStart, true);
    this.#matchedAtEnd.push(atEnd);
    if ((state + 1) * symbolCount > this.#table.length) {
      const table = new Int32Array(2 * this.#table.length);
      table.set(this.#table);
      this.#table = table;
    }
    return state;
  }
}

/** The node as one of a list where its expression begins at another place. */
function moved(node: ExpressionNode, by: number): ExpressionNode {
  if (node.type === 'match') return node;
  const next = node.next < 0 ? node.next : node.next + by;
  if (node.type === 'split') return { ...node, next, other: node.other < 0 ? node.other : node.other + by };
  return { ...node, next };
}
