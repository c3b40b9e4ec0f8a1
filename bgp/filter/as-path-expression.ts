/**
 * Regular expressions over AS_PATH in the customary syntax, on the path as text: `65001 65002 {65003,65004}`.
 *
 *   _  a border: start, end, space, comma, brace or parenthesis      ^ $  start and end
 *   .  any character     [0-9] [^1-3]  a class     ( ) |  groups and choice
 *   * + ? {n} {n,} {n,m}  repetition               \{  a character as such
 *
 * An own matcher instead of RegExp: operators write these, peers choose the text, and a backtracking engine takes exponential time
 * on some pairs of both. Here all expressions of a filter become one finite automaton whose states are made when first met, so
 * that a path costs one table look-up a character, whatever the expressions and however many (the automaton's memory is
 * bounded: it is begun anew when full).
 */

/** Longest expression, characters. */
export const expressionCharsMax = 512;
/** Nodes of one automaton, repetitions written out. */
const nodesMax = 4096;
/** States of the table before it is begun anew. */
const statesMax = 1024;
const repeatMax = 255;

const alphabet = '0123456789 {},()[]';
export const symbolCount = alphabet.length;
const symbolOf = new Map([...alphabet].map((char, index) => [char, index]));
/** Symbols of text that `RouteView` writes without looking characters up. */
export const symbol = {
  space: 10,
  setOpen: 11,
  setClose: 12,
  comma: 13,
  confedOpen: 14,
  confedClose: 15,
  confedSetOpen: 16,
  confedSetClose: 17,
} as const;

const allSymbols = (1 << symbolCount) - 1;
const borders = allSymbols & ~0x3ff & ~(1 << symbol.confedSetOpen) & ~(1 << symbol.confedSetClose);

type Node =
  | { readonly type: 'symbols'; readonly mask: number; next: number }
  | { readonly type: 'split'; next: number; other: number }
  | { readonly type: 'start' | 'end'; next: number }
  | { readonly type: 'match' };

/** A piece of the automaton: where it begins, and the nodes whose `next` (or `other`) is still open. */
interface Fragment {
  readonly start: number;
  readonly open: readonly { readonly node: number; readonly other: boolean }[];
}

class Parser {
  readonly nodes: Node[] = [];
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): number {
    const whole = this.#choice();
    if (this.#at < this.#text.length) throw this.#wrong(`${this.#text[this.#at]} closes nothing`);
    this.#join(whole, this.#add({ type: 'match' }));
    return whole.start;
  }

  #choice(): Fragment {
    let left = this.#sequence();
    while (this.#text[this.#at] === '|') {
      this.#at++;
      left = this.#either(left, this.#sequence());
    }
    return left;
  }

  #sequence(): Fragment {
    let whole: Fragment | undefined;
    while (this.#at < this.#text.length && !'|)'.includes(this.#text[this.#at]!)) {
      const from = this.#at;
      let piece = this.#atom();
      const range = this.#repetition();
      if (range) piece = this.#repeat(piece, from, range);
      if (whole) this.#join(whole, piece.start);
      whole = { start: whole?.start ?? piece.start, open: piece.open };
    }
    return whole ?? this.#empty();
  }

  #atom(): Fragment {
    const char = this.#text[this.#at++]!;
    switch (char) {
      case '(': {
        const inner = this.#choice();
        if (this.#text[this.#at++] !== ')') throw this.#wrong('a parenthesis is not closed');
        return inner;
      }
      case '[':
        return this.#symbols(this.#class());
      case '.':
        return this.#symbols(allSymbols);
      case '^':
        return this.#assertion('start');
      case '$':
        return this.#assertion('end');
      case '_':
        return this.#either(this.#symbols(borders), this.#either(this.#assertion('start'), this.#assertion('end')));
      case '\\':
        return this.#symbols(this.#literal(this.#text[this.#at++] ?? ''));
      case '*':
      case '+':
      case '?':
        throw this.#wrong(`${char} repeats nothing`);
      default:
        return this.#symbols(this.#literal(char));
    }
  }

  #literal(char: string): number {
    const found = symbolOf.get(char);
    if (found === undefined) throw this.#wrong(`${char || 'its end'} does not occur in AS paths`);
    return 1 << found;
  }

  #class(): number {
    const negated = this.#text[this.#at] === '^';
    if (negated) this.#at++;
    let mask = 0;
    for (let first = true; first || this.#text[this.#at] !== ']'; first = false) {
      let char = this.#text[this.#at++];
      if (char === undefined) throw this.#wrong('a bracket is not closed');
      if (char === '\\') char = this.#text[this.#at++] ?? '';
      if (char === '_') mask |= borders;
      else if (this.#text[this.#at] === '-' && this.#text[this.#at + 1] !== ']') {
        const to = this.#text[this.#at + 1] ?? '';
        this.#at += 2;
        if (!/^\d$/.test(char) || !/^\d$/.test(to) || char > to) throw this.#wrong(`${char}-${to} is not a range`);
        for (let digit = Number(char); digit <= Number(to); digit++) mask |= 1 << digit;
      } else mask |= this.#literal(char);
    }
    this.#at++;
    return negated ? allSymbols & ~mask : mask;
  }

  #repetition(): { readonly min: number; readonly max: number } | undefined {
    const rest = this.#text.slice(this.#at, this.#at + 12);
    const match = /^(?:[*+?]|\{(\d{1,3})(?:(,)(\d{1,3})?)?\})/.exec(rest);
    if (!match) return undefined;
    this.#at += match[0].length;
    if (match[0] === '*') return { min: 0, max: Number.POSITIVE_INFINITY };
    if (match[0] === '+') return { min: 1, max: Number.POSITIVE_INFINITY };
    if (match[0] === '?') return { min: 0, max: 1 };
    const min = Number(match[1]);
    const max = match[2] === undefined ? min : match[3] === undefined ? Number.POSITIVE_INFINITY : Number(match[3]);
    if (min > repeatMax || (max !== Number.POSITIVE_INFINITY && max > repeatMax) || min > max || max === 0) {
      throw this.#wrong(`${match[0]} is not a number of repetitions from 1 to ${repeatMax}`);
    }
    return { min, max };
  }

  /** The piece was written at `from`; every further copy is parsed again. */
  #repeat(first: Fragment, from: number, { min, max }: { readonly min: number; readonly max: number }): Fragment {
    const end = this.#at;
    let used = false;
    const copy = (): Fragment => {
      if (!used) {
        used = true;
        return first;
      }
      this.#at = from;
      const again = this.#atom();
      this.#at = end;
      return again;
    };
    let whole: Fragment | undefined;
    const append = (piece: Fragment): void => {
      if (whole) this.#join(whole, piece.start);
      whole = { start: whole?.start ?? piece.start, open: piece.open };
    };
    for (let i = 0; i < min; i++) append(copy());
    if (max === Number.POSITIVE_INFINITY) append(this.#loop(copy()));
    else for (let i = min; i < max; i++) append(this.#either(copy(), this.#empty()));
    return whole!;
  }

  #loop(piece: Fragment): Fragment {
    const split = this.#add({ type: 'split', next: piece.start, other: -1 });
    this.#join(piece, split);
    return { start: split, open: [{ node: split, other: true }] };
  }
  #either(a: Fragment, b: Fragment): Fragment {
    const start = this.#add({ type: 'split', next: a.start, other: b.start });
    return { start, open: [...a.open, ...b.open] };
  }
  #symbols(mask: number): Fragment {
    return this.#single({ type: 'symbols', mask, next: -1 });
  }
  #assertion(type: 'start' | 'end'): Fragment {
    return this.#single({ type, next: -1 });
  }
  #empty(): Fragment {
    const node = this.#add({ type: 'split', next: -1, other: -1 });
    return { start: node, open: [{ node, other: false }] };
  }
  #single(node: Node): Fragment {
    const start = this.#add(node);
    return { start, open: [{ node: start, other: false }] };
  }
  #add(node: Node): number {
    if (this.nodes.length >= nodesMax) throw this.#wrong('it is too large');
    return this.nodes.push(node) - 1;
  }
  #join({ open }: Fragment, target: number): void {
    for (const { node, other } of open) {
      const entry = this.nodes[node]! as { next: number; other: number };
      if (other) entry.other = target;
      else entry.next = target;
    }
  }
  #wrong(what: string): RangeError {
    return new RangeError(`${this.#text} is not an expression over AS paths: ${what}`);
  }
}

const unknown = 0;
/** Automata that were begun anew so often are taken apart: each expression alone has far fewer states than all together. */
const restartsMax = 8;

/**
 * Several expressions as one automaton: a path is read once, however many there are. A state is the places where the expressions
 * may stand, and which of them have matched already.
 */
export class AsPathExpressions {
  readonly #texts: readonly string[];
  readonly #nodes: Node[] = [];
  /** By node: its expression. */
  readonly #owner: number[] = [];
  readonly #starts: number[] = [];
  /** By state: nodes that consume a symbol or wait for the end, ascending. Without any, whatever follows changes nothing. */
  #states: (readonly number[])[] = [];
  /** By state: 1 for each expression that has matched; and those that match if the path ends here. */
  #matched: Uint8Array[] = [];
  #matchedAtEnd: Uint8Array[] = [];
  #known = new Map<string, number>();
  /** Next state plus 1, by state and symbol. */
  #table = new Int32Array(0);
  #restarts = 0;
  #apart: readonly AsPathExpressions[] | undefined;

  /** @throws RangeError naming what is wrong. */
  constructor(texts: readonly string[]) {
    this.#texts = texts;
    for (const [index, text] of texts.entries()) {
      if (text.length > expressionCharsMax) {
        throw new RangeError(`an expression over AS paths has at most ${expressionCharsMax} characters`);
      }
      const parser = new Parser(text);
      const start = parser.parse();
      const base = this.#nodes.length;
      for (const node of parser.nodes) this.#nodes.push(moved(node, base));
      for (let i = 0; i < parser.nodes.length; i++) this.#owner.push(index);
      this.#starts.push(base + start);
    }
    this.#begin();
  }

  /** By expression: 1 where it matches somewhere in `symbols[0..length)`. Valid until the next call. Linear in `length`. */
  match(symbols: Uint8Array, length: number): Uint8Array {
    if (this.#apart) return Uint8Array.from(this.#apart, (each) => each.match(symbols, length)[0]!);
    let state = 0;
    for (let i = 0; i < length && this.#states[state]!.length > 0; i++) {
      const next = this.#table[state * symbolCount + symbols[i]!]!;
      state = next === unknown ? this.#step(state, symbols[i]!) : next - 1;
    }
    return this.#matchedAtEnd[state]!;
  }

  #begin(): void {
    this.#states = [];
    this.#matched = [];
    this.#matchedAtEnd = [];
    this.#known = new Map();
    this.#table = new Int32Array(16 * symbolCount);
    this.#stateOf(this.#starts, new Uint8Array(this.#texts.length), true);
  }

  #step(state: number, symbolIndex: number): number {
    const matched = this.#matched[state]!;
    const kernel = this.#starts.filter((_, index) => matched[index] === 0);
    for (const index of this.#states[state]!) {
      const node = this.#nodes[index]!;
      if (node.type === 'symbols' && (node.mask & (1 << symbolIndex)) !== 0) kernel.push(node.next);
    }
    const full = this.#states.length >= statesMax;
    if (full) this.#restart();
    const next = this.#stateOf(kernel, matched, false);
    if (!full) this.#table[state * symbolCount + symbolIndex] = next + 1;
    return next;
  }

  #restart(): void {
    this.#begin();
    if (++this.#restarts < restartsMax || this.#texts.length === 1) return;
    this.#apart = this.#texts.map((text) => new AsPathExpressions([text]));
  }

  /** What can be reached without a symbol; expressions whose end is reached are marked in `matched`, and nothing of them is left. */
  #closure(kernel: readonly number[], matched: Uint8Array, atStart: boolean, atEnd: boolean): number[] {
    const seen = new Set<number>();
    const stack = [...kernel];
    const out: number[] = [];
    while (stack.length > 0) {
      const index = stack.pop()!;
      if (index < 0 || seen.has(index)) continue;
      seen.add(index);
      const node = this.#nodes[index]!;
      if (node.type === 'match') matched[this.#owner[index]!] = 1;
      else if (node.type === 'split') stack.push(node.next, node.other);
      else if (node.type === 'start') {
        if (atStart) stack.push(node.next);
      } else {
        if (node.type === 'end' && atEnd) stack.push(node.next);
        out.push(index);
      }
    }
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

function moved(node: Node, base: number): Node {
  if (node.type === 'match') return node;
  const next = node.next < 0 ? node.next : node.next + base;
  if (node.type === 'split') return { ...node, next, other: node.other < 0 ? node.other : node.other + base };
  return { ...node, next };
}

/** Symbols of a path given as text, for tests and tools. @throws RangeError on a character that occurs in none. */
export function pathSymbols(text: string): Uint8Array {
  return Uint8Array.from([...text], (char) => {
    const found = symbolOf.get(char);
    if (found === undefined) throw new RangeError(`${char} does not occur in AS paths`);
    return found;
  });
}
