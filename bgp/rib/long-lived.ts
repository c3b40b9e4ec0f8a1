/** Stale routes whose restart time is over (RFC 9494 4.2). */
import { addCommunity, emptyAttributeValues, readCanonical } from '../wire/index.ts';
import { communityFlag } from '../wire/types.ts';
import type { AttributePool } from './attribute-pool.ts';
import type { Rib } from './rib.ts';

const llgrStale = Uint8Array.of(0xff, 0xff, 0x00, 0x06);

/**
 * Attaches LLGR_STALE to the stale routes of a peer, which makes them those of last resort here (see decision.ts) and wherever
 * they are announced, and drops those with NO_LLGR. Each attribute set is worked out once.
 */
export function markLongLived(rib: Rib, peer: number): void {
  const pool = rib.tables.attributes;
  const marked = new Map<number, number>();
  rib.changeStale(peer, (set) => {
    let to = marked.get(set);
    if (to === undefined) {
      to = withLlgrStale(pool, set);
      marked.set(set, to);
      // Neither number may be given to another set before all paths are done.
      pool.retain(set);
      if (to >= 0) pool.retain(to);
    }
    return to;
  });
  for (const [set, to] of marked) {
    pool.release(set);
    if (to >= 0) pool.release(to);
  }
}

/** -1: not to be kept. */
function withLlgrStale(pool: AttributePool, set: number): number {
  const flags = pool.communityFlags[set]!;
  if ((flags & communityFlag.noLlgr) !== 0) return -1;
  if ((flags & communityFlag.llgrStale) !== 0) return set;
  const bytes = addCommunity(pool.copy(set), llgrStale);
  if (!bytes) return -1;
  const values = emptyAttributeValues();
  readCanonical(bytes, 0, bytes.length, 0, 0, values);
  return pool.intern(bytes, values);
}
