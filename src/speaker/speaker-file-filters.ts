/**
 * Filters in the stand-alone speaker's file, beside those of ready-filters.ts. Keys are named as in BGPFilter where it has them; every filter serves both families
 * and both directions:
 *
 *   filters:
 *     from-tor:
 *       - match: { cidr: 10.0.0.0/8, matchOperator: In, prefixLength: { min: 16, max: 24 } }
 *         then: accept                            # accept | reject | next | nextFilter
 *         set: { localPref: 200, addCommunities: ["64512:1", "rt:64512:7"], prepend: 2 }
 *       - match: { asPath: { matches: "_65003$" }, communities: ["64512:*"] }
 *         then: reject
 *
 * match, joined by and; lists are joined by or, and a single value may stand without its list:
 *   family            ipv4 | ipv6
 *   cidr, matchOperator, prefixLength   as in BGPFilter (Equal, NotEqual, In, NotIn; default In)
 *   prefixes, notPrefixes   10.0.0.0/8, 10.0.0.0/8+ (it and all inside), 10.0.0.0/8-24, 10.0.0.0/8{16,24} (of those lengths)
 *   nextHop           prefixes
 *   communities, allCommunities, notCommunities   patterns of any kind
 *   asPathPrefix      list of AS numbers that it begins with
 *   asPath            first, last, contains (AS numbers, or ranges "64512-65534"), length { min, max }, matches (expressions)
 *   peers             names, * for anything       peerType  eBGP | iBGP       source  own | learned
 *   origin            igp | egp | incomplete      med, localPref   number or { min, max }
 *
 * set: communities, largeCommunities, extendedCommunities (replace), addCommunities, deleteCommunities (patterns), prepend (times, or
 * list of AS numbers), stripPrivateAsns, med (number or none), localPref, origin, nextHop (address, self, unchanged).
 */
import { isMap, isScalar, isSeq, type Node, type Pair } from 'yaml';
import {
  type AttributeChange,
  type FilterTerm,
  type PrefixMatch,
  type PrefixSetEntry,
  prependTimesMax,
  type RouteFilter,
  termFault,
} from '#bgp';
import { parseCidr, toCidr } from '#kit';
import {
  asAsn,
  asBoolean,
  asInteger,
  asText,
  Fields,
  fail,
  listOf,
  type Reader,
  type Source,
  scalar,
} from './speaker-file-yaml.ts';

export type NamedFilters = ReadonlyMap<string, RouteFilter>;

export interface Policy {
  readonly action: 'accept' | 'reject';
  readonly filter?: RouteFilter;
}

type Family = 4 | 6;
const families: readonly Family[] = [4, 6];
const asU32 = asInteger(0, 0xffffffff, 'a number');
const asLength = asInteger(0, 128, 'a prefix length');

/** @throws SpeakerFileError */
export function readFilters(source: Source, node: Node | null): NamedFilters {
  if (!isMap(node)) fail(source, node, 'filters must be a mapping of names to lists of terms');
  const filters = new Map<string, RouteFilter>();
  for (const { key, value } of node.items as Pair<Node, Node | null>[]) {
    const name = asText(source, key);
    if (name === 'accept' || name === 'reject') fail(source, key, `${name} cannot be the name of a filter`);
    const rules = listOf((_, rule) => readRule(source, rule))(source, value);
    const terms = (family: Family): FilterTerm[] =>
      rules.flatMap((rule, index) => {
        const term = rule(family);
        return term ? [{ ...term, from: { filter: name, index } }] : [];
      });
    filters.set(name, { ipv4: terms(4), ipv6: terms(6) });
  }
  return filters;
}

/** `accept`, `reject`, or names of filters of which a last `accept` or `reject` decides about the rest. */
export function asPolicy(filters: NamedFilters): Reader<Policy> {
  return (source, node) => {
    const items = isSeq(node) ? (node.items as (Node | null)[]) : [node];
    const terms: Record<Family, FilterTerm[]> = { 4: [], 6: [] };
    if (items.length === 0) fail(source, node, 'accept, reject or names of filters are wanted here');
    for (const [index, item] of items.entries()) {
      const name = asText(source, item);
      if (name === 'accept' || name === 'reject') {
        if (items.length === 1) return { action: name };
        if (index < items.length - 1) fail(source, item, `${name} decides about all routes; nothing may follow it`);
        for (const family of families) terms[family].push({ action: name, from: { filter: name, index: 0 } });
        continue;
      }
      const filter = filters.get(name);
      if (!filter) {
        const known = ['accept', 'reject', ...filters.keys()].join(', ');
        fail(source, item, `${name} is neither accept nor reject nor a filter; known are ${known}`);
      }
      terms[4].push(...filter.ipv4);
      terms[6].push(...filter.ipv6);
    }
    return { action: 'accept', filter: { ipv4: terms[4], ipv6: terms[6] } };
  };
}

/** A rule as the term of each family; undefined where it can match nothing of it. */
function readRule(source: Source, node: Node | null): (family: Family) => FilterTerm | undefined {
  const fields = new Fields(source, node, 'a term');
  const action = fields.required('then', oneOf(['accept', 'reject', 'next', 'nextFilter']));
  const match = fields.optional('match', readMatch) ?? ((): Match => ({}));
  const changes = fields.optional('set', readChanges) ?? [];
  fields.done();
  if (action === 'reject' && changes.length > 0)
    fail(source, node, 'a term that rejects changes nothing: leave out set');
  const term = (family: Family): FilterTerm | undefined => {
    const conditions = match(family);
    if (!conditions) return undefined;
    // An address is for the family that it is of.
    const own = changes.filter((change) => change.type !== 'setNextHop' || fits(change.value, family));
    return { action, ...conditions, ...(own.length > 0 ? { changes: own } : {}) };
  };
  for (const family of families) {
    const made = term(family);
    const fault = made && termFault(made, family);
    if (fault !== undefined) fail(source, node, fault);
  }
  return term;
}

function fits(nextHop: string, family: Family): boolean {
  return nextHop === 'self' || nextHop === 'unchanged' || nextHop.includes(':') === (family === 6);
}

type Match = Omit<FilterTerm, 'action' | 'changes'>;

function readMatch(source: Source, node: Node | null): (family: Family) => Match | undefined {
  const fields = new Fields(source, node, 'match');
  const family = fields.optional('family', oneOf(['ipv4', 'ipv6']));
  const prefix = readPrefix(source, node, fields);
  const prefixes = fields.optional('prefixes', some(asPrefixEntry));
  const notPrefixes = fields.optional('notPrefixes', some(asPrefixEntry));
  if (prefixes && notPrefixes) fail(source, node, 'prefixes and notPrefixes do not go together; use two terms');
  const nextHop = fields.optional('nextHop', some(asPrefix));
  const any = fields.optional('communities', some(asCommunity));
  const all = fields.optional('allCommunities', some(asCommunity));
  const none = fields.optional('notCommunities', some(asCommunity));
  const peerType = fields.optional('peerType', oneOf(['eBGP', 'iBGP']));
  const from = fields.optional('source', oneOf(['own', 'learned']));
  if (peerType && from) fail(source, node, 'peerType says more than source: leave one of them out');
  const rest = defined({
    nextHop,
    communities: any || all || none ? defined({ any, all, none }) : undefined,
    asPathPrefix: fields.optional('asPathPrefix', listOf(asAsn)),
    asPath: fields.optional('asPath', readAsPath),
    peers: fields.optional('peers', some(asText)),
    source: peerType ? [peerType === 'eBGP' ? 'ebgp' : 'ibgp'] : from && [from],
    origin: fields.optional('origin', some(oneOf(['igp', 'egp', 'incomplete']))),
    med: fields.optional('med', asRange(asU32)),
    localPref: fields.optional('localPref', asRange(asU32)),
  }) as Match;
  fields.done();
  return (own) => {
    if (family !== undefined && family !== `ipv${own}`) return undefined;
    const one = prefix(own);
    if (one === 'never') return undefined;
    const entries = (prefixes ?? notPrefixes)?.filter(({ cidr }) => parseCidr(cidr)!.family === own);
    // Of another family than every prefix: in none of them.
    if (prefixes && entries?.length === 0) return undefined;
    const set = entries && entries.length > 0 ? { prefixes: { negated: notPrefixes !== undefined, entries } } : {};
    return { ...(one ? { prefix: one } : {}), ...set, ...rest };
  };
}

function readPrefix(
  source: Source,
  node: Node | null,
  fields: Fields,
): (family: Family) => PrefixMatch | 'never' | undefined {
  const cidr = fields.optional('cidr', asPrefix);
  const name = fields.optional('matchOperator', oneOf(['Equal', 'NotEqual', 'In', 'NotIn']));
  const length = fields.optional('prefixLength', asRange(asLength));
  if (name !== undefined && cidr === undefined) fail(source, node, 'matchOperator goes with cidr only');
  const operators = { Equal: 'equal', NotEqual: 'notEqual', In: 'in', NotIn: 'notIn' } as const;
  const operator = operators[name ?? 'In'];
  const lengths = defined({ minLength: length?.min, maxLength: length?.max });
  return (family) => {
    if (cidr === undefined) {
      return length ? { operator: 'in', cidr: family === 4 ? '0.0.0.0/0' : '::/0', ...lengths } : undefined;
    }
    const same = parseCidr(cidr)!.family === family;
    if (same) return { operator, cidr, ...lengths };
    return operator === 'notEqual' || operator === 'notIn' ? undefined : 'never';
  };
}

function readAsPath(source: Source, node: Node | null): NonNullable<FilterTerm['asPath']> {
  const fields = new Fields(source, node, 'asPath');
  const asPath = defined({
    first: fields.optional('first', some(asAsnRange)),
    last: fields.optional('last', some(asAsnRange)),
    contains: fields.optional('contains', some(asAsnRange)),
    length: fields.optional('length', asRange(asInteger(0, 65535, 'a path length'))),
    matches: fields.optional('matches', some(asText)),
  });
  fields.done();
  return asPath;
}

function readChanges(source: Source, node: Node | null): AttributeChange[] {
  const fields = new Fields(source, node, 'set');
  const changes: AttributeChange[] = [];
  const read = <T>(key: string, reader: Reader<T>, make: (value: T) => readonly AttributeChange[]): void => {
    const value = fields.optional(key, reader);
    if (value !== undefined) changes.push(...make(value));
  };
  const replaced = { communities: 'standard', extendedCommunities: 'extended', largeCommunities: 'large' } as const;
  read('deleteCommunities', some(asCommunity), (patterns) => [{ type: 'deleteCommunities', patterns }]);
  for (const key of ['communities', 'extendedCommunities', 'largeCommunities'] as const) {
    read(key, some(asCommunity), (values) => [{ type: 'setCommunities', kind: replaced[key], values }]);
  }
  read('addCommunities', some(asCommunity), (values) => values.map((value) => ({ type: 'addCommunity', value })));
  read('stripPrivateAsns', asBoolean, (strip) => (strip ? [{ type: 'stripPrivateAsns' }] : []));
  read('prepend', asPrepend, (change) => [change]);
  read('med', asMed, (value) => [value === 'none' ? { type: 'setMed' } : { type: 'setMed', value }]);
  read('localPref', asU32, (value) => [{ type: 'setLocalPref', value }]);
  read('origin', oneOf(['igp', 'egp', 'incomplete']), (value) => [{ type: 'setOrigin', value }]);
  read('nextHop', asText, (value) => [{ type: 'setNextHop', value }]);
  fields.done();
  return changes;
}

/** A list, or a single value that stands for a list of it. */
function some<T>(read: Reader<T>): Reader<T[]> {
  return (source, node) => (isSeq(node) ? listOf(read)(source, node) : [read(source, node)]);
}
function oneOf<const T extends string>(values: readonly T[]): Reader<T> {
  return (source, node) => {
    const text = asText(source, node);
    return values.find((value) => value === text) ?? fail(source, node, `${text} is none of ${values.join(', ')}`);
  };
}
function asRange(read: Reader<number>): Reader<{ min?: number; max?: number }> {
  return (source, node) => {
    if (!isMap(node)) {
      const value = read(source, node);
      return { min: value, max: value };
    }
    const fields = new Fields(source, node, 'a range');
    const range = defined({ min: fields.optional('min', read), max: fields.optional('max', read) });
    fields.done();
    if ((range.min ?? 0) > (range.max ?? Number.POSITIVE_INFINITY)) fail(source, node, 'min is greater than max');
    return range;
  };
}
const asAsnRange: Reader<number | { min: number; max: number }> = (source, node) => {
  if (isScalar(node) && typeof node.value === 'string') {
    const match = /^(\d{1,10})-(\d{1,10})$/.exec(node.value);
    const [min, max] = [Number(match?.[1]), Number(match?.[2])];
    if (min <= max && max <= 0xffffffff) return { min, max };
    fail(source, node, `${node.value} is neither an AS number nor a range such as 64512-65534`);
  }
  return asAsn(source, node);
};
const asPrefix: Reader<string> = (source, node) => {
  const text = asText(source, node);
  const cidr = text.includes('/') ? toCidr(text) : undefined;
  return cidr ?? fail(source, node, `${text} is not a prefix such as 10.1.0.0/16`);
};
/** `10.0.0.0/8` is exactly it, `10.0.0.0/8+` with all inside, `10.0.0.0/8{16,24}` and `10.0.0.0/8-24` of those lengths. */
const asPrefixEntry: Reader<PrefixSetEntry> = (source, node) => {
  const text = asText(source, node);
  const match = /^([^/]+\/(\d{1,3}))(?:(\+)|-(\d{1,3})|\{(\d{1,3}),(\d{1,3})\})?$/.exec(text);
  const cidr = match && toCidr(match[1]!);
  if (!match || !cidr)
    fail(source, node, `${text} is not a prefix such as 10.0.0.0/8, 10.0.0.0/8+ or 10.0.0.0/8{16,24}`);
  const { family, length: own } = parseCidr(cidr)!;
  const most = family === 4 ? 32 : 128;
  if (match[3] !== undefined) return { cidr, minLength: own, maxLength: most };
  if (match[4] === undefined && match[5] === undefined) return { cidr };
  const [minLength, maxLength] =
    match[4] === undefined ? [Number(match[5]), Number(match[6])] : [own, Number(match[4])];
  if (minLength < own || minLength > maxLength || maxLength > most) {
    fail(source, node, `lengths of ${text} must ascend from ${own} to at most ${most}`);
  }
  return { cidr, minLength, maxLength };
};
/** YAML takes 64512:100 for a number to the base 60 in its older version; this one reads it as text. */
const asCommunity: Reader<string> = (source, node) => String(scalar(source, node));
const asPrepend: Reader<AttributeChange> = (source, node) =>
  isSeq(node)
    ? { type: 'prepend', asns: listOf(asAsn)(source, node) }
    : { type: 'prependOwn', times: asInteger(1, prependTimesMax, 'how often to prepend')(source, node) };
const asMed: Reader<number | 'none'> = (source, node) =>
  isScalar(node) && node.value === 'none' ? 'none' : asU32(source, node);

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };
function defined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as Defined<T>;
}
