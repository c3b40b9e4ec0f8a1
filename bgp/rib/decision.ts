/**
 * The decision process, RFC 4271 9.1.2.2, as elimination: each step keeps the best of what the step before left, so
 * that the outcome does not depend on the order of arrival (a pairwise comparison with MED would).
 *
 *   ours | not LLGR_STALE (RFC 9494 4.4) | LOCAL_PREF | AS_PATH length | ORIGIN | MED within a neighbouring AS | eBGP over iBGP | IGP metric
 *     -> what is left is the multipath set (AS_PATHs of equal length may differ: "as-path multipath relax")
 *   router id (or ORIGINATOR_ID) | CLUSTER_LIST length (RFC 4456 9) | peer address
 *
 * "Older wins" is left out: it makes the outcome depend on history.
 */
import { communityFlag } from '../wire/types.ts';
import type { AttributePool } from './attribute-pool.ts';
import { type NextHopPool, unreachable } from './next-hop-pool.ts';
import { localPeer, type PathTable, type PeerTable } from './path-table.ts';

/** Most equal-cost next hops of a route; the first ones by tie-break are taken. */
export const multipathMax = 64;

export interface DecisionTables {
  readonly attributes: AttributePool;
  readonly nextHops: NextHopPool;
  readonly peers: PeerTable;
}

export class Decision {
  /** The best path; -1: none is usable. */
  best = -1;
  /** Next hop ids of the multipath set, sorted, distinct; empty for our own route. Valid until the next `run`. */
  readonly hops: number[] = [];
  readonly #tables: DecisionTables;
  readonly #paths: PathTable;
  #candidates = new Int32Array(16);

  constructor(paths: PathTable, tables: DecisionTables) {
    this.#paths = paths;
    this.#tables = tables;
  }

  /** @param first row of the first path of the prefix plus 1 (0: none). @param localOnly only ours counts (deferral). */
  run(first: number, localOnly: boolean): void {
    this.hops.length = 0;
    this.best = -1;
    let count = 0;
    const { next, peer, nextHop } = this.#paths;
    const metric = this.#tables.nextHops.igpMetric;
    for (let link = first; link !== 0; link = next[link - 1]!) {
      const path = link - 1;
      if (peer[path] === localPeer) {
        this.best = path;
        return;
      }
      if (localOnly || metric[nextHop[path]!] === unreachable) continue;
      if (count === this.#candidates.length) this.#candidates = growCandidates(this.#candidates);
      this.#candidates[count++] = path;
    }
    if (count === 0) return;
    if (count > 1) count = this.#equalCost(count);
    this.#collectHops(count);
    if (count > 1) count = this.#tieBreak(count);
    this.best = this.#candidates[0]!;
  }

  #equalCost(initial: number): number {
    const { attributes: pool, peers, nextHops } = this.#tables;
    const { attributes, peer, nextHop } = this.#paths;
    let count = this.#keepLowest(initial, (path) => pool.communityFlags[attributes[path]!]! & communityFlag.llgrStale);
    count = this.#keepLowest(count, (path) => -pool.localPref[attributes[path]!]!);
    count = this.#keepLowest(count, (path) => pool.asPathLength[attributes[path]!]!);
    count = this.#keepLowest(count, (path) => pool.origin[attributes[path]!]!);
    if (count > 1) count = this.#med(count);
    count = this.#keepLowest(count, (path) => 1 - peers.ebgp[peer[path]!]!);
    return this.#keepLowest(count, (path) => nextHops.igpMetric[nextHop[path]!]!);
  }

  #tieBreak(initial: number): number {
    const { attributes: pool, peers } = this.#tables;
    const { attributes, peer } = this.#paths;
    let count = this.#keepLowest(
      initial,
      (path) => pool.originatorId[attributes[path]!]! || peers.routerId[peer[path]!]!,
    );
    count = this.#keepLowest(count, (path) => pool.clusterListLength[attributes[path]!]!);
    return this.#keepLowest(count, (path) => peers.addressOrder[peer[path]!]!);
  }

  #keepLowest(count: number, rank: (path: number) => number): number {
    if (count === 1) return 1;
    const candidates = this.#candidates;
    let lowest = Number.POSITIVE_INFINITY;
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const path = candidates[i]!;
      const value = rank(path);
      if (value > lowest) continue;
      if (value < lowest) kept = 0;
      lowest = value;
      candidates[kept++] = path;
    }
    return kept;
  }

  /** RFC 4271 9.1.2.2 c: out goes whoever has a rival from the same neighbouring AS with a lower MED. */
  #med(count: number): number {
    const { med, firstAsn } = this.#tables.attributes;
    const attributes = this.#paths.attributes;
    const candidates = this.#candidates;
    let differ = false;
    for (let i = 1; i < count && !differ; i++) {
      differ = med[attributes[candidates[i]!]!] !== med[attributes[candidates[0]!]!];
    }
    if (!differ) return count;
    const lowest = new Map<number, number>();
    for (let i = 0; i < count; i++) {
      const set = attributes[candidates[i]!]!;
      const known = lowest.get(firstAsn[set]!);
      if (known === undefined || med[set]! < known) lowest.set(firstAsn[set]!, med[set]!);
    }
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const path = candidates[i]!;
      const set = attributes[path]!;
      if (med[set] === lowest.get(firstAsn[set]!)) candidates[kept++] = path;
    }
    return kept;
  }

  #collectHops(count: number): void {
    const nextHop = this.#paths.nextHop;
    const hops = this.hops;
    if (count === 1) {
      hops.push(nextHop[this.#candidates[0]!]!);
      return;
    }
    if (count > multipathMax) this.#sortCandidates(count);
    for (let i = 0; i < count && hops.length < multipathMax; i++) {
      const hop = nextHop[this.#candidates[i]!]!;
      if (!hops.includes(hop)) hops.push(hop);
    }
    hops.sort((a, b) => a - b);
  }

  /** By the tie-break, so that which 64 of more are taken does not depend on arrival. */
  #sortCandidates(count: number): void {
    const { attributes: pool, peers } = this.#tables;
    const { attributes, peer } = this.#paths;
    const id = (path: number): number => pool.originatorId[attributes[path]!]! || peers.routerId[peer[path]!]!;
    const order = (path: number): number => peers.addressOrder[peer[path]!]!;
    this.#candidates.subarray(0, count).sort((a, b) => id(a) - id(b) || order(a) - order(b));
  }
}

function growCandidates(old: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const bigger = new Int32Array(2 * old.length);
  bigger.set(old);
  return bigger;
}
