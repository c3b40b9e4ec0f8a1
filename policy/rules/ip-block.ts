import { type Cidr, cidrContains } from '#kit';
import type { PeerMatch } from '#model';

/**
 * An ipBlock as a match, or undefined when its excepts leave nothing of it. `except` cuts out of this block only: excepts of
 * the other family or beside the block mean nothing and go, as do those within another. The API server refuses such blocks,
 * but objects stored by an older one may hold them.
 */
export function ipBlockMatch(block: { readonly cidr: Cidr; readonly except: readonly Cidr[] }): PeerMatch | undefined {
  const relevant = [...new Set(block.except)].filter(
    (cut) => cidrContains(block.cidr, cut) || cidrContains(cut, block.cidr),
  );
  if (relevant.some((cut) => cidrContains(cut, block.cidr))) return undefined;
  const except = relevant.filter((cut) => !relevant.some((other) => other !== cut && cidrContains(other, cut))).sort();
  return { type: 'cidr', cidr: block.cidr, except };
}
