/** What decides on the update group of a peer's family: all that makes what it is told differ from what others are. Pure. */
import { pathsPerPrefixMax, type UpdateGroupOptions } from '../rib/index.ts';
import { ipFamilyOf, type Negotiated } from '../wire/index.ts';
import type { Family, PeerConfig } from './config.ts';
import { leakRules } from './leak-prevention.ts';
import { nextHopSelf } from './next-hop-self.ts';
import type { LocalLink } from './types.ts';

/** Our side of the session. */
export interface OwnSide {
  readonly localAsn: number;
  /** Unsigned. */
  readonly clusterId: number;
  /** See `nextHopSelf`. */
  readonly localAddress: string;
  readonly link: LocalLink | undefined;
  /** GRACEFUL_SHUTDOWN goes with all routes (RFC 8326). */
  readonly leaving: boolean;
}

/**
 * Undefined: we have no address to announce as next hop, so that nothing can be. Every field is there whatever it says: what is asked of the
 * options on the way of each route is asked of one kind of object.
 */
export function groupOptions(
  family: Family,
  config: PeerConfig,
  negotiated: Negotiated,
  own: OwnSide,
): UpdateGroupOptions | undefined {
  const ipFamily = ipFamilyOf(family);
  const nextHop = nextHopSelf(ipFamily, config, negotiated, own.localAddress, own.link);
  if (!nextHop) return undefined;
  const filter = ipFamily === 4 ? config.exportFilter?.ipv4 : config.exportFilter?.ipv6;
  const rule = negotiated.ebgp && config.role ? leakRules[config.role] : undefined;
  const paths = negotiated.addPath.find((entry) => entry.family === family && entry.send);
  return {
    filter: filter && filter.length > 0 ? filter : undefined,
    addPath: paths && Math.min(config.addPath?.send ?? 1, paths.limit ?? pathsPerPrefixMax),
    ebgp: negotiated.ebgp,
    export: kindOf(config.export),
    routeReflectorClient: !negotiated.ebgp && (config.routeReflectorClient ?? false),
    clusterId: negotiated.ebgp ? undefined : own.clusterId,
    asn4: negotiated.asn4,
    extendedMessages: negotiated.extendedMessages,
    localAsn: own.localAsn,
    addOnlyToCustomer: rule?.addOut ?? false,
    withholdOnlyToCustomer: rule?.withhold ?? false,
    nextHopSelf: nextHop,
    gracefulShutdown: own.leaving,
    longLived: longLivedExport(negotiated, config),
    extendedNextHop: ipFamily === 4 && negotiated.extendedNextHop,
  };
}

const kinds = ['accept', 'reject', 'originated', 'reflected'] as const;

/** The same text as written here: one that was parsed, or came from another thread, is compared letter by letter for each route. */
function kindOf(text: UpdateGroupOptions['export']): UpdateGroupOptions['export'] {
  return kinds.find((kind) => kind === text) ?? text;
}

/** RFC 9494 4.3, 4.6. */
function longLivedExport(negotiated: Negotiated, config: PeerConfig): UpdateGroupOptions['longLived'] {
  if (negotiated.longLivedAware) return 'aware';
  return config.longLivedToAllInternal && !negotiated.ebgp ? 'internal' : undefined;
}
