import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { IpFamily } from '#kit';
import { communityFlag, emptyAttributeValues } from '../wire/index.ts';
import {
  AttributePool,
  IntStack,
  NextHopPool,
  NextHopSetPool,
  PeerTable,
  PrefixTable,
  pathFlag,
  Rib,
  unreachable,
} from './index.ts';
import {
  keyOf,
  memberRows,
  type NaivePath,
  type NaivePeer,
  naiveDecision,
  naiveRank,
  rankedRows,
} from './test-naive-decision.ts';
import { removePeer } from './test-remove-peer.ts';

const peers: NaivePeer[] = [
  { ebgp: false, routerId: 0 },
  { ebgp: true, routerId: 9 },
  { ebgp: true, routerId: 9 },
  { ebgp: false, routerId: 2_500_000_000 },
  { ebgp: false, routerId: 3 },
];
const prefixTexts: Record<IpFamily, string[]> = {
  4: ['10.0.0.0/8', '10.0.0.0/16', '10.0.0.0/24', '0.0.0.0/0', '192.0.2.1/32', '192.0.2.0/31'],
  6: ['::/0', 'fd00::/8', 'fd00::/64', 'fd00::1/128', '2001:db8::/32', '2001:db8::/33'],
};
const setArbitrary = fc.record({
  localPref: fc.constantFrom(100, 200),
  length: fc.integer({ min: 1, max: 2 }),
  origin: fc.integer({ min: 0, max: 1 }),
  med: fc.constantFrom(0, 5, 4_000_000_000),
  firstAsn: fc.constantFrom(1, 2),
  originatorId: fc.constantFrom(0, 5, 4_000_000_000),
  clusters: fc.integer({ min: 0, max: 1 }),
  stale: fc.boolean(),
  bandwidth: fc.constantFrom(-1, 0, 100, 250),
  lastAsn: fc.constantFrom(7, 8),
});
const multipathArbitrary = fc.record({ max: fc.integer({ min: 1, max: 4 }), asPathRelax: fc.boolean() });
const callArbitrary = fc.record({
  op: fc.constantFrom(
    'announce',
    'announce',
    'announce',
    'withdraw',
    'stale',
    'staler',
    'sweep',
    'drop',
    'metric',
    'decide',
  ),
  peer: fc.integer({ min: 0, max: 4 }),
  pathId: fc.constantFrom(0, 0, 1, 4_294_967_295),
  prefix: fc.integer({ min: 0, max: 5 }),
  set: fc.integer({ min: 0, max: 5 }),
  hop: fc.integer({ min: 1, max: 3 }),
  metric: fc.constantFrom(0, 10, unreachable),
});

for (const family of [4, 6] as const) {
  test(`RIB, decision process, multipath and the order of paths equal a naive model (RFC 4271 9.1.2.2, RFC 7911 5, RFC 10005), IPv${family}`, () => {
    fc.assert(
      fc.property(
        fc.array(setArbitrary, { minLength: 6, maxLength: 6 }),
        fc.array(callArbitrary, { maxLength: 60 }),
        multipathArbitrary,
        (sets, calls, multipath) => {
          const attributes = new AttributePool();
          const nextHops = new NextHopPool();
          const peerTable = new PeerTable();
          for (const [row, peer] of peers.entries()) {
            if (row > 0) peerTable.make();
            peerTable.ebgp[row] = peer.ebgp ? 1 : 0;
            peerTable.routerId[row] = peer.routerId;
            peerTable.addressOrder[row] = row;
          }
          for (const hop of [1, 2, 3]) nextHops.intern(`${hop}`, Uint8Array.of(10, 0, 0, hop), 0, 4);
          const rib = new Rib(family, { attributes, nextHops, hopSets: new NextHopSetPool(), peers: peerTable });
          rib.setMultipath(multipath);
          const naive = new Map<string, Map<string, NaivePath & { stale: boolean }>>();
          const metrics = [0, 0, 0, 0];
          const intern = (index: number): number => {
            const s = sets[index]!;
            return attributes.intern(Buffer.from(keyOf(index, s), 'latin1'), {
              ...emptyAttributeValues(),
              origin: s.origin,
              asPathLength: s.length,
              firstAsn: s.firstAsn,
              med: s.med,
              localPref: s.localPref,
              originatorId: s.originatorId || -1,
              clusterListLength: s.clusters,
              communityFlags: s.stale ? communityFlag.llgrStale : 0,
              linkBandwidth: s.bandwidth,
            });
          };
          const check = (): void => {
            const changed = new IntStack();
            while (rib.dirtyCount > 0) rib.decide(3, false, changed);
            for (const text of prefixTexts[family]) {
              const id = rib.prefixes.byText(text, false)!;
              const paths = [...(naive.get(text)?.values() ?? [])];
              const expected = naiveDecision(paths, sets, peers, metrics, multipath);
              const locPeer = id < 0 ? 0 : rib.locPeer[id]!;
              assert.equal(locPeer, expected ? expected.best.peer + 1 : 0, text);
              if (!expected) continue;
              const { set, pathId } = expected.best;
              assert.equal(
                Buffer.from(attributes.copy(rib.locAttributes[id]!)).toString('latin1'),
                keyOf(set, sets[set]!),
              );
              assert.equal(rib.paths.pathId(rib.explain(id).best), pathId);
              assert.deepEqual(
                rankedRows(rib, id).map((path) => `${rib.paths.peer[path]} ${rib.paths.pathId(path)}`),
                naiveRank(paths, sets, peers, metrics, multipath).map((path) => `${path.peer} ${path.pathId}`),
              );
              assert.deepEqual(rib.tables.hopSets.members[rib.locHopSet[id]!], expected.hops);
              assert.deepEqual(rib.tables.hopSets.weights[rib.locHopSet[id]!] ?? [], expected.weights);
              assert.deepEqual(
                memberRows(rib, id).map((path) => `${rib.paths.peer[path]} ${rib.paths.pathId(path)}`),
                expected.members.map((path) => `${path.peer} ${path.pathId}`),
              );
            }
            for (let i = 0; i < changed.length; i++) rib.settle(changed.items[i]!);
          };
          for (const call of calls) {
            const text = prefixTexts[family][call.prefix]!;
            const paths = naive.get(text) ?? new Map();
            naive.set(text, paths);
            if (call.op === 'announce') {
              const [hop, pathId] = call.peer === 0 ? [0, 0] : [call.hop, call.pathId];
              rib.announceId(call.peer, rib.internText(text)!, intern(call.set), hop, pathId);
              paths.set(`${call.peer} ${pathId}`, { peer: call.peer, pathId, set: call.set, hop, stale: false });
            } else if (call.op === 'withdraw') {
              const id = rib.prefixes.byText(text, false)!;
              if (id >= 0) rib.withdrawId(call.peer, id, call.pathId);
              paths.delete(`${call.peer} ${call.pathId}`);
            } else if (call.op === 'metric') {
              metrics[call.hop] = call.metric;
              nextHops.igpMetric[call.hop] = call.metric;
              rib.markNextHopDirty(call.hop);
            } else if (call.op === 'decide') {
              check();
            } else {
              if (call.op === 'stale' || call.op === 'staler') rib.markStale(call.peer, call.op === 'staler');
              else rib.removals.begin(call.peer, call.op === 'sweep' ? pathFlag.stale : 0);
              while (rib.removals.waiting) rib.removals.step();
              for (const [, paths] of naive) {
                for (const [key, path] of paths) {
                  if (path.peer !== call.peer) continue;
                  if (call.op === 'staler') path.stale = true;
                  else if (call.op === 'drop' || path.stale) paths.delete(key);
                  else if (call.op === 'stale') path.stale = true;
                }
              }
            }
          }
          check();
          let count = 0;
          for (const byPeer of naive.values()) count += byPeer.size;
          assert.equal(
            rib.pathCount.reduce((sum, n) => sum + n, 0),
            count,
          );
          // Everything withdrawn: nothing is left, no attribute set and no prefix leaks.
          for (const row of peers.keys()) removePeer(rib, row);
          naive.clear();
          check();
          assert.equal(attributes.size, 0);
          assert.equal(rib.prefixes.size, 0);
          assert.equal(rib.routeCount, 0);
        },
      ),
      { numRuns: 1000 },
    );
  });
}

test('prefix table equals a map, releases included', () => {
  const word = fc.constantFrom(0, 1, -1, 0x0a000000, 0x7fffffff);
  const call = fc.record({
    intern: fc.boolean(),
    w: fc.tuple(word, word, word, word),
    bits: fc.constantFrom(0, 24, 32),
  });
  fc.assert(
    fc.property(fc.constantFrom(4 as const, 6 as const), fc.array(call, { maxLength: 3000 }), (family, calls) => {
      const table = new PrefixTable(family);
      const naive = new Map<string, number>();
      for (const { intern, w, bits } of calls) {
        const words = Int32Array.from(w);
        const key = `${family === 4 ? w[0] : w.join()}/${bits}`;
        const known = naive.get(key);
        assert.equal(table.find(words, bits), known ?? -1);
        if (intern) {
          const id = table.intern(words, bits);
          if (known === undefined) assert.ok(![...naive.values()].includes(id));
          else assert.equal(id, known);
          naive.set(key, id);
        } else if (known !== undefined) {
          table.release(known);
          naive.delete(key);
        }
      }
      assert.equal(table.size, naive.size);
    }),
    { numRuns: 30 },
  );
});
