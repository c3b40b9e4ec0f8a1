/** Compiled filters against filters read word for word. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatIp, parseCidr, parseIp } from '#kit';
import { describeAttributes } from '../wire/index.ts';
import { parseCommunity } from './community.ts';
import { compileFilter, ownRoute, termFault } from './index.ts';
import { kindOf, type NaiveRoute, naiveFilter, pathText } from './naive-filter.ts';
import { indexedTermsMin } from './prefix-index.ts';
import { PrefixSet } from './prefixes.ts';
import type { FilterTerm } from './types.ts';

const localAsn = 65000;

// Random terms and routes out of few values, so that they meet.
const asn = fc.constantFrom(65001, 65002, 64512, 3356, 4200000001);
const cidr = fc
  .tuple(fc.nat(1), fc.nat(1), fc.constantFrom(8, 9, 16, 17, 24))
  .map(([a, b, length]) =>
    length === 8 ? '10.0.0.0/8' : `10.${length === 9 ? 128 * a : a}.${length < 17 ? 0 : 128 * b}.0/${length}`,
  );
const communities = ['65001:1', '65001:2', '65002:1', '65001:1:1', '65001:1:2', 'rt:65001:1', 'soo:65001:1'];
const patterns = [...communities, '65001:*', '*:1', '65001:1-2', '65001:*:2', '*:*:*', 'rt:*:1', 'soo:65001:*'];
const some = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(of, { minLength: 1, maxLength: 2 });
const pattern = fc.constantFrom(...patterns);
const community = fc.constantFrom(...communities);
const range = (values: number[]): fc.Arbitrary<{ min?: number; max?: number }> =>
  fc.record({ min: fc.constantFrom(...values), max: fc.constantFrom(...values) }, { requiredKeys: [] });
const asnRange = fc.oneof(asn, fc.constantFrom({ min: 64512, max: 65534 }, { max: 65000 }, { min: 65002 }));
const origin = fc.constantFrom('igp', 'egp', 'incomplete');
const asPath = fc.record(
  {
    first: some(asnRange),
    last: some(asnRange),
    contains: some(asnRange),
    length: range([0, 1, 2, 3]),
    matches: some(fc.constantFrom('_65001_', '^65001', '65002$', '^$', '^[0-9]+ [0-9]+$', '_(3356|64512)_', '[{]')),
  },
  { requiredKeys: [] },
);
const lengths = { minLength: fc.constantFrom(8, 16, 17, 24), maxLength: fc.constantFrom(8, 16, 24, 32) };
const change = fc.oneof(
  fc.record({ type: fc.constant('addCommunity'), value: community }),
  ...(['standard', 'extended', 'large'] as const).map((kind) =>
    fc.record({
      type: fc.constant('setCommunities'),
      kind: fc.constant(kind),
      values: fc.subarray(communities.filter((each) => kindOf(each) === kind)),
    }),
  ),
  fc.record({ type: fc.constant('deleteCommunities'), patterns: some(pattern) }),
  fc.record({ type: fc.constant('prepend'), asns: some(asn) }),
  fc.record({ type: fc.constant('prependOwn'), times: fc.integer({ min: 1, max: 3 }) }),
  fc.constant({ type: 'stripPrivateAsns' }),
  fc.record({ type: fc.constant('setMed'), value: fc.constantFrom(0, 5, 50) }),
  fc.constant({ type: 'setMed' }),
  fc.record({ type: fc.constant('setLocalPref'), value: fc.constantFrom(0, 100, 200) }),
  fc.record({ type: fc.constant('setOrigin'), value: origin }),
);

const way = fc.record({
  cidr: fc.constantFrom('192.0.2.0/24', '192.0.2.1/32', '0.0.0.0/0', '192.0.0.0/16'),
  interface: fc.constantFrom('', 'eth0', 'eth1', 'bond0'),
});

const term = fc.record(
  {
    action: fc.constantFrom('accept', 'reject', 'next', 'next', 'nextFilter'),
    prefix: fc.record(
      { operator: fc.constantFrom('equal', 'notEqual', 'in', 'notIn'), cidr, ...lengths },
      { requiredKeys: ['operator', 'cidr'] },
    ),
    prefixes: fc.record(
      {
        negated: fc.boolean(),
        entries: fc.array(fc.record({ cidr, ...lengths }, { requiredKeys: ['cidr'] }), { minLength: 1, maxLength: 6 }),
      },
      { requiredKeys: ['entries'] },
    ),
    nextHop: some(fc.constantFrom('192.0.2.0/24', '192.0.2.1/32', '0.0.0.0/0', '2001:db8::/32')),
    interface: fc.record({
      pattern: fc.constantFrom('*', 'eth*', 'eth1', '*0'),
      ways: fc.array(way, { maxLength: 4 }),
    }),
    community,
    communities: fc.record({ any: some(pattern), all: some(pattern), none: some(pattern) }, { requiredKeys: [] }),
    asPathPrefix: some(asn),
    asPath,
    peers: some(fc.constantFrom('tor-1', 'tor-*', '*', '*-2', 'x')),
    source: some(fc.constantFrom('own', 'learned', 'ebgp', 'ibgp')),
    origin: some(origin),
    med: range([0, 5, 50]),
    localPref: range([100, 200]),
    changes: fc.array(change, { minLength: 1, maxLength: 3 }),
  },
  { requiredKeys: ['action'] },
);
/** Most terms have a few conditions of many: otherwise nothing would match. */
const sparse = fc
  .tuple(
    term,
    fc.shuffledSubarray(
      [
        'prefix',
        'prefixes',
        'nextHop',
        'interface',
        'community',
        'communities',
        'asPathPrefix',
        'asPath',
        'peers',
        'source',
        'origin',
        'med',
        'localPref',
      ],
      { maxLength: 2 },
    ),
  )
  .map(([whole, kept]) => {
    const conditions = Object.entries(whole).filter(
      ([key]) => key === 'action' || key === 'changes' || kept.includes(key as never),
    );
    return Object.fromEntries(conditions) as unknown as FilterTerm;
  });

/** Terms of up to three filters. */
const randomTerms: fc.Arbitrary<FilterTerm[]> = fc
  .array(fc.array(sparse, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 3 })
  .map((filters) =>
    filters.flatMap((terms, n) =>
      terms.map((each, index): FilterTerm => {
        const { changes: _, ...rejecting } = each;
        const made = each.action === 'reject' ? rejecting : each;
        return { ...made, from: { filter: `filter-${n}`, index } };
      }),
    ),
  );

const randomRoute: fc.Arbitrary<NaiveRoute> = fc.record(
  {
    prefix: cidr,
    origin,
    path: fc.array(fc.record({ set: fc.boolean(), asns: fc.array(asn, { minLength: 1, maxLength: 3 }) }), {
      maxLength: 3,
    }),
    med: fc.constantFrom(0, 5, 50),
    localPref: fc.constantFrom(100, 150, 200),
    communities: fc.subarray(communities),
    nextHop: fc.constantFrom('192.0.2.1', '198.51.100.1'),
    link: fc.constantFrom('', '', 'eth0', 'bond1'),
    peer: fc.constantFrom('tor-1', 'tor-2', 'spine'),
    kind: fc.constantFrom('own', 'ebgp', 'ibgp'),
  },
  { requiredKeys: ['prefix', 'origin', 'path', 'communities', 'nextHop', 'link', 'peer', 'kind'] },
) as fc.Arbitrary<NaiveRoute>;

/** Canonical attributes of a route. */
function routeBytes({ origin, path, med, localPref, communities }: NaiveRoute): Uint8Array {
  const u32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
  const attribute = (flags: number, type: number, value: readonly number[]): number[] => [
    ...(value.length > 255
      ? [flags | 0x10, type, value.length >>> 8, value.length & 255]
      : [flags, type, value.length]),
    ...value,
  ];
  const list = (kind: string): number[] =>
    communities.filter((each) => kindOf(each) === kind).flatMap((each) => [...parseCommunity(each)]);
  const optional = (flags: number, type: number, value: readonly number[]): number[] =>
    value.length > 0 ? attribute(flags, type, value) : [];
  return Uint8Array.from([
    ...attribute(0x40, 1, [{ igp: 0, egp: 1, incomplete: 2 }[origin]]),
    ...attribute(
      0x40,
      2,
      path.flatMap(({ set, asns }) => [set ? 1 : 2, asns.length, ...asns.flatMap(u32)]),
    ),
    ...(med === undefined ? [] : attribute(0x80, 4, u32(med))),
    ...(localPref === undefined ? [] : attribute(0x40, 5, u32(localPref))),
    ...optional(0xc0, 8, list('standard')),
    ...optional(0xc0, 16, list('extended')),
    ...optional(0xc0, 32, list('large')),
  ]);
}
function routeOrigins({ peer, kind, nextHop, link }: NaiveRoute) {
  return kind === 'own' ? ownRoute : { peer, kind, nextHop: parseIp(nextHop)!, link };
}

/** As the looking glass prints it; extended communities left in octets there are compared as those. */
function text(route: NaiveRoute): object {
  return describeAttributes(routeBytes(route), 0, routeBytes(route).length);
}
function words(cidr: string): { words: Int32Array; bits: number } {
  const { bytes, length } = parseCidr(cidr)!;
  return { words: Int32Array.of(Buffer.from(bytes).readInt32BE(0)), bits: length };
}

/** So many that the list is indexed by prefixes, of which no route here is one. */
const aboutOthers = Array.from(
  { length: indexedTermsMin },
  (_, index): FilterTerm => ({
    action: 'reject',
    prefix: { operator: 'equal', cidr: `203.0.113.${index}/32` },
    from: { filter: 'others', index },
  }),
);

test('what a filter makes of routes, whatever shares its attributes, is what reading it word for word gives', () => {
  const seen = { accepted: 0, rejected: 0, changed: 0, undecided: 0 };
  fc.assert(
    fc.property(
      randomTerms,
      fc.array(randomRoute, { minLength: 1, maxLength: 4 }),
      fc.array(randomRoute),
      (terms, routes, others) => {
        const filters = [terms, [...terms, ...aboutOthers]].map((each) => compileFilter(each, localAsn)!);
        for (const [filter, attributes] of filters.flatMap((each) => routes.map((route) => [each, route] as const))) {
          const bytes = routeBytes(attributes);
          filter.use(bytes, bytes.length, routeOrigins(attributes));
          // Several prefixes with the same attributes go through the same tree of states.
          for (const { prefix } of [...routes, ...others, ...routes]) {
            const route = { ...attributes, prefix };
            const expected = naiveFilter(terms, localAsn, route);
            const tested = words(prefix);
            const state = filter.run(tested.words, 0, tested.bits);
            assert.equal(state !== undefined, expected.accepted);
            assert.equal(filter.decidedBy, expected.decidedBy);
            if (expected.decidedBy < 0) seen.undecided++;
            seen[expected.accepted ? 'accepted' : 'rejected']++;
            if (!state) continue;
            assert.deepEqual(describeAttributes(state.bytes, 0, state.end), text(expected.route));
            if (pathText(expected.route.path) !== pathText(route.path)) seen.changed++;
          }
        }
      },
    ),
    { numRuns: 1500 },
  );
  // The generator makes routes and terms that meet.
  for (const [what, count] of Object.entries(seen)) assert.ok(count > 1000, `${what} ${count}`);
});

test('a path that is too much for an expression: whatever the term is about is rejected by it', () => {
  const asns = Array.from(
    { length: 12_000 },
    (_, n) => 1_000_000_000 + (Math.imul(n + 1, 0x9e3779b1) ** 2 % 3_000_000_000),
  );
  const sets = Array.from({ length: 48 }, (_, n) => ({ set: false, asns: asns.slice(250 * n, 250 * (n + 1)) }));
  const route = {
    origin: 'igp',
    communities: [],
    nextHop: '192.0.2.1',
    link: '',
    peer: 'tor-1',
    kind: 'ebgp',
  } as const;
  const terms: FilterTerm[] = [
    { action: 'accept', prefix: { operator: 'equal', cidr: '10.1.0.0/16' } },
    { action: 'accept', prefix: { operator: 'in', cidr: '10.0.0.0/8' }, asPath: { matches: ['((1|2|3)?){255}$'] } },
    { action: 'accept' },
  ];
  const decided = (path: NaiveRoute['path']): readonly (readonly [boolean, number])[] => {
    const filter = compileFilter(terms, localAsn)!;
    const bytes = routeBytes({ ...route, prefix: '10.0.0.0/8', path });
    filter.use(bytes, bytes.length, ownRoute);
    return ['10.1.0.0/16', '10.2.0.0/16', '192.0.2.0/24'].map((prefix) => {
      const { words: address, bits } = words(prefix);
      return [filter.run(address, 0, bits) !== undefined, filter.decidedBy];
    });
  };
  assert.deepEqual(decided(sets), [
    [true, 0],
    [false, 1],
    [true, 2],
  ]);
  assert.deepEqual(decided([{ set: false, asns: asns.slice(0, 5) }]), [
    [true, 0],
    [true, 1],
    [true, 2],
  ]);
});

test('RFC 1997, 4360, 8092: a list that loses its last community is left out, for an empty one is malformed', () => {
  const route: NaiveRoute = {
    prefix: '10.0.0.0/8',
    origin: 'igp',
    path: [],
    communities: ['65001:1', '65001:1:1', 'rt:65001:1'],
    nextHop: '192.0.2.1',
    link: '',
    peer: 'tor-1',
    kind: 'ebgp',
  };
  for (const pattern of ['65001:*', '*:*:1', 'rt:*:*']) {
    const changes = [{ type: 'deleteCommunities', patterns: [pattern] }] as const;
    const filter = compileFilter([{ action: 'accept', changes }], localAsn)!;
    const bytes = routeBytes(route);
    filter.use(bytes, bytes.length, routeOrigins(route));
    const state = filter.run(words('10.0.0.0/8').words, 0, 8)!;
    const left = { ...route, communities: route.communities.filter((each) => kindOf(each) !== kindOf(pattern)) };
    assert.deepEqual(Buffer.from(state.bytes.subarray(0, state.end)), Buffer.from(routeBytes(left)));
  }
});

test('RFC 8642 3: replacing communities of a kind leaves none of it, the well-known ones included', () => {
  const terms: FilterTerm[] = [
    { action: 'next', changes: [{ type: 'addCommunity', value: 'no-export' }] },
    { action: 'accept', changes: [{ type: 'setCommunities', kind: 'standard', values: ['65001:2'] }] },
  ];
  const filter = compileFilter(terms, localAsn)!;
  const bytes = Buffer.of(0xc0, 8, 4, 0xfd, 0xe9, 0, 1);
  filter.use(bytes, bytes.length, { peer: 'p', kind: 'ebgp', nextHop: new Uint8Array(4), link: '' });
  const state = filter.run(words('10.0.0.0/8').words, 0, 8)!;
  assert.deepEqual(describeAttributes(state.bytes, 0, state.end).communities, ['65001:2']);
});

test('sets of prefixes of either family, however they nest, as bit strings say', () => {
  const bits = (text: string): string => {
    const { bytes, length } = parseCidr(text)!;
    return [...bytes]
      .map((byte) => byte.toString(2).padStart(8, '0'))
      .join('')
      .slice(0, length);
  };
  for (const family of [4, 6] as const) {
    const lengths = family === 4 ? [0, 1, 8, 15, 16, 31, 32] : [0, 31, 32, 33, 63, 64, 65, 127, 128];
    const cidr = fc.tuple(fc.nat(3), fc.constantFrom(...lengths)).map(([n, length]) => {
      const address = Array.from({ length: family === 4 ? 4 : 16 }, (_, i) => ((i + n) % 3 === 0 ? 255 : n));
      const masked = address.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, length - 8 * i))) & 255);
      return `${formatIp(Uint8Array.from(masked))}/${length}`;
    });
    const length = fc.constantFrom(...lengths);
    const entry = fc.record({ cidr, minLength: length, maxLength: length }, { requiredKeys: ['cidr'] });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 8 }), fc.boolean(), cidr, (entries, negated, tested) => {
        const own = bits(tested);
        const inside = entries.some((each) => {
          const outer = bits(each.cidr);
          const max = each.maxLength ?? (each.minLength === undefined ? outer.length : 128);
          return own.startsWith(outer) && own.length >= (each.minLength ?? outer.length) && own.length <= max;
        });
        const { bytes } = parseCidr(tested)!;
        const prefix = Int32Array.from({ length: bytes.length / 4 }, (_, i) => Buffer.from(bytes).readInt32BE(4 * i));
        assert.equal(new PrefixSet({ entries, negated }).holds(prefix, 0, own.length), inside !== negated);
      }),
      { numRuns: 1500 },
    );
  }
});

test('route targets match in all three forms of their number (RFC 4360 3, RFC 5668)', () => {
  const carries = (hex: string, any: string): boolean => {
    const filter = compileFilter([{ action: 'accept', communities: { any: [any] } }, { action: 'reject' }], localAsn)!;
    const bytes = Buffer.concat([Buffer.of(0xc0, 16, 8), Buffer.from(hex, 'hex')]);
    filter.use(bytes, bytes.length, { peer: 'p', kind: 'ebgp', nextHop: new Uint8Array(4), link: '' });
    return filter.run(words('10.0.0.0/8').words, 0, 8) !== undefined;
  };
  const cases: [string, string, boolean][] = [
    ['0002fde900000064', 'rt:65001:100', true],
    ['0202000 0fde90064'.replace(' ', ''), 'rt:65001:100', true],
    ['0202fa56ea010064', 'rt:4200000001:100', true],
    ['01020a0000010064', 'rt:10.0.0.1:100', true],
    ['01020a0000010064', 'rt:*:100', true],
    ['01020a0000010064', 'rt:167772161:100', false],
    ['4002fde900000064', 'rt:65001:100', true],
    ['0003fde900000064', 'rt:65001:100', false],
    ['0003fde900000064', 'soo:65001:*', true],
    ['0002fde900000064', '0002fde900000064', true],
    ['8006000000000000', '8006000000000000', true],
  ];
  for (const [hex, pattern, expected] of cases) assert.equal(carries(hex, pattern), expected, `${pattern} on ${hex}`);
});

test('terms that are none are refused with a reason', () => {
  const cases: [Partial<FilterTerm>, RegExp][] = [
    [{ prefix: { operator: 'in', cidr: '10.0.0.0/33' } }, /10\.0\.0\.0\/33 is not a prefix/],
    [{ prefixes: { entries: [{ cidr: 'x' }] } }, /x is not a prefix/],
    [{ nextHop: ['10.0.0'] }, /10\.0\.0 is not a prefix/],
    [{ interface: { pattern: '*', ways: [{ cidr: '10', interface: 'eth0' }] } }, /10 is not a prefix/],
    [{ community: '65536:1' }, /65536:1 is not a community/],
    [{ communities: { any: ['1:2:3:4'] } }, /is not a community/],
    [{ communities: { none: ['1:9-2'] } }, /is not a community/],
    [{ asPath: { matches: ['('] } }, /not an expression/],
    [{ changes: [{ type: 'addCommunity', value: '1:*' }] }, /is not a community/],
    [{ changes: [{ type: 'addCommunity', value: 'rt:70000:70000' }] }, /is not a community/],
    [
      { changes: [{ type: 'setCommunities', kind: 'large', values: ['1:2'] }] },
      /1:2 is not a community of the kind large/,
    ],
    [{ changes: [{ type: 'prependOwn', times: 33 }] }, /1 to 32 times, not 33/],
    [{ changes: [{ type: 'setNextHop', value: 'there' }] }, /there is not an IP address/],
    [{ changes: [{ type: 'setNextHop', value: 'fd00::1' }] }, /not an IPv4 address/],
    [{ changes: [{ type: 'setMed', value: -1 }] }, /-1 is not a whole number/],
  ];
  for (const [term, reason] of cases) assert.match(termFault({ action: 'accept', ...term }, 4) ?? '', reason);
  assert.equal(termFault({ action: 'accept', changes: [{ type: 'setNextHop', value: 'self' }] }, 6), undefined);
});
