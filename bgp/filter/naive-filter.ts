/** Filters read word for word on routes as plain objects, for tests: slow, and without anything of the compiled form. */
import { parseCidr } from '#kit';
import type {
  AsnRange,
  AttributeChange,
  FilterTerm,
  InterfaceWay,
  NumberRange,
  RouteOrigin,
  RouteSource,
} from './types.ts';

export interface NaiveRoute {
  readonly prefix: string;
  readonly origin: RouteOrigin;
  readonly path: readonly { readonly set: boolean; readonly asns: readonly number[] }[];
  readonly med?: number;
  readonly localPref?: number;
  /** As text, of all kinds. */
  readonly communities: readonly string[];
  readonly nextHop: string;
  /** Of a link-local next hop; empty: none. */
  readonly link: string;
  readonly peer: string;
  readonly kind: Exclude<RouteSource, 'learned'>;
}

export interface NaiveOutcome {
  readonly accepted: boolean;
  /** -1: no term decided. */
  readonly decidedBy: number;
  readonly route: NaiveRoute;
}

export function naiveFilter(terms: readonly FilterTerm[], localAsn: number, route: NaiveRoute): NaiveOutcome {
  let now = route;
  let skipped: string | undefined;
  for (const [decidedBy, term] of terms.entries()) {
    if (skipped !== undefined && term.from?.filter === skipped) continue;
    skipped = undefined;
    if (!matches(term, now)) continue;
    if (term.action === 'reject') return { accepted: false, decidedBy, route: now };
    for (const change of term.changes ?? []) now = changed(now, change, localAsn);
    if (term.action === 'accept') return { accepted: true, decidedBy, route: now };
    if (term.action === 'nextFilter') skipped = term.from?.filter;
  }
  return { accepted: true, decidedBy: -1, route: now };
}

function matches(term: FilterTerm, route: NaiveRoute): boolean {
  const asns = route.path.flatMap(({ asns }) => asns);
  const text = pathText(route.path);
  const { prefix, prefixes, communities, asPath, asPathPrefix } = term;
  const length = route.path.reduce((sum, { set, asns }) => sum + (set ? 1 : asns.length), 0);
  const head = route.path.findIndex(({ set }) => set);
  const leading = (head < 0 ? route.path : route.path.slice(0, head)).flatMap(({ asns }) => asns);
  const carries = (pattern: string): boolean => route.communities.some((each) => communityMatches(pattern, each));
  const [first, last] = [route.path[0], route.path.at(-1)];
  return [
    !prefix || prefixMatches(prefix, route.prefix),
    !prefixes || prefixes.entries.some((entry) => inEntry(entry, route.prefix)) !== (prefixes.negated ?? false),
    !term.nextHop ||
      (route.kind !== 'own' && term.nextHop.some((cidr) => bits(`${route.nextHop}/32`).startsWith(bits(cidr)))),
    !term.interface || globMatches(term.interface.pattern, interfaceOf(term.interface.ways, route)),
    term.community === undefined || carries(term.community),
    !communities?.any || communities.any.some(carries),
    !communities?.all || communities.all.every(carries),
    !communities?.none?.some(carries),
    !asPathPrefix || asPathPrefix.every((asn, i) => leading[i] === asn),
    !asPath?.first || (first !== undefined && !first.set && asnIn(asPath.first, first.asns[0]!)),
    !asPath?.last || (last !== undefined && !last.set && asnIn(asPath.last, last.asns.at(-1)!)),
    !asPath?.contains || asns.some((asn) => asnIn(asPath.contains!, asn)),
    !asPath?.length || inRange(length, asPath.length),
    !asPath?.matches || asPath.matches.some((each) => new RegExp(each.replaceAll('_', '(?:^|$|[ ,{}()])')).test(text)),
    !term.peers || (route.kind !== 'own' && term.peers.some((each) => globMatches(each, route.peer))),
    !term.source || term.source.some((each) => each === route.kind || (each === 'learned' && route.kind !== 'own')),
    !term.origin?.every((each) => each !== route.origin),
    !term.med || inRange(route.med ?? 0, term.med),
    !term.localPref || inRange(route.localPref ?? 100, term.localPref),
  ].every(Boolean);
}

function interfaceOf(ways: readonly InterfaceWay[], { kind, nextHop, link }: NaiveRoute): string {
  if (kind === 'own') return '';
  if (link !== '') return link;
  const holding = ways.filter(({ cidr }) => bits(`${nextHop}/32`).startsWith(bits(cidr)));
  const longest = Math.max(...holding.map(({ cidr }) => bits(cidr).length));
  return holding.find(({ cidr }) => bits(cidr).length === longest)?.interface ?? '';
}

function changed(route: NaiveRoute, change: AttributeChange, localAsn: number): NaiveRoute {
  const prepended = (asns: readonly number[]): NaiveRoute => ({
    ...route,
    path: [{ set: false, asns }, ...route.path],
  });
  const { communities } = route;
  switch (change.type) {
    case 'addCommunity':
      return communities.includes(change.value) ? route : { ...route, communities: [...communities, change.value] };
    case 'setCommunities': {
      const others = communities.filter((each) => kindOf(each) !== change.kind);
      return { ...route, communities: [...others, ...new Set(change.values)] };
    }
    case 'deleteCommunities': {
      const kept = communities.filter((each) => !change.patterns.some((pattern) => communityMatches(pattern, each)));
      return { ...route, communities: kept };
    }
    case 'prepend':
      return prepended(change.asns);
    case 'prependOwn':
      return prepended(Array<number>(change.times).fill(localAsn));
    case 'stripPrivateAsns':
      return { ...route, path: stripped(route.path) };
    case 'setMed': {
      const { med: _, ...rest } = route;
      return change.value === undefined ? rest : { ...rest, med: change.value };
    }
    case 'setLocalPref':
      return { ...route, localPref: change.value };
    case 'setOrigin':
      return { ...route, origin: change.value };
    case 'setNextHop':
      return route;
  }
}

function stripped(path: NaiveRoute['path']): NaiveRoute['path'] {
  const [first, ...rest] = path;
  if (!first || first.set) return path;
  const isPrivate = (asn: number): boolean =>
    (asn >= 64512 && asn <= 65534) || (asn >= 4200000000 && asn <= 4294967294);
  const at = first.asns.findIndex((asn) => !isPrivate(asn));
  return at < 0 ? stripped(rest) : [{ set: false, asns: first.asns.slice(at) }, ...rest];
}

export function pathText(path: NaiveRoute['path']): string {
  return path.map(({ set, asns }) => (set ? `{${asns.join()}}` : asns.join(' '))).join(' ');
}
export function kindOf(community: string): 'standard' | 'extended' | 'large' {
  if (/^(rt|soo):/.test(community)) return 'extended';
  return community.split(':').length === 2 ? 'standard' : 'large';
}

function communityMatches(pattern: string, community: string): boolean {
  const [want, have] = [pattern.split(':'), community.split(':')];
  if (kindOf(pattern) !== kindOf(community)) return false;
  return want.every((part, i) => {
    if (part === '*' || part === have[i]) return true;
    const range = /^(\d+)-(\d+)$/.exec(part);
    return range !== null && Number(have[i]) >= Number(range[1]) && Number(have[i]) <= Number(range[2]);
  });
}
function globMatches(pattern: string, name: string): boolean {
  return new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(name);
}
function inRange(value: number, { min, max }: NumberRange): boolean {
  return value >= (min ?? 0) && value <= (max ?? Number.POSITIVE_INFINITY);
}
function asnIn(ranges: readonly AsnRange[], asn: number): boolean {
  return ranges.some((range) => (typeof range === 'number' ? range === asn : inRange(asn, range)));
}

function bits(cidr: string): string {
  const { bytes, length } = parseCidr(cidr)!;
  const all = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return all.slice(0, length);
}
function prefixMatches(prefix: NonNullable<FilterTerm['prefix']>, cidr: string): boolean {
  const [outer, inner] = [bits(prefix.cidr), bits(cidr)];
  const exact = prefix.operator === 'equal' || prefix.operator === 'notEqual';
  const fits = inRange(inner.length, { min: prefix.minLength ?? 0, max: prefix.maxLength ?? 128 });
  const inside = (exact ? inner === outer : inner.startsWith(outer)) && fits;
  return inside !== prefix.operator.startsWith('not');
}
function inEntry(entry: { cidr: string; minLength?: number; maxLength?: number }, cidr: string): boolean {
  const [outer, inner] = [bits(entry.cidr), bits(cidr)];
  const min = entry.minLength ?? outer.length;
  const max = entry.maxLength ?? (entry.minLength === undefined ? outer.length : 128);
  return inner.startsWith(outer) && inner.length >= min && inner.length <= max;
}
