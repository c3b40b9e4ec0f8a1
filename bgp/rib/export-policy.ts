/** Whether a route of the Loc-RIB is announced to a kind of peer. Pure. */
import { communityFlag } from '../wire/types.ts';
import { localPeer, type PeerTable } from './path-table.ts';

export interface ExportPolicy {
  readonly ebgp: boolean;
  /** Internal and a client of ours: it is told what other internal peers said (RFC 4456 6). */
  readonly routeReflectorClient?: boolean | undefined;
  /**
   * `originated`: only what this speaker originates. `reflected`: that, and what internal peers said, to internal peers. Both:
   * and what a term of the filter about learned routes accepts. `reject`: nothing, not even what is ours.
   */
  readonly export: 'accept' | 'reject' | 'originated' | 'reflected';
  /** Not what carries ONLY_TO_CUSTOMER (RFC 9234 5). */
  readonly withholdOnlyToCustomer?: boolean;
  /**
   * Whether the peer is told of routes with LLGR_STALE (RFC 9494 4.3): it knows them; it does not but is internal and is told of
   * them marked (RFC 9494 4.6, see export-marks.ts); absent: no.
   */
  readonly longLived?: 'aware' | 'internal' | undefined;
}

/**
 * @param source peer row of the best path.
 * @param communityFlags of the route's attributes.
 */
export function isExported(policy: ExportPolicy, source: number, peers: PeerTable, communityFlags: number): boolean {
  if (policy.export === 'reject') return false;
  if (policy.withholdOnlyToCustomer && (communityFlags & communityFlag.onlyToCustomer) !== 0) return false;
  if (source === localPeer) return true;
  if (policy.export === 'originated') return false;
  const fromExternal = peers.ebgp[source] === 1;
  if (policy.export === 'reflected' && (policy.ebgp || fromExternal)) return false;
  // RFC 4271 9.2: what an internal peer said is not passed to internal peers, unless one of them is a client (RFC 4456 6).
  if (!policy.ebgp && !fromExternal && !policy.routeReflectorClient && peers.client[source] !== 1) return false;
  if ((communityFlags & communityFlag.noAdvertise) !== 0) return false;
  if ((communityFlags & communityFlag.llgrStale) !== 0 && !policy.longLived) return false;
  const stopsAtBorder = communityFlag.noExport | communityFlag.noExportSubconfed;
  return !(policy.ebgp && (communityFlags & stopsAtBorder) !== 0);
}
