/** Whether the IPPools of a cluster make sense beside each other and beside the ranges of its Services. Pure. */
import { type Cidr, cidrContains, type ParsedCidr, parseCidr } from '#kit';
import type { IPPoolObject } from './objects.ts';

export interface PoolProblem {
  /** E.g. `IPPool a`. */
  readonly object: string;
  readonly field: string;
  /** What is wrong, with the value, and what to do. */
  readonly message: string;
}

/**
 * Pools that overlap another pool or a range of Services (`serviceRanges`, e.g. of the cluster's ServiceCIDR objects); at most one
 * problem of each sort for a pool, in order of names. A disabled pool counts: its traffic is treated by it as well.
 * O(pools log pools + pools x ranges), since prefixes are nested or disjoint; ranges are few.
 */
export function poolProblems(pools: Iterable<IPPoolObject>, serviceRanges: Iterable<Cidr> = []): PoolProblem[] {
  const sorted = [...pools].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const overlaps = poolOverlaps(sorted);
  const ranges = [...new Set(serviceRanges)];
  return sorted.flatMap((pool) => {
    const problem = (message: string): PoolProblem => ({
      object: `IPPool ${pool.metadata.name}`,
      field: 'spec.cidr',
      message,
    });
    const found = overlaps.get(pool);
    const more = found && found.others > 0 ? ` and ${found.others} more` : '';
    const range = ranges.find((candidate) => overlap(candidate, pool.cidr));
    return [
      ...(found
        ? [
            problem(
              `${pool.cidr} overlaps with IPPool ${found.first.metadata.name} (${found.first.cidr})${more}; give each pool a range of its own, or remove one`,
            ),
          ]
        : []),
      ...(range
        ? [
            problem(
              `${pool.cidr} overlaps with ${range}, the range of Services' addresses; packets to such pods would go to Services: choose another range`,
            ),
          ]
        : []),
    ];
  });
}

function overlap(a: Cidr, b: Cidr): boolean {
  return cidrContains(a, b) || cidrContains(b, a);
}

interface Overlaps {
  /** The narrowest pool around this one; where there is none, the first inside. */
  readonly first: IPPoolObject;
  readonly others: number;
}

/** In the order of prefixes everything inside one follows it directly, so that a stack holds what encloses the current one. */
function poolOverlaps(pools: readonly IPPoolObject[]): Map<IPPoolObject, Overlaps> {
  const sorted = pools
    .map((pool) => ({ pool, prefix: parseCidr(pool.cidr)! }))
    .sort((a, b) => comparePrefixes(a.prefix, b.prefix))
    .map(({ pool }) => pool);
  const out = new Map<IPPoolObject, Overlaps>();
  const enclosing: { readonly pool: IPPoolObject; readonly index: number }[] = [];
  const close = (end: number): void => {
    const { pool, index } = enclosing.pop()!;
    const inside = end - index - 1;
    const first = enclosing.at(-1)?.pool ?? (inside > 0 ? sorted[index + 1] : undefined);
    if (first) out.set(pool, { first, others: enclosing.length + inside - 1 });
  };
  sorted.forEach((pool, index) => {
    while (enclosing.length > 0 && !cidrContains(enclosing.at(-1)!.pool.cidr, pool.cidr)) close(index);
    enclosing.push({ pool, index });
  });
  while (enclosing.length > 0) close(sorted.length);
  return out;
}

function comparePrefixes(a: ParsedCidr, b: ParsedCidr): number {
  if (a.family !== b.family) return a.family - b.family;
  const at = a.bytes.findIndex((byte, index) => byte !== b.bytes[index]);
  return at < 0 ? a.length - b.length : a.bytes[at]! - b.bytes[at]!;
}
