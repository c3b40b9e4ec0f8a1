import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FilterTerm, RouteFilter } from '../filter/index.ts';
import { differences } from './config-differences.ts';

const filter = (...terms: readonly Omit<FilterTerm, 'from'>[]): { readonly importFilter: RouteFilter } => {
  const named = terms.map((term, index) => ({ ...term, from: { filter: 'from-tor', index } }));
  return { importFilter: { ipv4: named, ipv6: named } };
};
const preferred = (value: number): Omit<FilterTerm, 'from'> => ({
  action: 'accept',
  changes: [{ type: 'setLocalPref', value }],
});
const community = (text: string): Omit<FilterTerm, 'from'> => ({ action: 'reject', community: text });

test('a leaf that differs is named with its place, a rule of a filter by its name, once for both families', () => {
  const cases: readonly (readonly [Record<string, unknown>, Record<string, unknown>, readonly string[]])[] = [
    [{ holdTimeSec: 90, port: 179 }, { port: 179, holdTimeSec: 30 }, ['holdTimeSec: 90 -> 30']],
    [{}, { role: 'Peer' }, ['role: none -> "Peer"']],
    [{ password: 'a' }, { password: 'b' }, ['password changed']],
    [{ bfd: { minTxMs: 300, minRxMs: 300 } }, { bfd: { minTxMs: 100, minRxMs: 300 } }, ['bfd.minTxMs: 300 -> 100']],
    [
      { ranges: [{ prefix: '10.0.0.0/8', limit: 1, password: 'a' }] },
      { ranges: [{ prefix: '10.0.0.0/8', limit: 2, password: 'b' }] },
      ['ranges[10.0.0.0/8].limit: 1 -> 2', 'ranges[10.0.0.0/8].password changed'],
    ],
    [
      { ranges: [] },
      { ranges: [{ prefix: '10.0.0.0/8', password: 'b' }] },
      ['ranges[10.0.0.0/8] added: {"prefix":"10.0.0.0/8","password":"..."}'],
    ],
    [{ asn: [1, 2, 3] }, { asn: [1, 3] }, ['asn[1] removed: 2']],
    [
      filter(community('1:1'), preferred(200)),
      filter(community('1:1'), preferred(50)),
      ['importFilter: from-tor rule 2: changes[setLocalPref].value: 200 -> 50'],
    ],
    [
      filter(preferred(200)),
      filter(community('1:1'), preferred(200)),
      ['importFilter: from-tor rule 1 added: {"action":"reject","community":"1:1"}'],
    ],
    [
      filter({ action: 'accept', changes: [{ type: 'setMed' }] }),
      filter(preferred(1)),
      ['importFilter: from-tor rule 1: changes[setLocalPref]: {"type":"setMed"} -> {"type":"setLocalPref","value":1}'],
    ],
  ];
  for (const [before, after, expected] of cases) assert.deepEqual(differences(before, after), expected);
});

test('what is the same is no difference, wherever the rule was written; a field that differs always says so', () => {
  assert.deepEqual(differences(filter(preferred(1)), filter(preferred(1))), []);
  const moved = { ipv4: [{ ...preferred(1), from: { filter: 'other', index: 7 } }], ipv6: [] };
  assert.deepEqual(differences({ importFilter: { ...moved, ipv6: [] } }, { importFilter: moved }), []);
  const many = (mark: number): Record<string, unknown> => ({ list: Array.from({ length: 9 }, (_, i) => i + mark) });
  const found = differences(many(0), many(100));
  assert.equal(found.length, 6);
  assert.equal(found.at(-1), 'list: 4 more differences');
});
