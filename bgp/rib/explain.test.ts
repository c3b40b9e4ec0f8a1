/** Why paths win and lose, against the steps of RFC 4271 9.1.2.2 applied one after the other to plain objects. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { emptyAttributeValues } from '../wire/index.ts';
import {
  AttributePool,
  type DecisionStep,
  IntStack,
  NextHopPool,
  NextHopSetPool,
  PeerTable,
  Rib,
  unreachable,
} from './index.ts';

interface NaivePath {
  readonly own: boolean;
  readonly rejected: boolean;
  readonly localPref: number;
  readonly asPathLength: number;
  readonly origin: number;
  readonly neighbour: number;
  readonly med: number;
  readonly ebgp: boolean;
  readonly metric: number;
  readonly routerId: number;
  readonly clusterListLength: number;
}

const few = (max: number): fc.Arbitrary<number> => fc.nat(max);
const naivePath: fc.Arbitrary<NaivePath> = fc.record({
  own: fc.constant(false),
  rejected: fc.nat(5).map((n) => n === 0),
  localPref: fc.constantFrom(100, 100, 200),
  asPathLength: few(1),
  origin: few(1),
  neighbour: fc.constantFrom(65001, 65002),
  med: few(1),
  ebgp: fc.boolean(),
  metric: fc.constantFrom(0, 0, 10, unreachable),
  routerId: few(1),
  clusterListLength: few(1),
});

/** By index of the path: the step that it lost at; the best one has none. */
function oracle(paths: readonly NaivePath[]): {
  best: number;
  decidedBy: DecisionStep | undefined;
  lost: Map<number, DecisionStep>;
} {
  const lost = new Map<number, DecisionStep>();
  let left = paths.map((_, i) => i);
  let decidedBy: DecisionStep | undefined;
  const keep = (step: DecisionStep, kept: (i: number) => boolean, takesPart = true): void => {
    for (const i of left) if (!kept(i)) lost.set(i, step);
    const next = left.filter(kept);
    if (takesPart && next.length < left.length) decidedBy = step;
    left = next;
  };
  const lowest = (step: DecisionStep, rank: (path: NaivePath, i: number) => number): void => {
    const best = Math.min(...left.map((i) => rank(paths[i]!, i)));
    keep(step, (i) => rank(paths[i]!, i) === best);
  };
  keep('rejected', (i) => !paths[i]!.rejected, false);
  keep('next-hop-unreachable', (i) => paths[i]!.own || paths[i]!.metric !== unreachable, false);
  if (left.some((i) => paths[i]!.own)) keep('own-route', (i) => paths[i]!.own);
  lowest('local-pref', (path) => -path.localPref);
  lowest('as-path-length', (path) => path.asPathLength);
  lowest('origin', (path) => path.origin);
  const rivals = left;
  keep('med', (i) => !rivals.some((k) => paths[k]!.neighbour === paths[i]!.neighbour && paths[k]!.med < paths[i]!.med));
  lowest('ebgp-over-ibgp', (path) => (path.ebgp ? 0 : 1));
  lowest('igp-metric', (path) => path.metric);
  lowest('router-id', (path) => path.routerId);
  lowest('cluster-list-length', (path) => path.clusterListLength);
  lowest('peer-address', (_, i) => i);
  return { best: left[0] ?? -1, decidedBy, lost };
}

test('RFC 4271 9.1.2.2: each path is said to have won or lost by the step that decided about it', () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(fc.array(naivePath, { minLength: 1, maxLength: 6 }), fc.boolean(), (random, withOwn) => {
      const own = { ...random[0]!, own: true, rejected: false };
      const paths = withOwn && random.length % 3 === 0 ? [...random, own] : random;
      const tables = {
        attributes: new AttributePool(),
        nextHops: new NextHopPool(),
        hopSets: new NextHopSetPool(),
        peers: new PeerTable(),
      };
      const rib = new Rib(4, tables);
      const rows = paths.map((path, i) => {
        const peer = path.own ? 0 : tables.peers.make();
        tables.peers.ebgp[peer] = path.ebgp ? 1 : 0;
        tables.peers.routerId[peer] = path.routerId + 1;
        tables.peers.addressOrder[peer] = i;
        const { localPref, asPathLength, origin, med, clusterListLength } = path;
        const values = {
          ...emptyAttributeValues(),
          localPref,
          asPathLength,
          origin,
          med,
          clusterListLength,
          firstAsn: path.neighbour,
        };
        const set = tables.attributes.intern(Buffer.from(`set ${i}`), values);
        const hop = path.own ? 0 : tables.nextHops.intern(`${i}`, Uint8Array.of(10, 0, 0, i), 0, 4);
        if (hop !== 0) tables.nextHops.igpMetric[hop] = path.metric;
        const row = rib.announce(peer, Int32Array.of(0x0a000000), 8, set, hop, 0);
        rib.setRejected(row, path.rejected);
        return row;
      });
      rib.decide(10, false, new IntStack());
      const expected = oracle(paths);
      const outcome = rib.explain(0);
      assert.equal(outcome.best, expected.best < 0 ? -1 : rows[expected.best]);
      assert.equal(rib.locPeer[0], expected.best < 0 ? 0 : rib.paths.peer[outcome.best]! + 1);
      assert.equal(outcome.decidedBy, expected.decidedBy);
      assert.deepEqual(outcome.lostBy, new Map([...expected.lost].map(([i, step]) => [rows[i]!, step])));
      for (const step of expected.lost.values()) seen.add(step);
    }),
    { numRuns: 4000 },
  );
  assert.equal(seen.size, 12, `every step was seen: ${[...seen]}`);
});
