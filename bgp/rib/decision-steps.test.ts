/** The decision process step by step, each with the clause it stands for; rib.test.ts compares the whole with a naive model. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AttributeValues, emptyAttributeValues } from '../wire/index.ts';
import { AttributePool, IntStack, NextHopPool, NextHopSetPool, PeerTable, Rib, unreachable } from './index.ts';

interface Path {
  readonly values?: Partial<AttributeValues>;
  readonly ebgp?: boolean;
  readonly routerId?: number;
  readonly order?: number;
  readonly metric?: number;
}

/** Index of the path that wins, whatever the order of arrival; and how many next hops share the traffic. */
function decide(...given: readonly Path[]): { best: number; hops: number } {
  const outcomes = new Set<string>();
  for (const order of [given.map((_, i) => i), given.map((_, i) => i).reverse()]) {
    const tables = {
      attributes: new AttributePool(),
      nextHops: new NextHopPool(),
      hopSets: new NextHopSetPool(),
      peers: new PeerTable(),
    };
    const rib = new Rib(4, tables);
    const rows = given.map(({ ebgp = true, routerId = 9, order: rank = 0 }) => {
      const row = tables.peers.make();
      tables.peers.ebgp[row] = ebgp ? 1 : 0;
      tables.peers.routerId[row] = routerId;
      tables.peers.addressOrder[row] = rank;
      return row;
    });
    for (const i of order) {
      const { values, metric = 0 } = given[i]!;
      const set = tables.attributes.intern(Buffer.from(`set ${i}`), {
        ...emptyAttributeValues(),
        asPathLength: 2,
        firstAsn: 7,
        ...values,
      });
      const bytes = Uint8Array.of(10, 0, 0, i + 1);
      const hop = tables.nextHops.intern(`hop ${i}`, bytes, 0, 4);
      tables.nextHops.igpMetric[hop] = metric;
      rib.announce(rows[i]!, Int32Array.of(0x0a000000), 8, set, hop, 0);
    }
    const changed = new IntStack();
    rib.decide(10, false, changed);
    const prefix = changed.length > 0 ? changed.items[0]! : -1;
    const best = prefix < 0 ? -1 : rows.indexOf(rib.locPeer[prefix]! - 1);
    outcomes.add(
      JSON.stringify({ best, hops: prefix < 0 ? 0 : tables.hopSets.members[rib.locHopSet[prefix]!]!.length }),
    );
  }
  assert.equal(outcomes.size, 1, 'the order of arrival decides nothing');
  return JSON.parse([...outcomes][0]!);
}
const wins = (better: Path, worse: Path): void => {
  assert.equal(decide(better, worse).best, 0);
  assert.equal(decide(worse, better).best, 1);
};

test('RFC 4271 9.1.2: a next hop that cannot be reached makes a path unusable', () => {
  wins({ values: { asPathLength: 9 } }, { metric: unreachable });
  assert.equal(decide({ metric: unreachable }).best, -1);
});

test('RFC 4271 9.1.1: the higher LOCAL_PREF, before everything else; 100 where there is none', () => {
  wins({ values: { localPref: 101, asPathLength: 9, origin: 2 }, ebgp: false }, {});
  wins({}, { values: { localPref: 99, asPathLength: 0 } });
});

test('RFC 4271 9.1.2.2 a: the shorter AS_PATH, before ORIGIN and MED', () => {
  wins({ values: { asPathLength: 1, origin: 2, med: 9 } }, {});
});

test('RFC 4271 9.1.2.2 b: the lower ORIGIN, before MED', () => {
  wins({ values: { origin: 0, med: 9 } }, { values: { origin: 1 } });
  wins({ values: { origin: 1 } }, { values: { origin: 2 } });
});

test('RFC 4271 9.1.2.2 c: the lower MED, absent as 0, and only within one neighbouring AS', () => {
  wins({ values: { med: 1 }, routerId: 9 }, { values: { med: 2 }, routerId: 1 });
  wins({ routerId: 9 }, { values: { med: 1 }, routerId: 1 });
  wins({ values: { med: 5, firstAsn: 7 }, routerId: 1 }, { values: { med: 1, firstAsn: 8 }, routerId: 9 });
});

test('RFC 4271 9.1.2.2 c: with three paths MED is compared within its AS first, so that the outcome is no matter of order', () => {
  // A pairwise comparison is circular here: 0 over 1 by router id, 1 over 2 by MED, 2 over 0 by router id.
  const paths: Path[] = [
    { values: { med: 0, firstAsn: 8 }, routerId: 2 },
    { values: { med: 1, firstAsn: 7 }, routerId: 3 },
    { values: { med: 2, firstAsn: 7 }, routerId: 1 },
  ];
  assert.equal(decide(...paths).best, 0);
});

test('RFC 4271 9.1.2.2 d: an external path before an internal one, whatever the metric', () => {
  wins({ ebgp: true, metric: 50, routerId: 9 }, { ebgp: false, metric: 1, routerId: 1 });
});

test('RFC 4271 9.1.2.2 e: the lower metric to the next hop', () => {
  wins({ metric: 1, routerId: 9 }, { metric: 2, routerId: 1 });
});

test('RFC 4271 9.1.2.2 f: the lower router id, or ORIGINATOR_ID where there is one (RFC 4456 9)', () => {
  wins({ routerId: 1, order: 9 }, { routerId: 2, order: 1 });
  wins({ routerId: 5, values: { originatorId: 1 } }, { routerId: 2 });
});

test('RFC 4456 9: the shorter CLUSTER_LIST, before the address', () => {
  wins({ values: { clusterListLength: 1 }, order: 9 }, { values: { clusterListLength: 2 }, order: 1 });
});

test('RFC 4271 9.1.2.2 g: the lower address of the peer', () => {
  wins({ order: 1 }, { order: 2 });
});

test('what is equal to the metric shares the traffic, paths through other ASes included (RFC 7938 5.3, as-path relax)', () => {
  assert.equal(decide({ routerId: 1 }, { routerId: 2, values: { firstAsn: 8 } }, { routerId: 3 }).hops, 3);
  assert.equal(decide({ routerId: 1 }, { routerId: 2, values: { asPathLength: 3 } }).hops, 1);
  const many = Array.from({ length: 70 }, (_, i) => ({ routerId: i + 1, order: i }));
  assert.deepEqual(decide(...many), { best: 0, hops: 64 });
});
