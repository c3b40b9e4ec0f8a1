/** The decision process straight from the RFCs' text, over objects: the oracle of tests. */
import { scaleWeights } from '#kit';
import { IntStack, type MultipathOptions, type Rib, unreachable } from './index.ts';

export interface NaivePath {
  readonly peer: number;
  readonly pathId: number;
  readonly set: number;
  readonly hop: number;
}
export interface NaiveSet {
  readonly localPref: number;
  readonly length: number;
  readonly origin: number;
  readonly med: number;
  readonly firstAsn: number;
  readonly originatorId: number;
  readonly clusters: number;
  /** Bytes per second; -1: absent. */
  readonly bandwidth?: number;
  /** LLGR_STALE. */
  readonly stale: boolean;
  /** Tells apart AS_PATHs of the same length and first AS. */
  readonly lastAsn: number;
}
export interface NaivePeer {
  readonly ebgp: boolean;
  readonly routerId: number;
}

const lowest = (paths: NaivePath[], rank: (path: NaivePath) => number): NaivePath[] => {
  const least = Math.min(...paths.map(rank));
  return paths.filter((path) => rank(path) === least);
};

export function naiveDecision(
  all: NaivePath[],
  sets: NaiveSet[],
  peers: NaivePeer[],
  metrics: number[],
  multipath: MultipathOptions,
) {
  const local = all.find((path) => path.peer === 0);
  if (local) return { best: local, hops: [] as number[], weights: [] as number[], members: [local] };
  let left = all.filter((path) => metrics[path.hop] !== unreachable);
  if (left.length === 0) return undefined;
  left = lowest(left, (path) => (sets[path.set]!.stale ? 1 : 0));
  left = lowest(left, (path) => -sets[path.set]!.localPref);
  left = lowest(left, (path) => sets[path.set]!.length);
  left = lowest(left, (path) => sets[path.set]!.origin);
  left = left.filter((path) =>
    left.every((other) => {
      const [mine, theirs] = [sets[path.set]!, sets[other.set]!];
      return mine.firstAsn !== theirs.firstAsn || mine.med <= theirs.med;
    }),
  );
  left = lowest(left, (path) => (peers[path.peer]!.ebgp ? 0 : 1));
  left = lowest(left, (path) => metrics[path.hop]!);
  const equal: NaivePath[] = [];
  for (let rest = left; rest.length > 0; rest = rest.filter((path) => !equal.includes(path))) {
    let first = lowest(rest, (path) => sets[path.set]!.originatorId || peers[path.peer]!.routerId);
    first = lowest(first, (path) => sets[path.set]!.clusters);
    first = lowest(first, (path) => path.peer);
    equal.push(lowest(first, (path) => path.pathId)[0]!);
  }
  const best = equal[0]!;
  const asPath = (path: NaivePath): string => {
    const { length, firstAsn, lastAsn } = sets[path.set]!;
    return [firstAsn, ...new Array<number>(length - 1).fill(lastAsn)].join();
  };
  const shared = equal.filter((path) => multipath.asPathRelax || asPath(path) === asPath(best));
  const members = shared.filter((path, i) => !shared.slice(0, i).some(({ hop }) => hop === path.hop));
  members.splice(multipath.max);
  const hops = members.map(({ hop }) => hop).sort((a, b) => a - b);
  return { best, members, ...naiveShares(hops, shared, sets) };
}

/** RFC 10005. */
function naiveShares(hops: number[], paths: NaivePath[], sets: NaiveSet[]): { hops: number[]; weights: number[] } {
  const said = hops.map((hop) => paths.filter((path) => path.hop === hop).map(({ set }) => sets[set]!.bandwidth ?? -1));
  if (said.flat().includes(-1)) return { hops, weights: [] };
  const shares = hops.map((hop, i) => ({ hop, share: Math.max(...said[i]!) }));
  const some = shares.filter(({ share }) => share > 0);
  const left = some.length > 0 ? some : shares;
  const isEqual = left.every(({ share }) => share === left[0]!.share);
  return { hops: left.map(({ hop }) => hop), weights: isEqual ? [] : scaleWeights(left.map(({ share }) => share)) };
}

/** Rows of the paths of a prefix that share the load. */
export function memberRows(rib: Rib, prefix: number): number[] {
  const rows = new IntStack();
  rib.members(prefix, rows);
  return [...rows.items.subarray(0, rows.length)];
}

/** Rows of the paths of a prefix, in the order of the RIB. */
export function rankedRows(rib: Rib, prefix: number): number[] {
  const rows: number[] = [];
  rib.rank(prefix);
  for (let row = rib.nextRanked(); row >= 0; row = rib.nextRanked()) rows.push(row);
  return rows;
}

/** The best, the best of the rest, and so on. */
export function naiveRank(...[all, ...rest]: Parameters<typeof naiveDecision>): NaivePath[] {
  const best = naiveDecision(all, ...rest)?.best;
  if (!best) return [];
  return [
    best,
    ...naiveRank(
      all.filter((path) => path !== best),
      ...rest,
    ),
  ];
}

/** Canonical octets of ORIGIN, AS_PATH and what tells sets apart, as the pool keeps them. */
export function keyOf(index: number, { origin, length, firstAsn, lastAsn }: NaiveSet): string {
  const asns = [firstAsn, ...new Array<number>(length - 1).fill(lastAsn)];
  const segment = [2, length, ...asns.flatMap((asn) => [0, 0, 0, asn])];
  const bytes = [0x40, 1, 1, origin, 0x40, 2, segment.length, ...segment, 0x80, 4, 4, 0, 0, 0, index];
  return Buffer.from(bytes).toString('latin1');
}
