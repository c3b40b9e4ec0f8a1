/** Conditions of a term on anything but the prefix, as functions of a {@link RouteView}. All of them hold, or the term does not match. */
import { segmentType } from '../wire/index.ts';
import { type CommunityPattern, communityBytes, parseCommunityPattern } from './community.ts';
import { interfaceOf } from './interfaces.ts';
import { addressTest } from './prefixes.ts';
import { type RouteView, read32 } from './route-view.ts';
import type {
  AsnRange,
  AsPathMatch,
  CommunitiesMatch,
  FilterTerm,
  InterfaceMatch,
  NumberRange,
  RouteSource,
} from './types.ts';

export type Condition = (view: RouteView) => boolean;

/** Exact standard communities above which they are looked up in a set. */
const lookUpMin = 8;

/**
 * The cheap ones first.
 *
 * @param expressions over AS paths of all terms, by text: what this term asks of the path is added.
 * @throws RangeError when a part of the term is none.
 */
export function compileConditions(term: FilterTerm, expressions: Map<string, number>): Condition[] {
  const out: Condition[] = [];
  const { source, origin, med, localPref, peers, nextHop, community, communities, asPathPrefix, asPath } = term;
  const { interface: leavesBy } = term;
  if (source) out.push((view) => source.some((wanted) => isFrom(view.origins.kind, wanted)));
  if (origin) {
    const wanted: readonly number[] = origin.map((name) => originNumber[name]);
    out.push((view) => wanted.includes(view.origin));
  }
  if (med) out.push((view) => inRange(view.med, med));
  if (localPref) out.push((view) => inRange(view.localPref, localPref));
  if (peers) out.push(peerCondition(peers));
  if (nextHop) {
    const test = addressTest(nextHop);
    out.push((view) => test(view.origins.nextHop));
  }
  if (leavesBy) out.push(interfaceCondition(leavesBy));
  if (community !== undefined) out.push(carriesAny([community]));
  if (communities) out.push(...communityConditions(communities));
  if (asPathPrefix) out.push((view) => beginsWith(view, asPathPrefix));
  if (asPath) out.push(...pathConditions(asPath, expressions));
  return out;
}

/** An expression over AS paths goes through the path as text, all of them at once: that takes as long as so many walks. */
const expressionWalks = 10;

/** How often the conditions of a term go through a list of the attributes, in the worst case. */
export function walksOf({ community, communities, asPath }: FilterTerm): number {
  const { any = [], all = [], none = [] } = communities ?? {};
  const lists = [any, none].map((texts) => (texts.length >= lookUpMin && texts.every(isExact) ? 1 : texts.length));
  const path = asPath === undefined ? 0 : asPath.matches ? expressionWalks : 1;
  return lists[0]! + lists[1]! + all.length + (community === undefined ? 0 : 1) + path;
}

const isExact = (text: string): boolean => /^\d+:\d+$/.test(text);

/** Whether conditions of the term depend on where a route comes from, not only on its attributes. */
export function asksOrigins({ source, peers, nextHop, interface: leavesBy }: FilterTerm): boolean {
  return source !== undefined || peers !== undefined || nextHop !== undefined || leavesBy !== undefined;
}

export const originNumber = { igp: 0, egp: 1, incomplete: 2 } as const;

function isFrom(kind: RouteSource, wanted: RouteSource): boolean {
  return wanted === kind || (wanted === 'learned' && kind !== 'own');
}

function inRange(value: number, { min = 0, max = 0xffffffff }: NumberRange): boolean {
  return value >= min && value <= max;
}

/** Remembers names: there are few, and each is asked for again and again. */
function peerCondition(patterns: readonly string[]): Condition {
  const expressions = patterns.map(namePattern);
  let lastName: string | undefined;
  let lastHolds = false;
  return ({ origins: { peer } }) => {
    if (peer !== lastName) {
      lastName = peer;
      lastHolds = peer !== '' && expressions.some((holds) => holds(peer));
    }
    return lastHolds;
  };
}

/** A pattern of nothing but `*` holds for the empty name as well. */
function interfaceCondition({ pattern, ways }: InterfaceMatch): Condition {
  const [holds, find] = [namePattern(pattern), interfaceOf(ways)];
  return ({ origins }) => holds(origins.link === '' ? find(origins.nextHop) : origins.link);
}

/** `*` stands for anything. Greedy from the left, so that the time is bounded by the product of the lengths. */
export function namePattern(pattern: string): (name: string) => boolean {
  const parts = pattern.split('*');
  const [head, tail] = [parts[0]!, parts.at(-1)!];
  if (parts.length === 1) return (name) => name === pattern;
  return (name) => {
    if (name.length < head.length + tail.length || !name.startsWith(head) || !name.endsWith(tail)) return false;
    const last = name.length - tail.length;
    let at = head.length;
    for (const part of parts.slice(1, -1)) {
      const found = name.indexOf(part, at);
      if (found < 0 || found + part.length > last) return false;
      at = found + part.length;
    }
    return true;
  };
}

function communityConditions({ any, all, none }: CommunitiesMatch): Condition[] {
  const out: Condition[] = [];
  if (any) out.push(carriesAny(any));
  for (const pattern of all ?? []) out.push(carriesAny([pattern]));
  if (none) {
    const carries = carriesAny(none);
    out.push((view) => !carries(view));
  }
  return out;
}

function carriesAny(texts: readonly string[]): Condition {
  const patterns = texts.map(parseCommunityPattern);
  if (texts.length >= lookUpMin && texts.every(isExact)) return carriesAnyOf(texts);
  return (view) => {
    for (const pattern of patterns) if (carries(view, pattern)) return true;
    return false;
  };
}

function carries({ bytes, communities }: RouteView, pattern: CommunityPattern): boolean {
  const { start, end } = communities[pattern.kind];
  const size = communityBytes[pattern.kind];
  for (let at = start; at + size <= end; at += size) if (pattern.matches(bytes, at)) return true;
  return false;
}

function carriesAnyOf(texts: readonly string[]): Condition {
  const wanted = new Set(
    texts.map((text) => {
      const [high, low] = text.split(':');
      return Number(high) * 65536 + Number(low);
    }),
  );
  return ({ bytes, communities: { standard } }) => {
    for (let at = standard.start; at + 4 <= standard.end; at += 4) if (wanted.has(read32(bytes, at))) return true;
    return false;
  };
}

/** An AS_SET stands for no place in the order: a path through one begins with what is before it. */
function beginsWith({ bytes, asPath: { start, end } }: RouteView, asns: readonly number[]): boolean {
  let next = 0;
  for (let at = start; at < end && next < asns.length; at += 2 + 4 * bytes[at + 1]!) {
    if (bytes[at] !== segmentType.asSequence) break;
    for (let i = 0; i < bytes[at + 1]! && next < asns.length; i++, next++) {
      if (read32(bytes, at + 2 + 4 * i) !== asns[next]) return false;
    }
  }
  return next === asns.length;
}

function pathConditions(
  { first, last, contains, length, matches }: AsPathMatch,
  expressions: Map<string, number>,
): Condition[] {
  const out: Condition[] = [];
  if (length) out.push((view) => inRange(pathLength(view), length));
  if (first) {
    const wanted = asnTest(first);
    out.push(({ bytes, asPath: { start, end } }) => {
      return end > start && bytes[start] === segmentType.asSequence && wanted(read32(bytes, start + 2));
    });
  }
  if (last) {
    const wanted = asnTest(last);
    out.push((view) => endsIn(view, wanted));
  }
  if (contains) {
    const wanted = asnTest(contains);
    out.push(({ bytes, asPath: { start, end } }) => {
      for (let at = start; at < end; at += 2 + 4 * bytes[at + 1]!) {
        for (let i = 0; i < bytes[at + 1]!; i++) if (wanted(read32(bytes, at + 2 + 4 * i))) return true;
      }
      return false;
    });
  }
  if (matches) {
    const wanted = matches.map((text) => {
      const index = expressions.get(text) ?? expressions.size;
      expressions.set(text, index);
      return index;
    });
    out.push(({ matched }) => {
      // Then nobody knows, and the view says so.
      if (!matched) return true;
      for (let i = 0; i < wanted.length; i++) if (matched[wanted[i]!] === 1) return true;
      return false;
    });
  }
  return out;
}

function pathLength({ bytes, asPath: { start, end } }: RouteView): number {
  let length = 0;
  for (let at = start; at < end; at += 2 + 4 * bytes[at + 1]!) {
    if (bytes[at] === segmentType.asSequence) length += bytes[at + 1]!;
    else if (bytes[at] === segmentType.asSet) length++;
  }
  return length;
}

function endsIn({ bytes, asPath: { start, end } }: RouteView, wanted: (asn: number) => boolean): boolean {
  let lastType = 0;
  for (let at = start; at < end; at += 2 + 4 * bytes[at + 1]!) lastType = bytes[at]!;
  return lastType === segmentType.asSequence && wanted(read32(bytes, end - 4));
}

function asnTest(ranges: readonly AsnRange[]): (asn: number) => boolean {
  const exact = new Set(ranges.filter((range) => typeof range === 'number'));
  const wide = ranges.filter((range) => typeof range !== 'number');
  const [min, max] = [wide.map((range) => range.min ?? 0), wide.map((range) => range.max ?? 0xffffffff)];
  const inWide = (asn: number): boolean => {
    for (let i = 0; i < min.length; i++) if (asn >= min[i]! && asn <= max[i]!) return true;
    return false;
  };
  if (exact.size === 0) return inWide;
  if (exact.size === 1 && wide.length === 0) {
    const [only] = exact;
    return (asn) => asn === only;
  }
  return (asn) => exact.has(asn) || inWide(asn);
}
