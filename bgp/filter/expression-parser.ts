/** Reads expressions over AS paths (see as-path-expression.ts) into nodes of a non-deterministic automaton, by Thompson's construction. */

/** Longest expression, characters. */
export const expressionCharsMax = 512;
/** Nodes of one expression, repetitions written out. */
const nodesMax = 4096;
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

export type ExpressionNode =
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
  readonly nodes: ExpressionNode[] = [];
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
  #single(node: ExpressionNode): Fragment {
    const start = this.#add(node);
    return { start, open: [{ node: start, other: false }] };
  }
  #add(node: ExpressionNode): number {
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

export interface ParsedExpression {
  readonly nodes: readonly ExpressionNode[];
  /** The first of them. */
  readonly start: number;
}

/** @throws RangeError naming what is wrong. */
export function parseExpression(text: string): ParsedExpression {
  if (text.length > expressionCharsMax) {
    throw new RangeError(`an expression over AS paths has at most ${expressionCharsMax} characters`);
  }
  const parser = new Parser(text);
  const start = parser.parse();
  return { nodes: parser.nodes, start };
}

/**
 * What is reached from nodes without a symbol: nodes that consume one, wait for the end, or say that the expression has matched. What is behind a `start`
 * is with `atStart` alone, and what is behind an `end` with `atEnd`.
 */
export function reach(
  nodes: readonly ExpressionNode[],
  from: readonly number[],
  { atStart = false, atEnd = false } = {},
): { readonly reached: readonly number[]; readonly visited: number } {
  const seen = new Set<number>();
  const stack = [...from];
  const reached: number[] = [];
  while (stack.length > 0) {
    const index = stack.pop()!;
    if (index < 0 || seen.has(index)) continue;
    seen.add(index);
    const node = nodes[index]!;
    if (node.type === 'split') stack.push(node.next, node.other);
    else if (node.type === 'start') {
      if (atStart) stack.push(node.next);
    } else {
      if (node.type === 'end' && atEnd) stack.push(node.next);
      reached.push(index);
    }
  }
  return { reached, visited: seen.size };
}

/** Symbols of a path given as text, for tests and tools. @throws RangeError on a character that occurs in none. */
export function pathSymbols(text: string): Uint8Array {
  return Uint8Array.from([...text], (char) => {
    const found = symbolOf.get(char);
    if (found === undefined) throw new RangeError(`${char} does not occur in AS paths`);
    return found;
  });
}
