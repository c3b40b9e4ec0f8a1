/**
 * The decision process, RFC 4271 9.1.2.2, as elimination: each step keeps the best of what the step before left, so
 * that the outcome does not depend on the order of arrival (a pairwise comparison with MED would).
 *
 *   ours | not LLGR_STALE (RFC 9494 4.4) | LOCAL_PREF | AS_PATH length | ORIGIN | MED within a neighbouring AS | eBGP over iBGP | IGP metric
 *     -> what is left is the multipath set (see `MultipathOptions`), weighted where all of it says a bandwidth (RFC 10005)
 *   router id (or ORIGINATOR_ID) | CLUSTER_LIST length (RFC 4456 9) | peer address | path identifier as received
 *
 * The last step decides between several paths of one peer (RFC 7911), which the RFCs leave open: the lowest. "Older wins" is
 * left out: it makes the outcome depend on history.
 */
import { scaleWeights } from '#kit';
import { communityFlag } from '../wire/types.ts';
import { IntStack } from './arrays.ts';
import type { AttributePool } from './attribute-pool.ts';
import { type NextHopPool, unreachable } from './next-hop-pool.ts';
import { localPeer, type PathTable, type PeerTable, pathFlag } from './path-table.ts';

/** Most equal-cost next hops of a route, whatever is configured. */
export const multipathMax = 64;

/** Which paths share the load with the best one. External and internal ones are never mixed. */
export interface MultipathOptions {
  /** Next hops of a route, 1..64; of more the first ones by tie-break are taken. */
  readonly max: number;
  /** True: AS_PATHs of the same length may differ ("as-path multipath relax"). False: only the AS_PATH of the best path. */
  readonly asPathRelax: boolean;
}

export interface DecisionTables {
  readonly attributes: AttributePool;
  readonly nextHops: NextHopPool;
  readonly peers: PeerTable;
}

const noWeights: readonly number[] = [];

export const defaultMultipath: MultipathOptions = { max: multipathMax, asPathRelax: true };

/** As many ASes are compared in the time that a path takes otherwise. An AS_PATH may have 16,000 (RFC 8654). */
const comparedAsnsShift = 7;

/** Where a path loses. The first three are no steps of the elimination: such paths never take part. */
export type DecisionStep =
  | 'rejected'
  | 'next-hop-unreachable'
  | 'own-route'
  | 'llgr-stale'
  | 'local-pref'
  | 'as-path-length'
  | 'origin'
  | 'med'
  | 'ebgp-over-ibgp'
  | 'igp-metric'
  | 'router-id'
  | 'cluster-list-length'
  | 'peer-address'
  | 'path-id';

/** The lowest wins: `#rank`. */
type RankedStep = Exclude<DecisionStep, 'rejected' | 'next-hop-unreachable' | 'own-route' | 'med'>;

export class Decision {
  /** Told of each path that a step eliminates, while it is set: for people. See explain.ts. */
  trace: ((path: number, step: DecisionStep) => void) | undefined;
  /** The best path; -1: none is usable. */
  best = -1;
  /** Next hop ids of the multipath set, sorted, distinct; of our own route there are none. Valid until the next `run`. */
  readonly hops = new Int32Array(multipathMax);
  hopCount = 0;
  /** By hop, 1..256; empty: equal shares. Valid until the next `run`. */
  weights: readonly number[] = noWeights;
  /** Bandwidths by hop. */
  readonly #greatest = new Float64Array(multipathMax);
  /** Of the last weighted set: mostly the next one is the same. */
  #shares: readonly number[] = [];
  #scaled: readonly number[] = [];
  /** Number of paths that the last `run` had to choose from, and so many more as it takes to compare their AS_PATHs. */
  considered = 0;
  multipath = defaultMultipath;
  readonly #tables: DecisionTables;
  readonly #paths: PathTable;
  #candidates = new Int32Array(16);
  // Of `rank`: rows in order of preference as far as they are known, how many of those were taken, and the paths after them.
  readonly #ranked = new IntStack();
  #taken = 0;
  #remaining = new Int32Array(16);
  #left = 0;
  /** A path lost by MED since this was set to false. */
  #lostByMed = false;

  constructor(paths: PathTable, tables: DecisionTables) {
    this.#paths = paths;
    this.#tables = tables;
  }

  /** @param first row of the first path of the prefix plus 1 (0: none). @param localOnly only ours counts (deferral). */
  run(first: number, localOnly: boolean): void {
    this.weights = noWeights;
    this.hopCount = 0;
    this.best = -1;
    this.considered = 0;
    let count = 0;
    const { next, peer, nextHop } = this.#paths;
    const metric = this.#tables.nextHops.igpMetric;
    for (let link = first; link > 0; link = next[link - 1]!) {
      const path = link - 1;
      if (peer[path] === localPeer) {
        this.best = path;
        return;
      }
      if (localOnly || metric[nextHop[path]!] === unreachable || this.#isRejected(path)) continue;
      if (count === this.#candidates.length) this.#candidates = growCandidates(this.#candidates);
      this.#candidates[count++] = path;
    }
    this.considered = count;
    if (count === 0) return;
    if (count === 1) {
      // As most prefixes have it, in the shortest way.
      const only = this.#candidates[0]!;
      this.best = only;
      this.hops[0] = nextHop[only]!;
      this.hopCount = 1;
      return;
    }
    count = this.#equalCost(count);
    const { max, asPathRelax } = this.multipath;
    if (count > 1 && (count > max || !asPathRelax) && !this.trace) {
      // By the tie-break first: which paths are taken then does not depend on arrival.
      this.#sortCandidates(count);
      this.best = this.#candidates[0]!;
      this.#collectHops(asPathRelax ? count : this.#keepAsPathOfBest(count));
      return;
    }
    this.#collectHops(count);
    if (count > 1) count = this.#tieBreak(count);
    this.best = this.#candidates[0]!;
  }

  /**
   * Begins to put the usable paths in order, for `nextRanked`: the best, then what would be best without it, and so on (our own
   * first). Only what is asked for is worked out.
   *
   * Only where MED took a path out can the loss of the best one bring back others: everywhere else all of an equal-cost set
   * follow one another, so that this is not a decision for each path.
   */
  rank(first: number, localOnly: boolean): void {
    this.#ranked.clear();
    this.#taken = 0;
    const { next, peer, nextHop } = this.#paths;
    const metric = this.#tables.nextHops.igpMetric;
    let left = 0;
    for (let link = first; link > 0; link = next[link - 1]!) {
      const path = link - 1;
      if (peer[path] === localPeer) {
        this.#ranked.push(path);
        continue;
      }
      if (localOnly || metric[nextHop[path]!] === unreachable || this.#isRejected(path)) continue;
      if (left === this.#remaining.length) this.#remaining = growCandidates(this.#remaining);
      this.#remaining[left++] = path;
    }
    while (this.#candidates.length < left) this.#candidates = growCandidates(this.#candidates);
    this.#left = left;
  }

  /** The next path in order; -1: there is none. */
  nextRanked(): number {
    while (this.#taken === this.#ranked.length) {
      if (this.#left === 0) return -1;
      this.#left = this.#rankSome(this.#left);
    }
    return this.#ranked.items[this.#taken++]!;
  }

  /**
   * The paths that share the load as `run` would have it, the best first, the others by the tie-break: one for each next hop. For those
   * who look on, not for each change.
   */
  members(first: number, localOnly: boolean, out: IntStack): void {
    out.clear();
    this.rank(first, localOnly);
    if (this.#ranked.length > 0) {
      out.push(this.#ranked.items[0]!);
      return;
    }
    const candidates = this.#candidates;
    let count = this.#left;
    for (let i = 0; i < count; i++) candidates[i] = this.#remaining[i]!;
    if (count > 1) count = this.#equalCost(count);
    if (count > 1) this.#sortCandidates(count);
    const { max, asPathRelax } = this.multipath;
    if (count > 1 && !asPathRelax) count = this.#keepAsPathOfBest(count);
    const { nextHop } = this.#paths;
    for (let i = 0; i < count && out.length < max; i++) {
      let seen = false;
      for (let k = 0; k < out.length && !seen; k++) seen = nextHop[out.items[k]!] === nextHop[candidates[i]!];
      if (!seen) out.push(candidates[i]!);
    }
  }

  /** Puts the best of the `left` remaining paths in order; returns how many remain. */
  #rankSome(left: number): number {
    const candidates = this.#candidates;
    const remaining = this.#remaining;
    for (let i = 0; i < left; i++) candidates[i] = remaining[i]!;
    this.#lostByMed = false;
    const count = left > 1 ? this.#equalCost(left) : 1;
    const taken = this.#lostByMed ? 1 : count;
    if (count > 1) this.#sortCandidates(count);
    for (let i = 0; i < taken; i++) this.#ranked.push(candidates[i]!);
    if (taken === left) return 0;
    // Ascending: what was taken is found by halving.
    if (taken > 1) candidates.subarray(0, taken).sort();
    let kept = 0;
    for (let i = 0; i < left; i++) {
      if (!includesSorted(candidates, taken, remaining[i]!)) remaining[kept++] = remaining[i]!;
    }
    return kept;
  }

  #isRejected(path: number): boolean {
    return (this.#paths.flags(path) & pathFlag.rejected) !== 0;
  }

  #equalCost(initial: number): number {
    let count = this.#keepLowest('llgr-stale', initial);
    count = this.#keepLowest('local-pref', count);
    count = this.#keepLowest('as-path-length', count);
    count = this.#keepLowest('origin', count);
    if (count > 1) count = this.#med(count);
    count = this.#keepLowest('ebgp-over-ibgp', count);
    return this.#keepLowest('igp-metric', count);
  }

  #tieBreak(initial: number): number {
    let count = this.#keepLowest('router-id', initial);
    count = this.#keepLowest('cluster-list-length', count);
    count = this.#keepLowest('peer-address', count);
    return this.#keepLowest('path-id', count);
  }

  /** What the lowest is kept of at a step. A function made for each decision would be garbage for each prefix. */
  #rank(step: RankedStep, path: number): number {
    const { attributes: pool, peers, nextHops } = this.#tables;
    const paths = this.#paths;
    const set = paths.attributes[path]!;
    switch (step) {
      case 'llgr-stale':
        return pool.communityFlags[set]! & communityFlag.llgrStale;
      case 'local-pref':
        return -pool.localPref[set]!;
      case 'as-path-length':
        return pool.asPathLength[set]!;
      case 'origin':
        return pool.origin[set]!;
      case 'ebgp-over-ibgp':
        return 1 - peers.ebgp[paths.peer[path]!]!;
      case 'igp-metric':
        return nextHops.igpMetric[paths.nextHop[path]!]!;
      case 'router-id':
        return pool.originatorId[set]! || peers.routerId[paths.peer[path]!]!;
      case 'cluster-list-length':
        return pool.clusterListLength[set]!;
      case 'peer-address':
        return peers.addressOrder[paths.peer[path]!]!;
      case 'path-id':
        return paths.pathId(path);
    }
  }

  #keepLowest(step: RankedStep, count: number): number {
    if (count === 1) return 1;
    const candidates = this.#candidates;
    const before = this.trace && candidates.slice(0, count);
    let lowest = Number.POSITIVE_INFINITY;
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const path = candidates[i]!;
      const value = this.#rank(step, path);
      if (value > lowest) continue;
      if (value < lowest) kept = 0;
      lowest = value;
      candidates[kept++] = path;
    }
    if (before) this.#tell(step, before, kept);
    return kept;
  }

  #tell(step: DecisionStep, before: Int32Array, kept: number): void {
    const left = this.#candidates.subarray(0, kept);
    for (const path of before) if (!left.includes(path)) this.trace?.(path, step);
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
    const before = this.trace && candidates.slice(0, count);
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const path = candidates[i]!;
      const set = attributes[path]!;
      if (med[set] === lowest.get(firstAsn[set]!)) candidates[kept++] = path;
    }
    if (kept < count) this.#lostByMed = true;
    if (before) this.#tell('med', before, kept);
    return kept;
  }

  #collectHops(count: number): void {
    const nextHop = this.#paths.nextHop;
    const hops = this.hops;
    const { max } = this.multipath;
    let kept = 0;
    for (let i = 0; i < count && kept < max; i++) {
      const hop = nextHop[this.#candidates[i]!]!;
      let known = 0;
      while (known < kept && hops[known] !== hop) known++;
      if (known === kept) hops[kept++] = hop;
    }
    this.hopCount = kept;
    if (kept === 1) return;
    hops.subarray(0, kept).sort();
    if (this.#tables.attributes.linkBandwidths > 0) this.#weigh(count);
  }

  /**
   * RFC 10005: shares after bandwidths, where every path by one of the next hops says one; of several by one next hop the greatest counts.
   * Who says zero gets nothing while others say more.
   */
  #weigh(count: number): void {
    const { hops, hopCount } = this;
    const { linkBandwidth } = this.#tables.attributes;
    const { attributes, nextHop } = this.#paths;
    const greatest = this.#greatest;
    greatest.fill(0, 0, hopCount);
    for (let i = 0; i < count; i++) {
      const path = this.#candidates[i]!;
      const hop = hops.indexOf(nextHop[path]!);
      if (hop < 0 || hop >= hopCount) continue;
      const bandwidth = linkBandwidth[attributes[path]!]!;
      if (bandwidth < 0) return;
      if (bandwidth > greatest[hop]!) greatest[hop] = bandwidth;
    }
    let kept = 0;
    let equal = true;
    for (let hop = 0; hop < hopCount; hop++) {
      if (greatest[hop] === 0) continue;
      hops[kept] = hops[hop]!;
      greatest[kept] = greatest[hop]!;
      if (greatest[kept] !== greatest[0]) equal = false;
      kept++;
    }
    if (kept > 0) this.hopCount = kept;
    if (!equal) this.weights = this.#scale(kept);
  }

  /** Of the first so many of `#greatest`. */
  #scale(count: number): readonly number[] {
    const greatest = this.#greatest;
    const shares = this.#shares;
    let same = shares.length === count;
    for (let i = 0; i < count && same; i++) same = shares[i] === greatest[i];
    if (!same) {
      this.#shares = Array.from(greatest.subarray(0, count));
      this.#scaled = scaleWeights(this.#shares);
    }
    return this.#scaled;
  }

  /** By the tie-break: the same order as `#tieBreak` makes, of all of them. */
  #sortCandidates(count: number): void {
    const { attributes: pool, peers } = this.#tables;
    const { attributes, peer } = this.#paths;
    const id = (path: number): number => pool.originatorId[attributes[path]!]! || peers.routerId[peer[path]!]!;
    const clusters = (path: number): number => pool.clusterListLength[attributes[path]!]!;
    const order = (path: number): number => peers.addressOrder[peer[path]!]!;
    const pathId = (path: number): number => this.#paths.pathId(path);
    this.#candidates
      .subarray(0, count)
      .sort((a, b) => id(a) - id(b) || clusters(a) - clusters(b) || order(a) - order(b) || pathId(a) - pathId(b));
  }

  /** Of sorted candidates those with the AS_PATH of the first. */
  #keepAsPathOfBest(count: number): number {
    const pool = this.#tables.attributes;
    const candidates = this.#candidates;
    const attributes = this.#paths.attributes;
    const best = attributes[candidates[0]!]!;
    this.considered += (count * pool.asPathLength[best]!) >> comparedAsnsShift;
    let kept = 1;
    for (let i = 1; i < count; i++) {
      const set = attributes[candidates[i]!]!;
      if (set === best || pool.sameAsPath(set, best)) candidates[kept++] = candidates[i]!;
    }
    return kept;
  }
}

function growCandidates(old: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const bigger = new Int32Array(2 * old.length);
  bigger.set(old);
  return bigger;
}

/** Whether `value` is among the first `count` of `items`, which ascend. */
function includesSorted(items: Int32Array, count: number, value: number): boolean {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low < count && items[low] === value;
}
