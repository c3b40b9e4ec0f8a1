import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cidr } from '#kit';
import type { BGPFilterObject, BGPFilterRule } from '#model';
import { compileFilters, type FilterContext, matchesPattern } from './filters.ts';
import { type Issue, issueText } from './issue.ts';

const filter = (name: string, rules: Partial<Omit<BGPFilterObject, 'metadata'>>): BGPFilterObject => ({
  metadata: { name, namespace: '', uid: name, labels: {}, annotations: {} },
  exportV4: [],
  importV4: [],
  exportV6: [],
  importV6: [],
  ...rules,
});
function compile(
  filters: readonly BGPFilterObject[],
  more: Partial<FilterContext> & { readonly names?: string[] } = {},
) {
  const issues: Issue[] = [];
  const { names, ...rest } = more;
  const compiled = compileFilters(names ?? filters.map(({ metadata }) => metadata.name), {
    filters,
    peerType: 'eBGP',
    interfaceName: undefined,
    peer: { kind: 'BGPPeer', name: 'tor' },
    issues,
    ...rest,
  });
  return { ...compiled, issues: issues.map(issueText) };
}
const one = (which: 'importV4' | 'exportV4', rule: BGPFilterRule, more: Partial<FilterContext> = {}) => {
  const { importFilter, exportFilter, issues } = compile([filter('f', { [which]: [rule] })], more);
  return { terms: (which === 'importV4' ? importFilter : exportFilter)?.ipv4 ?? [], issues };
};

test('rules of all filters in order, each family and direction for itself', () => {
  const cidr = '10.0.0.0/8' as Cidr;
  const result = compile([
    filter('a', {
      importV4: [{ action: 'Accept', cidr, matchOperator: 'In', prefixLength: { min: 16, max: 24 } }],
      exportV6: [{ action: 'Reject', prefixLength: { min: 65 } }],
    }),
    filter('b', { importV4: [{ action: 'Reject', communities: ['64512:1'], asPathPrefix: [65001] }] }),
  ]);
  assert.deepEqual(result.issues, []);
  assert.deepEqual(result.importFilter, {
    ipv4: [
      { action: 'accept', prefix: { operator: 'in', cidr: '10.0.0.0/8', minLength: 16, maxLength: 24 } },
      { action: 'reject', community: '64512:1', asPathPrefix: [65001] },
    ],
    ipv6: [],
  });
  assert.deepEqual(result.exportFilter, {
    ipv4: [],
    ipv6: [{ action: 'reject', prefix: { operator: 'in', cidr: '::/0', minLength: 65 } }],
  });
  assert.deepEqual(compile([filter('empty', {})]), { issues: [] });
});

test('peerType and source are known beforehand', () => {
  const reject: BGPFilterRule = { action: 'Reject', peerType: 'iBGP' };
  assert.deepEqual(one('importV4', reject).terms, []);
  assert.equal(one('importV4', reject, { peerType: 'iBGP' }).terms.length, 1);
  assert.deepEqual(one('importV4', { action: 'Reject', source: 'RemotePeers' }), {
    terms: [{ action: 'reject' }],
    issues: [],
  });
  // What is ours is never from a remote peer, and what is from one is never passed on.
  assert.deepEqual(one('exportV4', { action: 'Reject', source: 'RemotePeers' }), { terms: [], issues: [] });
  const transit = one('exportV4', { action: 'Accept', source: 'RemotePeers' });
  assert.deepEqual(transit.terms, []);
  assert.match(transit.issues[0]!, /BGPFilter f: spec\.exportV4\[0\]\.source: .*never passed on .*\(for BGPPeer tor\)/);
});

test('on export, rules about communities, paths and interfaces match none of our routes', () => {
  for (const condition of [{ communities: ['64512:1'] }, { asPathPrefix: [65001] }, { interface: 'eth*' }]) {
    for (const action of ['Accept', 'Reject'] as const) {
      assert.deepEqual(one('exportV4', { action, ...condition }), { terms: [], issues: [] });
    }
  }
});

test('what cannot be tested lets nothing more pass, and is told', () => {
  const cases: [BGPFilterRule, number, RegExp][] = [
    [{ action: 'Accept', interface: 'eth0' }, 0, /interface: .*accepts nothing/],
    [{ action: 'Reject', interface: 'eth0' }, 1, /interface: .*rejects whatever/],
    [{ action: 'Accept', priority: 100 }, 0, /priority: .*accepts nothing/],
    [{ action: 'Reject', priority: 100 }, 1, /priority: .*rejects whatever/],
  ];
  for (const [rule, count, issue] of cases) {
    const { terms, issues } = one('importV4', rule);
    assert.equal(terms.length, count);
    assert.match(issues[0]!, issue);
  }
  // The link to the peer is known: then it can be.
  const onLink = { interfaceName: 'eth0' };
  assert.equal(one('importV4', { action: 'Accept', interface: 'eth*' }, onLink).terms.length, 1);
  assert.equal(one('importV4', { action: 'Accept', interface: 'eth1' }, onLink).terms.length, 0);
  const set = one('exportV4', { action: 'Accept', operations: [{ type: 'setPriority', value: 5 }] });
  assert.deepEqual(set.terms, [{ action: 'accept' }]);
  assert.match(set.issues[0]!, /spec\.exportV4\[0\]\.operations\[0\]\.setPriority: /);
});

test('operations of accepting rules become changes, in order', () => {
  const operations = [
    { type: 'prependASPath', asNumbers: [64512, 64513] },
    { type: 'addCommunity', value: '64512:1' },
  ] as const;
  assert.deepEqual(one('exportV4', { action: 'Accept', operations }).terms, [
    {
      action: 'accept',
      changes: [
        { type: 'prepend', asns: [64512, 64513] },
        { type: 'addCommunity', value: '64512:1' },
      ],
    },
  ]);
});

test('a filter that is not there rejects what gets to it', () => {
  const result = compile([filter('a', { exportV4: [{ action: 'Accept', cidr: '10.0.0.0/8' as Cidr }] })], {
    names: ['a', 'gone'],
  });
  assert.equal(result.exportFilter?.ipv4.length, 2);
  assert.deepEqual(result.exportFilter?.ipv4[1], { action: 'reject' });
  assert.deepEqual(result.importFilter, { ipv4: [{ action: 'reject' }], ipv6: [{ action: 'reject' }] });
  assert.match(result.issues[0]!, /BGPPeer tor: spec\.filters: BGPFilter gone is not there/);
});

test('patterns of names', () => {
  const cases: [string, string, boolean][] = [
    ['eth*', 'eth0', true],
    ['eth*', 'veth0', false],
    ['*0', 'eth0', true],
    ['e.h0', 'eth0', false],
    ['*', '', true],
  ];
  for (const [pattern, name, expected] of cases) assert.equal(matchesPattern(pattern, name), expected, pattern);
});
