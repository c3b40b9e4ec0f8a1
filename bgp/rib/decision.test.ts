/** The decision between many paths of one prefix, most of them alike, against the naive one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { communityFlag, emptyAttributeValues } from '../wire/index.ts';
import {
  AttributePool,
  IntStack,
  type MultipathOptions,
  multipathMax,
  NextHopPool,
  NextHopSetPool,
  PeerTable,
  pathsPerPrefixMax,
  Rib,
  unreachable,
} from './index.ts';
import {
  keyOf,
  memberRows,
  type NaivePath,
  type NaivePeer,
  type NaiveSet,
  naiveDecision,
  naiveRank,
  rankedRows,
} from './test-naive-decision.ts';

/** Row 0 is ourselves. */
const peers: NaivePeer[] = [
  { ebgp: false, routerId: 0 },
  { ebgp: true, routerId: 9 },
  { ebgp: true, routerId: 9 },
  { ebgp: false, routerId: 3_000_000_000 },
  { ebgp: false, routerId: 3 },
];
const prefix = '10.0.0.0/8';

function decided(paths: readonly NaivePath[], sets: readonly NaiveSet[], metrics: number[], options: MultipathOptions) {
  const attributes = new AttributePool();
  const nextHops = new NextHopPool();
  const peerTable = new PeerTable();
  for (const [row, peer] of peers.entries()) {
    if (row > 0) peerTable.make();
    peerTable.ebgp[row] = peer.ebgp ? 1 : 0;
    peerTable.routerId[row] = peer.routerId;
    peerTable.addressOrder[row] = row;
  }
  for (const [hop, metric] of metrics.entries()) {
    if (hop === 0) continue;
    assert.equal(nextHops.intern(`${hop}`, Uint8Array.of(10, 0, hop >> 8, hop), 0, 4), hop);
    nextHops.igpMetric[hop] = metric;
  }
  const rib = new Rib(4, { attributes, nextHops, hopSets: new NextHopSetPool(), peers: peerTable });
  rib.setMultipath(options);
  for (const path of paths) {
    const set = sets[path.set]!;
    const key = keyOf(path.set, set);
    const values = {
      ...emptyAttributeValues(),
      origin: set.origin,
      asPathLength: set.length,
      firstAsn: set.firstAsn,
      med: set.med,
      localPref: set.localPref,
      originatorId: set.originatorId || -1,
      clusterListLength: set.clusters,
      communityFlags: set.stale ? communityFlag.llgrStale : 0,
    };
    const id = attributes.intern(Buffer.from(key, 'latin1'), values);
    rib.announceId(path.peer, rib.internText(prefix)!, id, path.hop, path.pathId);
  }
  rib.decide(1000, false, new IntStack());
  return { rib, id: rib.prefixes.byText(prefix, false)! };
}

const setArbitrary = fc.record({
  localPref: fc.constantFrom(100, 200),
  length: fc.integer({ min: 1, max: 2 }),
  origin: fc.integer({ min: 0, max: 1 }),
  med: fc.constantFrom(0, 5, 4_000_000_000),
  firstAsn: fc.constantFrom(1, 2),
  originatorId: fc.constantFrom(0, 5, 4_000_000_000),
  clusters: fc.integer({ min: 0, max: 1 }),
  stale: fc.boolean(),
  lastAsn: fc.constantFrom(7, 8),
});
const multipathArbitrary = fc.record({ max: fc.integer({ min: 1, max: 4 }), asPathRelax: fc.boolean() });

const name = (path: { readonly peer: number; readonly pathId: number }): string => `${path.peer} #${path.pathId}`;

test('the best path, its equal-cost set and the order of the others do not depend on arrival (RFC 4271 9.1.2.2, RFC 4456 9, RFC 7911 5)', () => {
  // Little to choose by, so that every step of the decision and every tie comes up; the mask makes sets equal in most.
  const like = (sets: NaiveSet[], mask: number): NaiveSet[] =>
    sets.map((set) => ({
      ...sets[0]!,
      ...(mask & 1 ? { localPref: set.localPref } : {}),
      ...(mask & 2 ? { length: set.length } : {}),
      ...(mask & 4 ? { origin: set.origin } : {}),
      ...(mask & 8 ? { med: set.med, firstAsn: set.firstAsn } : {}),
      ...(mask & 16 ? { originatorId: set.originatorId } : {}),
      ...(mask & 32 ? { clusters: set.clusters } : {}),
      ...(mask & 64 ? { lastAsn: set.lastAsn } : {}),
      ...(mask & 128 ? { stale: set.stale } : {}),
    }));
  const pathArbitrary = fc.record({
    peer: fc.integer({ min: 1, max: 4 }),
    pathId: fc.constantFrom(0, 1, 2, 4_294_967_295),
    set: fc.nat(3),
    hop: fc.integer({ min: 1, max: 5 }),
  });
  fc.assert(
    fc.property(
      fc.array(setArbitrary, { minLength: 4, maxLength: 4 }),
      fc.nat(255),
      fc.uniqueArray(pathArbitrary, { minLength: 1, maxLength: 12, selector: name }),
      fc.array(fc.constantFrom(0, 0, 10, unreachable), { minLength: 5, maxLength: 5 }),
      multipathArbitrary,
      (all, mask, paths, metricOfHops, options) => {
        const sets = like(all, mask);
        const metrics = [0, ...metricOfHops];
        const expected = naiveDecision(paths, sets, peers, metrics, options);
        const order = naiveRank(paths, sets, peers, metrics, options).map(name);
        for (const arrival of [paths, paths.toReversed()]) {
          const { rib, id } = decided(arrival, sets, metrics, options);
          const nameOf = (row: number): string => name({ peer: rib.paths.peer[row]!, pathId: rib.paths.pathId(row) });
          assert.equal(rib.locPeer[id]! - 1, expected?.best.peer ?? -1);
          if (expected) assert.equal(nameOf(rib.explain(id).best), name(expected.best));
          assert.deepEqual(rib.tables.hopSets.members[rib.locHopSet[id]!], expected?.hops ?? []);
          assert.deepEqual(rankedRows(rib, id).map(nameOf), order);
          assert.deepEqual(memberRows(rib, id).map(nameOf), expected?.members.map(name) ?? []);
        }
      },
    ),
    { numRuns: 2000 },
  );
});

const plain: NaiveSet = {
  localPref: 100,
  length: 1,
  origin: 0,
  med: 0,
  firstAsn: 1,
  originatorId: 0,
  clusters: 0,
  stale: false,
  lastAsn: 7,
};

test('multipath: at most 64 next hops, those that come first by tie-break (RFC 4271 9.1)', () => {
  const paths = Array.from({ length: 100 }, (_, i) => ({ peer: 1, pathId: 200 - i, set: 0, hop: i + 1 }));
  const metrics = new Array<number>(101).fill(0);
  const { rib, id } = decided(paths, [plain], metrics, { max: multipathMax, asPathRelax: true });
  const hops = rib.tables.hopSets.members[rib.locHopSet[id]!]!;
  // The lowest path identifiers have the highest next hops.
  assert.deepEqual([hops.length, hops[0], hops.at(-1)], [64, 37, 100]);
});

test('multipath: external and internal paths are not mixed, whatever their metric (RFC 4271 9.1.2.2 d)', () => {
  const paths = [
    { peer: 1, pathId: 0, set: 0, hop: 1 },
    { peer: 3, pathId: 0, set: 0, hop: 2 },
    { peer: 2, pathId: 0, set: 0, hop: 3 },
  ];
  const { rib, id } = decided(paths, [plain], [0, 10, 0, 10], { max: multipathMax, asPathRelax: true });
  assert.deepEqual(rib.tables.hopSets.members[rib.locHopSet[id]!], [1, 3]);
});

test('a change of the multipath options decides everything again', () => {
  const sets = [plain, { ...plain, firstAsn: 2 }];
  const paths = [
    { peer: 1, pathId: 0, set: 0, hop: 1 },
    { peer: 2, pathId: 0, set: 1, hop: 2 },
  ];
  const { rib, id } = decided(paths, sets, [0, 0, 0], { max: 64, asPathRelax: true });
  const hops = (options: MultipathOptions): readonly number[] => {
    rib.setMultipath(options);
    rib.decide(1000, false, new IntStack());
    return rib.tables.hopSets.members[rib.locHopSet[id]!]!;
  };
  assert.deepEqual(hops({ max: 64, asPathRelax: true }), [1, 2]);
  assert.deepEqual(hops({ max: 64, asPathRelax: false }), [1]);
  assert.deepEqual(hops({ max: 64, asPathRelax: true }), [1, 2]);
  assert.deepEqual(hops({ max: 1, asPathRelax: true }), [1]);
});

test('a peer that sends path identifiers without end is held to so many paths a prefix, which go on to be replaced', () => {
  const paths = Array.from({ length: pathsPerPrefixMax }, (_, i) => ({ peer: 1, pathId: i, set: 0, hop: 1 }));
  const { rib, id } = decided(paths, [plain], [0, 0, 0], { max: 64, asPathRelax: true });
  const set = rib.locAttributes[id]!;
  assert.equal(rib.announceId(1, id, set, 1, 4_000_000_000), -1);
  assert.equal(rib.pathCount[1], pathsPerPrefixMax);
  assert.ok(rib.announceId(1, id, set, 2, 5) >= 0);
  assert.ok(rib.announceId(2, id, set, 1, 4_000_000_000) >= 0, 'another peer has room of its own');
  rib.withdrawId(1, id, 7);
  assert.ok(rib.announceId(1, id, set, 1, 4_000_000_000) >= 0);
});

test('path identifiers that are announced: one for the life of a path, unique in the prefix, and low (RFC 7911 2)', () => {
  const paths = Array.from({ length: 5 }, (_, i) => ({ peer: 1, pathId: 1000 + i, set: 0, hop: 1 }));
  const { rib, id } = decided(paths, [plain], [0, 0, 0], { max: 64, asPathRelax: true });
  const ids = (): Map<number, number> => {
    return new Map(rankedRows(rib, id).map((row) => [rib.paths.pathId(row), rib.sentId(id, row)]));
  };
  const first = ids();
  assert.deepEqual([...first.values()].sort(), [1, 2, 3, 4, 5]);
  rib.withdrawId(1, id, 1002);
  const free = first.get(1002);
  first.delete(1002);
  assert.deepEqual(ids(), first);
  rib.announceId(1, id, rib.locAttributes[id]!, 2, 1000);
  rib.announceId(2, id, rib.locAttributes[id]!, 2, 1);
  const after = ids();
  assert.equal(after.get(1), free);
  for (const [pathId, sent] of first) assert.equal(after.get(pathId), sent);
});

test('a slice has fewer prefixes when they have many paths, so that a flood of path identifiers stalls nobody', () => {
  const paths = Array.from({ length: pathsPerPrefixMax }, (_, i) => ({ peer: 1, pathId: i, set: 0, hop: 1 }));
  const { rib, id } = decided(paths, [plain], [0, 0], { max: 64, asPathRelax: true });
  const decidedOf = (prefixes: number, watchers: number): number => {
    rib.pathWatchers = watchers;
    for (let i = 0; i < prefixes; i++) {
      for (const { pathId } of paths) {
        rib.announceId(1, rib.internText(`10.${i}.0.0/16`)!, rib.locAttributes[id]!, 1, pathId);
      }
    }
    rib.markAllDirty();
    const before = rib.dirtyCount;
    rib.decide(100, false, new IntStack());
    const done = before - rib.dirtyCount;
    rib.decide(1_000_000, false, new IntStack());
    return done;
  };
  assert.equal(decidedOf(50, 0), 6);
  assert.equal(decidedOf(50, 1), 1);
});

test('RFC 8654: and when their AS_PATHs are long and compared: those of 16,000 ASes took 1 ms a prefix', () => {
  const long = { ...plain, length: 2000 };
  const paths = Array.from({ length: 64 }, (_, i) => ({ peer: 1, pathId: i, set: i % 2, hop: 1 }));
  const decidedOf = (asPathRelax: boolean): number => {
    const { rib } = decided(paths, [long, { ...long, med: 0 }], [0, 0], { max: 64, asPathRelax });
    for (let i = 0; i < 50; i++) {
      for (const { pathId, set } of paths) {
        const attributes = rib.paths.attributes[set]!;
        rib.announceId(1, rib.internText(`10.${i}.0.0/16`)!, attributes, 1, pathId);
      }
    }
    const before = rib.dirtyCount;
    rib.decide(100, false, new IntStack());
    return before - rib.dirtyCount;
  };
  assert.equal(decidedOf(true), 12);
  assert.equal(decidedOf(false), 1);
});
