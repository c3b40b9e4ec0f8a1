/** What conditions look at: one attribute set's canonical bytes (see wire/canonical.ts) with where everything stands, and where it came from. */
import { attributeType, segmentType, valueEnd, valueStart } from '../wire/index.ts';
import type { AsPathExpressions } from './as-path-expression.ts';
import { symbol } from './expression-parser.ts';
import type { CommunityKind, RouteSource } from './types.ts';

/** Where a route comes from, as far as conditions ask. */
export interface RouteOrigins {
  /** Of the peer; empty: our own route. */
  readonly peer: string;
  readonly kind: Exclude<RouteSource, 'learned'>;
  /** Address bytes; empty: none. */
  readonly nextHop: Uint8Array;
  /** Of a link-local next hop; empty: none. */
  readonly link: string;
}

export const ownRoute: RouteOrigins = { peer: '', kind: 'own', nextHop: new Uint8Array(0), link: '' };

const defaultLocalPref = 100;
const kinds: readonly CommunityKind[] = ['standard', 'extended', 'large'];

/** Where a value stands in the bytes; equal: absent or empty. */
export interface Span {
  start: number;
  end: number;
}

export class RouteView {
  bytes: Uint8Array = new Uint8Array(0);
  origins: RouteOrigins = ownRoute;
  /** 0 IGP, 1 EGP, 2 INCOMPLETE. */
  origin = 0;
  med = 0;
  localPref = defaultLocalPref;
  readonly asPath: Span = { start: 0, end: 0 };
  readonly communities: Readonly<Record<CommunityKind, Span>> = {
    standard: { start: 0, end: 0 },
    extended: { start: 0, end: 0 },
    large: { start: 0, end: 0 },
  };
  /** All that conditions ask of the path as text. */
  readonly #expressions: AsPathExpressions | undefined;
  /** The path as text in symbols of as-path-expression.ts. */
  #symbols = new Uint8Array(256);
  #matched: Uint8Array | undefined;
  /** Whether `matched` was asked for since this was cleared, and could not be worked out. */
  undecided = false;
  #tooLong = false;

  constructor(expressions?: AsPathExpressions) {
    this.#expressions = expressions;
  }

  /** Takes `bytes[0..end)`, which must stay as they are while the view is used. */
  load(bytes: Uint8Array, end: number, origins: RouteOrigins): void {
    this.bytes = bytes;
    this.origins = origins;
    this.origin = 0;
    this.med = 0;
    this.localPref = defaultLocalPref;
    this.asPath.start = this.asPath.end = 0;
    for (const kind of kinds) this.communities[kind].start = this.communities[kind].end = 0;
    this.#matched = undefined;
    this.#tooLong = false;
    for (let at = 0; at < end; ) {
      const value = valueStart(bytes, at);
      const next = valueEnd(bytes, at);
      this.#attribute(bytes[at + 1]!, value, next);
      at = next;
    }
  }

  #attribute(type: number, start: number, end: number): void {
    switch (type) {
      case attributeType.origin:
        this.origin = this.bytes[start]!;
        return;
      case attributeType.asPath:
        place(this.asPath, start, end);
        return;
      case attributeType.multiExitDisc:
        this.med = read32(this.bytes, start);
        return;
      case attributeType.localPref:
        this.localPref = read32(this.bytes, start);
        return;
      case attributeType.communities:
        place(this.communities.standard, start, end);
        return;
      case attributeType.extendedCommunities:
        place(this.communities.extended, start, end);
        return;
      case attributeType.largeCommunities:
        place(this.communities.large, start, end);
        return;
      default:
        return;
    }
  }

  /** By expression: 1 where it matches the path; undefined where that would take too long. Worked out once. */
  get matched(): Uint8Array | undefined {
    if (!this.#matched && !this.#tooLong) {
      const count = this.#writeSymbols();
      this.#matched = this.#expressions!.match(this.#symbols, count);
      this.#tooLong = this.#matched === undefined;
    }
    this.undecided ||= this.#tooLong;
    return this.#matched;
  }

  #writeSymbols(): number {
    const { bytes } = this;
    const { start, end } = this.asPath;
    // At most ten digits and a separator an AS, and two brackets and a space a segment: 3 symbols an octet are enough.
    if (this.#symbols.length < 3 * (end - start) + 4) this.#symbols = new Uint8Array(6 * (end - start) + 4);
    const out = this.#symbols;
    let to = 0;
    for (let at = start; at < end; at += 2 + 4 * bytes[at + 1]!) {
      const type = bytes[at]!;
      const [open, close] = brackets(type);
      const separator = type === segmentType.asSet || type === segmentType.confedSet ? symbol.comma : symbol.space;
      if (at > start) out[to++] = symbol.space;
      if (open >= 0) out[to++] = open;
      for (let i = 0; i < bytes[at + 1]!; i++) {
        if (i > 0) out[to++] = separator;
        to = writeDigits(read32(bytes, at + 2 + 4 * i), out, to);
      }
      if (close >= 0) out[to++] = close;
    }
    return to;
  }
}

function place(span: Span, start: number, end: number): void {
  span.start = start;
  span.end = end;
}

/** As the looking glass prints them (wire/text.ts). */
function brackets(type: number): readonly [number, number] {
  if (type === segmentType.asSet) return [symbol.setOpen, symbol.setClose];
  if (type === segmentType.confedSequence) return [symbol.confedOpen, symbol.confedClose];
  if (type === segmentType.confedSet) return [symbol.confedSetOpen, symbol.confedSetClose];
  return [-1, -1];
}

function writeDigits(value: number, out: Uint8Array, at: number): number {
  let digits = 1;
  for (let limit = 10; limit <= value; limit *= 10) digits++;
  let rest = value;
  for (let i = digits - 1; i >= 0; i--) {
    const shorter = Math.floor(rest / 10);
    out[at + i] = rest - 10 * shorter;
    rest = shorter;
  }
  return at + digits;
}

export function read32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
