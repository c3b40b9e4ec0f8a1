import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerConfig } from '#bgp';
import { parseSpeakerFile, SpeakerFileError } from './speaker-file.ts';

const parse = (text: string) => parseSpeakerFile('speaker.yaml', text, () => '');
const head = 'asn: 64512\nrouterId: 10.0.0.1\n';
const peerWith = (filters: string, peer: string): PeerConfig =>
  parse(`${head}filters:\n${filters}\npeers: [{ address: 10.0.0.2, asn: 64513, ${peer} }]\n`).peers[0]!;
/** The terms of one rule, without where they come from. */
function rule(text: string): { ipv4: object[]; ipv6: object[] } {
  const { ipv4, ipv6 } = peerWith(`  f: [${text}]`, 'import: [f]').importFilter!;
  const bare = (terms: typeof ipv4): object[] => terms.map(({ from: _, ...term }) => term);
  return { ipv4: bare(ipv4), ipv6: bare(ipv6) };
}

test('filters are named once and used by peers, in order, with a default at the end', () => {
  const filters = `
  from-tor:
    - { match: { cidr: 10.0.0.0/8, matchOperator: In, prefixLength: { min: 16, max: 24 } }, then: accept }
    - { then: next, set: { med: 5 } }
  quiet:
    - { match: { communities: "64512:66" }, then: reject }`;
  const {
    import: action,
    importFilter,
    ...peer
  } = peerWith(filters, 'import: [from-tor, quiet, reject], export: quiet, adjRibIn: true');
  assert.equal(action, 'accept');
  assert.equal(peer.adjRibIn, true);
  const prefix = { operator: 'in', cidr: '10.0.0.0/8', minLength: 16, maxLength: 24 };
  const shared = [
    { action: 'next', from: { filter: 'from-tor', index: 1 }, changes: [{ type: 'setMed', value: 5 }] },
    { action: 'reject', from: { filter: 'quiet', index: 0 }, communities: { any: ['64512:66'] } },
    { action: 'reject', from: { filter: 'reject', index: 0 } },
  ];
  const [first, ...rest] = importFilter!.ipv4;
  assert.deepEqual(first, { action: 'accept', from: { filter: 'from-tor', index: 0 }, prefix });
  assert.deepEqual(rest, shared);
  assert.deepEqual(importFilter!.ipv6, shared, 'an IPv4 prefix matches nothing of IPv6');
  assert.equal(peer.exportFilter?.ipv4.length, 1);
});

test('RFC 8212: a list of filters is a policy; without one an eBGP peer stays rejected', () => {
  const both = peerWith('  f: []', 'import: [f]');
  assert.deepEqual([both.import, both.importFilter, both.export], ['accept', { ipv4: [], ipv6: [] }, 'reject']);
  assert.deepEqual(parse(`${head}filters: {}\npeers: []\n`).peers, []);
});

test('every condition, and what is of one family only', () => {
  const both = (term: object) => ({ ipv4: [term], ipv6: [term] });
  const cases: [string, object][] = [
    ['{ match: { family: ipv6 }, then: reject }', { ipv4: [], ipv6: [{ action: 'reject' }] }],
    [
      '{ match: { cidr: 10.0.0.0/8, matchOperator: NotIn }, then: reject }',
      { ipv4: [{ action: 'reject', prefix: { operator: 'notIn', cidr: '10.0.0.0/8' } }], ipv6: [{ action: 'reject' }] },
    ],
    [
      '{ match: { prefixLength: { min: 25 } }, then: reject }',
      {
        ipv4: [{ action: 'reject', prefix: { operator: 'in', cidr: '0.0.0.0/0', minLength: 25 } }],
        ipv6: [{ action: 'reject', prefix: { operator: 'in', cidr: '::/0', minLength: 25 } }],
      },
    ],
    [
      '{ match: { prefixes: [10.0.0.0/8, 10.0.0.0/8+, "10.0.0.0/8{16,24}", 10.0.0.0/8-9, "fd00::/8+"] }, then: reject }',
      {
        ipv4: [
          {
            action: 'reject',
            prefixes: {
              negated: false,
              entries: [
                { cidr: '10.0.0.0/8' },
                { cidr: '10.0.0.0/8', minLength: 8, maxLength: 32 },
                { cidr: '10.0.0.0/8', minLength: 16, maxLength: 24 },
                { cidr: '10.0.0.0/8', minLength: 8, maxLength: 9 },
              ],
            },
          },
        ],
        ipv6: [
          {
            action: 'reject',
            prefixes: { negated: false, entries: [{ cidr: 'fd00::/8', minLength: 8, maxLength: 128 }] },
          },
        ],
      },
    ],
    [
      '{ match: { notPrefixes: fd00::/8 }, then: reject }',
      {
        ipv4: [{ action: 'reject' }],
        ipv6: [{ action: 'reject', prefixes: { negated: true, entries: [{ cidr: 'fd00::/8' }] } }],
      },
    ],
    [
      '{ match: { communities: ["1:*", "rt:1:2"], allCommunities: "1:2:3", notCommunities: no-export }, then: accept }',
      both({ action: 'accept', communities: { any: ['1:*', 'rt:1:2'], all: ['1:2:3'], none: ['no-export'] } }),
    ],
    [
      '{ match: { asPath: { first: 64513, last: ["1-9", 11], contains: [5], length: { max: 4 }, matches: _7_ }, asPathPrefix: [64513, 2] }, then: accept }',
      both({
        action: 'accept',
        asPath: { first: [64513], last: [{ min: 1, max: 9 }, 11], contains: [5], length: { max: 4 }, matches: ['_7_'] },
        asPathPrefix: [64513, 2],
      }),
    ],
    [
      '{ match: { nextHop: 10.0.0.0/24, peers: tor-*, peerType: eBGP, origin: [igp, egp], med: 5, localPref: { min: 1, max: 2 } }, then: accept }',
      both({
        action: 'accept',
        nextHop: ['10.0.0.0/24'],
        peers: ['tor-*'],
        source: ['ebgp'],
        origin: ['igp', 'egp'],
        med: { min: 5, max: 5 },
        localPref: { min: 1, max: 2 },
      }),
    ],
    ['{ match: { source: own }, then: nextFilter }', both({ action: 'nextFilter', source: ['own'] })],
  ];
  for (const [text, expected] of cases) assert.deepEqual(rule(text), expected, text);
});

test('every change; an address as next hop is for its own family', () => {
  const set = `{ deleteCommunities: "1:*", communities: ["1:1"], largeCommunities: [], addCommunities: [no-export], stripPrivateAsns: true,
    prepend: 2, med: none, localPref: 200, origin: egp, nextHop: 10.0.0.9 }`;
  const { ipv4, ipv6 } = rule(`{ then: accept, set: ${set} }`);
  const changes = [
    { type: 'deleteCommunities', patterns: ['1:*'] },
    { type: 'setCommunities', kind: 'standard', values: ['1:1'] },
    { type: 'setCommunities', kind: 'large', values: [] },
    { type: 'addCommunity', value: 'no-export' },
    { type: 'stripPrivateAsns' },
    { type: 'prependOwn', times: 2 },
    { type: 'setMed' },
    { type: 'setLocalPref', value: 200 },
    { type: 'setOrigin', value: 'egp' },
  ];
  assert.deepEqual(ipv6, [{ action: 'accept', changes }]);
  assert.deepEqual(ipv4, [{ action: 'accept', changes: [...changes, { type: 'setNextHop', value: '10.0.0.9' }] }]);
  assert.deepEqual(rule('{ then: next, set: { prepend: [1, 2] } }').ipv4, [
    { action: 'next', changes: [{ type: 'prepend', asns: [1, 2] }] },
  ]);
});

test('errors in filters name line, column and remedy', () => {
  const filter = (text: string): string => `${head}filters:\n  f:\n    - ${text}\n`;
  const match = (text: string): string => filter(`{ then: accept, match: { ${text} } }`);
  const set = (text: string): string => filter(`{ then: accept, set: { ${text} } }`);
  const policy = (text: string): string =>
    `${head}filters: { f: [] }\npeers: [{ address: 10.0.0.2, asn: 1, import: ${text} }]\n`;
  const cases: [string, RegExp][] = [
    [`${head}filters: [f]\n`, /:3:10: filters must be a mapping/],
    [`${head}filters: { accept: [] }\n`, /:3:12: accept cannot be the name/],
    [filter('{ match: {} }'), /:5:7: a term lacks the key then/],
    [filter('{ then: allow }'), /:5:15: allow is none of accept, reject, next, nextFilter/],
    [filter('{ then: reject, set: { med: 1 } }'), /:5:7: a term that rejects changes nothing/],
    [match('colour: red'), /:5:32: unknown key colour in match; known are family, cidr/],
    [match('cidr: 10.0.0.0'), /10\.0\.0\.0 is not a prefix/],
    [match('matchOperator: In'), /matchOperator goes with cidr only/],
    [match('prefixes: ["10.0.0.0/8{7,9}"]'), /lengths of 10\.0\.0\.0\/8\{7,9\} must ascend from 8/],
    [match('prefixes: [10.0.0.0/8], notPrefixes: [10.0.0.0/9]'), /use two terms/],
    [match('communities: ["1:2:3:4"]'), /:5:7: 1:2:3:4 is not a community/],
    [match('asPath: { matches: "(" }'), /:5:7: \( is not an expression over AS paths: a parenthesis/],
    [match('asPath: { first: ["9-1"] }'), /9-1 is neither an AS number nor a range/],
    [match('med: { min: 2, max: 1 }'), /min is greater than max/],
    [match('peerType: eBGP, source: own'), /leave one of them out/],
    [set('med: -1'), /a number must be a whole number from 0/],
    [set('prepend: 33'), /how often to prepend must be a whole number from 1 to 32/],
    [set('nextHop: there'), /there is not an IP address, self or unchanged/],
    [set('addCommunities: ["1:*"]'), /1:\* is not a community/],
    [
      policy('[g]'),
      /:4:47: g is neither accept nor reject nor a filter; known are accept, reject, bogon-prefixes, .*, f$/,
    ],
    [policy('[reject, f]'), /reject decides about all routes; nothing may follow it/],
    [policy('[]'), /accept, reject or names of filters are wanted/],
  ];
  for (const [text, wanted] of cases) {
    assert.throws(
      () => parse(text),
      (error) => error instanceof SpeakerFileError && wanted.test(error.message) && error.failure.line > 0,
      `${text} -> ${wanted}`,
    );
  }
});
