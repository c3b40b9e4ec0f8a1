/** A peer as status shows it. */
import type { Rib } from '../rib/index.ts';
import { dottedQuad, type Negotiated } from '../wire/index.ts';
import type { PeerBfdStatus } from './bfd.ts';
import type { Family, PeerConfig } from './config.ts';
import { negotiatedStatus } from './negotiated-status.ts';
import type { PeerExport } from './peer-export.ts';
import type { PeerImport } from './peer-import.ts';
import type { Session } from './session.ts';
import type { StaleRoutes } from './stale-routes.ts';
import type { PeerFamilyStatus, PeerStatus } from './types.ts';

export interface PeerStatusParts {
  readonly config: PeerConfig;
  readonly row: number;
  readonly asn: number;
  readonly stateForMs: number;
  readonly session: Session;
  readonly establishedCount: number;
  /** Of the established session. */
  readonly negotiated: Negotiated | undefined;
  /** See `PrefixLimits`. */
  readonly restartInSec: number | undefined;
  readonly imports: PeerImport;
  readonly exports: PeerExport;
  readonly stale: StaleRoutes;
  readonly bfd: PeerBfdStatus | undefined;
  readonly rib: (family: Family) => Rib;
}

export function peerStatus(parts: PeerStatusParts): PeerStatus {
  const { config, session, negotiated, restartInSec, exports, bfd } = parts;
  const { prefixesReceived, pathsRefused, updateErrors } = parts.imports.counters;
  return {
    name: config.name,
    address: config.address,
    port: config.port,
    ...(config.interface === undefined ? {} : { interface: config.interface }),
    ...(config.range === undefined ? {} : { range: config.range }),
    asn: parts.asn,
    state: session.stateName,
    stateForMs: parts.stateForMs,
    lastError: config.heldDown ?? session.lastError,
    ...(session.localAddress ? { localAddress: session.localAddress } : {}),
    ...(restartInSec === undefined ? {} : { restartInSec }),
    ...(negotiated ? { peerRouterId: dottedQuad(negotiated.peerRouterId) } : {}),
    establishedCount: parts.establishedCount,
    messagesIn: session.messagesIn,
    messagesOut: session.messagesOut,
    updatesIn: session.updatesIn,
    updatesOut: session.updatesOut,
    notificationsIn: session.notificationsIn,
    notificationsOut: session.notificationsOut,
    prefixesReceived,
    ...(pathsRefused > 0 ? { pathsRefused } : {}),
    updateErrors,
    queuedBytes: session.queuedBytes,
    ...(exports.leaving ? { gracefulShutdown: true } : {}),
    families: config.families.map((family) => familyStatus(parts, family)),
    ...(negotiated ? { negotiated: negotiatedStatus(negotiated) } : {}),
    ...(bfd ? { bfd } : {}),
  };
}

function familyStatus(
  { config, row, imports, exports, stale, rib }: PeerStatusParts,
  family: Family,
): PeerFamilyStatus {
  const { pathCount, rejectedCount, staleCount } = rib(family);
  const stalePhase = stale.phase(family);
  return {
    family,
    accepted: (pathCount[row] ?? 0) - (rejectedCount[row] ?? 0),
    ...(config.adjRibIn ? { rejected: rejectedCount[row] ?? 0 } : {}),
    stale: staleCount[row] ?? 0,
    ...(stalePhase ? { stalePhase } : {}),
    sent: exports.membership(family)?.group.announcedTo(row) ?? 0,
    endOfRibReceived: imports.endOfRibReceived(family),
  };
}
