/**
 * What a filter of 50 terms costs: PREFIXES (default 1,000,000) routes in sets of 4.5 with attributes of their own, through a mixture of
 * terms on paths, communities, numbers and prefixes of which hardly one decides before the last, as import would run it. Prints one
 * JSON object with medians of RUNS (default 5) runs.
 *
 *   mixed          all kinds of terms
 *   prefixes       50 single prefixes: what is left when attributes decide nothing
 *   expressions    50 regular expressions over AS_PATH
 *   prefixSet      one term with a set of 10,000 prefixes
 *   changes        every route is changed: sets are made and interned anew
 */
import assert from 'node:assert/strict';
import { type FilterTerm, filter, rib, wire } from '#bgp';

const { AttributePool, FilteredSets, NextHopPool, PeerTable } = rib;
const { emptyAttributeValues, readCanonical } = wire;

const prefixCount = Number(process.env['PREFIXES'] ?? 1_000_000);
const runs = Number(process.env['RUNS'] ?? 5);
const prefixesPerSet = 4.5;

let seed = 1;
function random(below: number): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 4294967296) * below);
}
const u32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];

const tables = { attributes: new AttributePool(), nextHops: new NextHopPool(), peers: new PeerTable() };
const values = emptyAttributeValues();
const sets: number[] = [];
for (let i = 0; i < prefixCount / prefixesPerSet; i++) {
  const path = [64513, ...Array.from({ length: 1 + random(5) }, () => 1 + random(400_000))];
  const communities = Array.from({ length: random(12) }, () => random(0xf0000000)).flatMap(u32);
  const octets = [0x40, 1, 1, 0, 0x40, 2, 2 + 4 * path.length, 2, path.length, ...path.flatMap(u32)];
  if (communities.length > 0) octets.push(0xc0, 8, communities.length, ...communities);
  octets.push(0xc0, 32, 12, ...u32(64513), ...u32(i), ...u32(1));
  const bytes = Uint8Array.from(octets);
  readCanonical(bytes, 0, bytes.length, 0, 0, values);
  const set = tables.attributes.intern(bytes, values);
  tables.attributes.retain(set);
  sets.push(set);
}
const words = Int32Array.from({ length: prefixCount }, (_, i) => 0x01000000 + i * 256);

const times = (count: number, make: (i: number) => Omit<FilterTerm, 'action'>): FilterTerm[] =>
  Array.from({ length: count }, (_, i) => ({ action: 'reject', ...make(i) }));
const last: FilterTerm = { action: 'accept' };
const filters: Readonly<Record<string, readonly FilterTerm[]>> = {
  mixed: [
    ...times(8, (i) => ({ asPath: { matches: [`^64513_.*_50${i}[0-9]{3}$`] } })),
    ...times(8, (i) => ({ asPath: { last: [500_000 + i], length: { max: 4 } } })),
    ...times(5, (i) => ({ asPath: { contains: [{ min: 600_000 + i, max: 700_000 }] } })),
    ...times(8, (i) => ({ community: `${65000 + i}:${i}` })),
    ...times(5, (i) => ({ communities: { any: [`65001:${i}`, `6500${i}:*`], none: ['no-export'] } })),
    ...times(5, (i) => ({ communities: { any: [`64513:*:${2 + i}`] } })),
    ...times(2, (i) => ({ med: { min: 1 + i } })),
    ...times(8, (i) => ({ prefix: { operator: 'in', cidr: `${200 + i}.0.0.0/8`, minLength: 24 } })),
    last,
  ],
  prefixes: [...times(49, (i) => ({ prefix: { operator: 'in', cidr: `${200 + i}.0.0.0/8`, minLength: 24 } })), last],
  expressions: [...times(49, (i) => ({ asPath: { matches: [`_50${i}[0-9]{3}_|^6451[0-9]_(1|2)+$`] } })), last],
  prefixSet: [
    ...times(1, () => ({
      prefixes: { entries: Array.from({ length: 10_000 }, (_, i) => ({ cidr: `200.${i >> 8}.${i & 255}.0/24` })) },
    })),
    last,
  ],
  changes: [
    {
      action: 'accept',
      changes: [
        { type: 'setLocalPref', value: 200 },
        { type: 'addCommunity', value: '64512:1' },
        { type: 'prepend', asns: [64512] },
      ],
    },
  ],
};

function run(terms: readonly FilterTerm[]): { seconds: number; cpuSeconds: number } {
  const filtered = new FilteredSets(filter.compileFilter(terms, 64512)!, tables);
  let accepted = 0;
  const start = performance.now();
  const cpu = process.cpuUsage();
  for (let i = 0; i < prefixCount; i++) {
    const set = sets[Math.floor(i / prefixesPerSet)]!;
    if (filtered.of(set, 1, 0, words, i, 24) >= 0) accepted++;
    // As a reader does at the end of an UPDATE.
    if (i % 5 === 4) filtered.release();
  }
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  assert.ok(accepted > 0.99 * prefixCount);
  return { seconds, cpuSeconds: (user + system) / 1e6 };
}

const result: Record<string, unknown> = { bench: 'filter', prefixCount, setCount: sets.length, runs };
for (const [name, terms] of Object.entries(filters)) {
  run(terms);
  const all = Array.from({ length: runs }, () => run(terms));
  const median = (key: 'seconds' | 'cpuSeconds'): number =>
    all.map((each) => each[key]).sort((a, b) => a - b)[runs >> 1]!;
  result[name] = {
    termCount: terms.length,
    seconds: Number(median('seconds').toFixed(3)),
    cpuSeconds: Number(median('cpuSeconds').toFixed(3)),
    nanosecondsPerRoute: Math.round((median('seconds') * 1e9) / prefixCount),
  };
}
console.log(JSON.stringify(result, null, 2));
