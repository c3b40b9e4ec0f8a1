import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cidr } from '#kit';
import type { BGPFilterObject, BGPFilterRule } from '#model';
import { compileFilters, type FilterContext } from './filters.ts';
import { type Issue, issueText } from './issue.ts';

const filter = (name: string, rules: Partial<Omit<BGPFilterObject, 'metadata'>>): BGPFilterObject => ({
  metadata: { name, namespace: '', uid: name, labels: {}, annotations: {} },
  exportV4: [],
  importV4: [],
  exportV6: [],
  importV6: [],
  ...rules,
});
const ways = [{ cidr: '0.0.0.0/0', interface: 'eth0' }];
function compile(
  filters: readonly BGPFilterObject[],
  more: Partial<FilterContext> & { readonly names?: string[] } = {},
) {
  const issues: Issue[] = [];
  const { names, ...rest } = more;
  const compiled = compileFilters(names ?? filters.map(({ metadata }) => metadata.name), {
    filters,
    peerType: 'eBGP',
    ways: () => ways,
    peer: { kind: 'BGPPeer', name: 'tor' },
    issues,
    ...rest,
  });
  return { ...compiled, issues: issues.map(issueText) };
}
/** Where terms come from is told in one test; here it is left out. */
const one = (which: 'importV4' | 'exportV4', rule: BGPFilterRule, more: Partial<FilterContext> = {}) => {
  const { importFilter, exportFilter, issues } = compile([filter('f', { [which]: [rule] })], more);
  const terms = (which === 'importV4' ? importFilter : exportFilter)?.ipv4 ?? [];
  return { terms: terms.map(({ from: _, ...term }) => term), issues };
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
      {
        action: 'accept',
        from: { filter: 'a', index: 0 },
        prefix: { operator: 'in', cidr: '10.0.0.0/8', minLength: 16, maxLength: 24 },
      },
      { action: 'reject', from: { filter: 'b', index: 0 }, community: '64512:1', asPathPrefix: [65001] },
    ],
    ipv6: [],
  });
  assert.deepEqual(result.exportFilter, {
    ipv4: [],
    ipv6: [
      { action: 'reject', from: { filter: 'a', index: 0 }, prefix: { operator: 'in', cidr: '::/0', minLength: 65 } },
    ],
  });
  assert.deepEqual(compile([filter('empty', {})]), { issues: [] });
});

test('peerType is known beforehand', () => {
  const reject: BGPFilterRule = { action: 'Reject', peerType: 'iBGP' };
  assert.deepEqual(one('importV4', reject).terms, []);
  assert.equal(one('importV4', reject, { peerType: 'iBGP' }).terms.length, 1);
});

test('what was learned is passed on by rules that say source: RemotePeers only', () => {
  assert.deepEqual(one('importV4', { action: 'Reject', source: 'RemotePeers' }), {
    terms: [{ action: 'reject' }],
    issues: [],
  });
  const cases: [BGPFilterRule, object][] = [
    [
      { action: 'Accept', source: 'RemotePeers' },
      { action: 'accept', source: ['learned'] },
    ],
    [
      { action: 'Reject', source: 'RemotePeers' },
      { action: 'reject', source: ['learned'] },
    ],
    [{ action: 'Accept' }, { action: 'accept' }],
    [{ action: 'Reject' }, { action: 'reject' }],
    [
      { action: 'Accept', source: 'RemotePeers', communities: ['64512:1'], asPathPrefix: [65001] },
      { action: 'accept', source: ['learned'], community: '64512:1', asPathPrefix: [65001] },
    ],
  ];
  for (const [rule, term] of cases) assert.deepEqual(one('exportV4', rule), { terms: [term], issues: [] });
});

test('rules about interfaces, on import and on export: where the next hop leads', () => {
  for (const action of ['Accept', 'Reject'] as const) {
    const term = { action: action.toLowerCase(), interface: { pattern: 'eth*', ways } };
    for (const which of ['importV4', 'exportV4'] as const) {
      assert.deepEqual(one(which, { action, interface: 'eth*' }), { terms: [term], issues: [] });
    }
  }
  const none = () => assert.fail('no rule asks for them');
  assert.equal(one('importV4', { action: 'Accept' }, { ways: none }).terms.length, 1);
});

test('priority is LOCAL_PREF as nodes of Calico tell it: exact above the normal metric, in the same order below', () => {
  const set = (value: number): number => {
    const { terms } = one('importV4', { action: 'Accept', operations: [{ type: 'setPriority', value }] });
    const change = terms[0]!.changes![0]!;
    assert.ok(change.type === 'setLocalPref');
    return change.value;
  };
  assert.deepEqual([1, 512, 1023].map(set), [2147483646, 2147483135, 2147482624]);
  assert.deepEqual([1024, 1025, 1124, 2000].map(set), [100, 99, 0, 0]);
  const range = (priority: number) => one('importV4', { action: 'Accept', priority }).terms[0]!.localPref;
  assert.deepEqual(range(512), { min: 2147483135, max: 2147483135 });
  // What says nothing has the normal metric: no LOCAL_PREF, or one that Calico does not take for a metric.
  assert.deepEqual(range(1024), { min: 100, max: 2147482623 });
  for (const priority of [1, 512, 1023, 1024, 1025, 1100]) {
    const { min, max } = range(priority)! as { min: number; max: number };
    assert.ok(set(priority) >= min && set(priority) <= max, 'what was set is matched');
  }
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
  const reject = { action: 'reject', from: { filter: 'gone', index: 0 } };
  assert.deepEqual(result.exportFilter?.ipv4[1], reject);
  assert.deepEqual(result.importFilter, { ipv4: [reject], ipv6: [reject] });
  assert.match(result.issues[0]!, /BGPPeer tor: spec\.filters: BGPFilter gone is not there/);
});
