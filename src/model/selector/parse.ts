/**
 * Calico's selector language: `==`, `!=`, `in {..}`, `not in {..}`, `contains`, `starts with`, `ends with`, `has(x)`, `all()`,
 * `global()` (what stands in no namespace), `!`, `&&`, `||` (binds least), parentheses. Strings stand in '..' or "..", without escapes. Empty text selects everything.
 * `!=` and `not in` also match where the label is absent.
 */
import {
  all,
  and,
  has,
  isIn,
  namespaceLabel,
  not,
  or,
  type Selector,
  type SelectorNode,
  selector,
} from './selector.ts';

/** A selector text that does not parse: what was expected, and the offset (in characters, from 0) where it was not found. */
export interface SelectorError {
  readonly error: string;
  readonly position: number;
}

/** Calico's own limit on a selector, characters. */
const selectorCharsMax = 1024;
/** Bounds the recursion on `!` and parentheses. */
const nestingMax = 64;
const labelCharsMax = 512;

class SyntaxFault extends Error {
  readonly position: number;
  constructor(message: string, position: number) {
    super(message);
    this.position = position;
  }
}

/**
 * Parses a selector, e.g. of BGPPeer.nodeSelector.
 *
 * @example
 * const parsed = parseSelector("rack == 'r1' && !has(drained)");
 * if ('error' in parsed) throw new Error(`nodeSelector, character ${parsed.position}: ${parsed.error}`);
 * parsed.matches({ rack: 'r1' }); // true
 */
export function parseSelector(text: string): Selector | SelectorError {
  if (text.length > selectorCharsMax) {
    return { error: `longer than ${selectorCharsMax} characters`, position: selectorCharsMax };
  }
  try {
    const scanner = new Scanner(text);
    if (scanner.atEnd()) return selector(all);
    const node = disjunction(scanner, 0);
    if (!scanner.atEnd()) throw scanner.fault('expected &&, || or the end');
    return selector(node);
  } catch (fault) {
    if (fault instanceof SyntaxFault) return { error: fault.message, position: fault.position };
    throw fault;
  }
}

class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    this.#skipSpace();
  }
  #skipSpace(): void {
    while (this.#text[this.#at] === ' ' || this.#text[this.#at] === '\t') this.#at++;
  }
  atEnd(): boolean {
    return this.#at >= this.#text.length;
  }
  fault(expected: string): SyntaxFault {
    const found = this.atEnd() ? 'found the end' : `found ${JSON.stringify(this.#text.slice(this.#at, this.#at + 16))}`;
    return new SyntaxFault(`${expected}, ${found}`, this.#at);
  }
  /** Takes what `pattern` (sticky) matches here, and the space behind it. */
  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (!match) return undefined;
    this.#at += match[0].length;
    this.#skipSpace();
    return match;
  }
  need(pattern: RegExp, expected: string): RegExpExecArray {
    const match = this.take(pattern);
    if (!match) throw this.fault(expected);
    return match;
  }
}

const label = /[A-Za-z0-9_./-]+/y;

function disjunction(scanner: Scanner, depth: number): SelectorNode {
  const terms = [conjunction(scanner, depth)];
  while (scanner.take(/\|\|/y)) terms.push(conjunction(scanner, depth));
  return or(terms);
}

function conjunction(scanner: Scanner, depth: number): SelectorNode {
  const terms = [operation(scanner, depth)];
  while (scanner.take(/&&/y)) terms.push(operation(scanner, depth));
  return and(terms);
}

function operation(scanner: Scanner, depth: number): SelectorNode {
  if (depth > nestingMax) throw scanner.fault(`at most ${nestingMax} levels of nesting`);
  if (scanner.take(/!/y)) return not(operation(scanner, depth + 1));
  if (scanner.take(/\(/y)) {
    const inner = disjunction(scanner, depth + 1);
    scanner.need(/\)/y, 'expected )');
    return inner;
  }
  if (scanner.take(/all[ \t]*\(/y)) {
    scanner.need(/\)/y, 'expected ) behind all(');
    return all;
  }
  if (scanner.take(/global[ \t]*\(/y)) {
    scanner.need(/\)/y, 'expected ) behind global(');
    return not(has(namespaceLabel));
  }
  if (scanner.take(/has[ \t]*\(/y)) {
    const key = labelName(scanner);
    scanner.need(/\)/y, 'expected ) behind has(label');
    return has(key);
  }
  return comparison(scanner);
}

function labelName(scanner: Scanner): string {
  const key = scanner.need(label, 'expected a label name, all(), global(), has(label), ! or (')[0];
  if (key.length > labelCharsMax) throw scanner.fault(`expected a label name of at most ${labelCharsMax} characters`);
  return key;
}

function comparison(scanner: Scanner): SelectorNode {
  const key = labelName(scanner);
  if (scanner.take(/==/y)) return isIn(key, [string(scanner)]);
  if (scanner.take(/!=/y)) return not(isIn(key, [string(scanner)]));
  if (scanner.take(/not[ \t]*in(?=[ \t]*\{)/y)) return not(isIn(key, stringSet(scanner)));
  if (scanner.take(/in(?=[ \t]*\{)/y)) return isIn(key, stringSet(scanner));
  if (scanner.take(/contains\b/y)) return { op: 'contains', key, value: string(scanner) };
  if (scanner.take(/starts[ \t]+with\b/y)) return { op: 'startsWith', key, value: string(scanner) };
  if (scanner.take(/ends[ \t]+with\b/y)) return { op: 'endsWith', key, value: string(scanner) };
  throw scanner.fault('expected ==, !=, in {..}, not in {..}, contains, starts with or ends with');
}

function string(scanner: Scanner): string {
  const match = scanner.need(/'([^']*)'|"([^"]*)"/y, 'expected a string in \'..\' or ".."');
  return match[1] ?? match[2] ?? '';
}

function stringSet(scanner: Scanner): string[] {
  scanner.need(/\{/y, 'expected {');
  const values: string[] = [];
  if (scanner.take(/\}/y)) return values;
  do values.push(string(scanner));
  while (scanner.take(/,/y));
  scanner.need(/\}/y, 'expected , or }');
  return values;
}
