/** What this node announces: its pod CIDRs as far as the IPPools let them out, and its own addresses where that is asked for. */
import { cidrContains, hostCidr, parseCidr } from '#kit';
import type { IPPoolObject, NodeObject } from '#model';
import type { Issue } from './issue.ts';
import type { SelectorMatch } from './selector.ts';

/**
 * A prefix inside pools goes by the smallest of them that is for this node; outside of every pool it is announced. A pool whose
 * selector cannot be read counts as being for this node: nothing goes out that was meant to stay.
 */
export function podPrefixes(
  self: NodeObject,
  pools: readonly IPPoolObject[],
  selects: SelectorMatch,
  issues: Issue[],
): string[] {
  const here = pools.filter((pool) => {
    if (pool.nodeSelector === undefined) return true;
    const object = { kind: 'IPPool', name: pool.metadata.name } as const;
    const selected = selects(pool.nodeSelector, self.metadata.labels);
    if (typeof selected === 'boolean') return selected;
    const kept = pool.disabled || pool.disableBGPExport ? '; its addresses are not announced from any node' : '';
    issues.push({ object, field: 'spec.nodeSelector', message: `${selected.error}${kept}`, effect: 'partial' });
    return true;
  });
  const length = (pool: IPPoolObject): number => parseCidr(pool.cidr)!.length;
  return self.podCIDRs.filter((cidr) => {
    const around = here.filter((pool) => cidrContains(pool.cidr, cidr));
    const longest = Math.max(...around.map(length));
    const smallest = around.filter((pool) => length(pool) === longest);
    // Of two pools with one CIDR the one that keeps it in decides.
    return !smallest.some((pool) => pool.disabled || pool.disableBGPExport);
  });
}

/** The node's own addresses as host routes. */
export function addressPrefixes(self: NodeObject): string[] {
  return self.internalIPs.map(hostCidr);
}
