/** Whether a route of the Loc-RIB is announced to a kind of peer. Pure. */
import { communityFlag } from '../wire/types.ts';
import { localPeer } from './path-table.ts';

export interface ExportPolicy {
  readonly ebgp: boolean;
  /** `originated`: only what this speaker originates. `reject`: nothing, not even that. */
  readonly export: 'accept' | 'reject' | 'originated';
  /** Not what carries ONLY_TO_CUSTOMER (RFC 9234 5). */
  readonly withholdOnlyToCustomer?: boolean;
  /**
   * Whether the peer is told of routes with LLGR_STALE (RFC 9494 4.3): it knows them; it does not but is internal and is told of
   * them marked (RFC 9494 4.6, see export-marks.ts); absent: no.
   */
  readonly longLived?: 'aware' | 'internal';
}

/**
 * @param source peer row of the best path.
 * @param sourceEbgp whether that peer is external (ignored for our own routes).
 * @param communityFlags of the route's attributes.
 */
export function isExported(policy: ExportPolicy, source: number, sourceEbgp: boolean, communityFlags: number): boolean {
  if (policy.export === 'reject') return false;
  if (policy.withholdOnlyToCustomer && (communityFlags & communityFlag.onlyToCustomer) !== 0) return false;
  if (source === localPeer) return true;
  if (policy.export === 'originated') return false;
  // RFC 4271 9.2: what an internal peer said is not passed to internal peers (no route reflection).
  if (!policy.ebgp && !sourceEbgp) return false;
  if ((communityFlags & communityFlag.noAdvertise) !== 0) return false;
  if ((communityFlags & communityFlag.llgrStale) !== 0 && !policy.longLived) return false;
  const stopsAtBorder = communityFlag.noExport | communityFlag.noExportSubconfed;
  return !(policy.ebgp && (communityFlags & stopsAtBorder) !== 0);
}
