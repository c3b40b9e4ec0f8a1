/**
 * What a speaker is told to be. Plain data (it crosses a thread border by structured clone, so passwords are text here
 * and must never be logged); the whole of it is given on every change and the speaker works out which sessions a
 * change must touch.
 */

import type { BmpStationConfig } from '../bmp/types.ts';
import type { RouteFilter } from '../filter/types.ts';
import type { TcpAoKey } from './tcp-ao.ts';

export type Family = 'ipv4-unicast' | 'ipv6-unicast';

/** Which AS a peer may be in: that one, any other than ours, ours, any, or one of several. */
export type PeerAsn = number | 'external' | 'internal' | 'auto' | readonly number[];

/** Names of RFC 9234 4.1. */
export type BgpRole = 'provider' | 'customer' | 'routeServer' | 'routeServerClient' | 'peer';

export interface SpeakerConfig {
  /** 1..4294967295. */
  readonly asn: number;
  /** Dotted quad, not 0.0.0.0. */
  readonly routerId: string;
  /** Of our clients as route reflector (RFC 4456 7), dotted quad, not 0.0.0.0; absent: the router id. */
  readonly clusterId?: string;
  readonly listen: readonly { readonly address: string; readonly port: number }[];
  /** Told to peers in OPEN, for their operators: `node1` or `node1.example.org`, at most 64 octets on either side of the first dot. */
  readonly hostName?: string;
  /** Likewise, at most 64 octets. */
  readonly softwareVersion?: string;
  /** Prefixes announced as our own, origin IGP. */
  readonly originate: readonly string[];
  readonly peers: readonly PeerConfig[];
  /** Who is taken as a peer when it connects. */
  readonly ranges?: readonly PeerRange[];
  readonly gracefulRestart: GracefulRestartConfig;
  /** Which paths share the load with the best one. Default: 64, true. Applied without touching a session. */
  readonly multipath?: MultipathConfig;
  /** As `PeerConfig.gracefulShutdown`, for all peers. */
  readonly gracefulShutdown?: boolean;
  /** Monitoring stations (BMP); absent or empty: none. */
  readonly bmp?: readonly BmpStationConfig[];
  /** Records of messages, for the shell to keep. */
  readonly mrt?: MrtConfig;
}

/** What the speaker writes down, as MRT (RFC 6396). */
export interface MrtConfig {
  readonly updates?: {
    /** Path; rotated files get the time of their end as suffix. */
    readonly file: string;
    /** A file that is longer is rotated. */
    readonly rotateBytes: number;
    /** And one that is older, seconds. */
    readonly rotateSec: number;
    /** Messages that we send are recorded, too. Default false. */
    readonly sent?: boolean;
  };
}

/** External and internal paths are never mixed; of more than `max` next hops those that win the tie-break are taken. */
export interface MultipathConfig {
  /** Next hops of a route, 1..64. */
  readonly max: number;
  /** True: the AS_PATHs may differ as long as they are of one length. False: only the AS_PATH of the best path. */
  readonly asPathRelax: boolean;
}

/** RFC 4724. `restarting` and `forwardingPreserved` hold for the life of the process and are ignored when changed. */
export interface GracefulRestartConfig {
  /** This process follows an earlier run whose forwarding state may still be in the kernel: R bit on first OPENs. */
  readonly restarting: boolean;
  /** F bit per family: routes of the earlier run are in the kernel. */
  readonly forwardingPreserved: readonly Family[];
  /** Advertised restart time, seconds, 0..4095. */
  readonly restartTimeSec: number;
  /** Selection deferral: routes are held back until each live peer sent End-of-RIB, at most this long. */
  readonly deferralTimeSec: number;
}

/** What is too many: paths held of the peer, that is what its import policy takes in, and with `adjRibIn` what it rejects as well. */
export interface MaxPrefixes {
  /** 1..4294967295. One more ends the session. */
  readonly limit: number;
  /** A warning is logged above so much of the limit, 1..100. Default 75. */
  readonly warnPercent?: number;
  /** Seconds until the peer may come back; absent: not before the limit is changed or the peer reset. */
  readonly restartSec?: number;
  /** The warning is all. */
  readonly warnOnly?: boolean;
}

export interface AddPathConfig {
  /** Take several paths of a prefix, where the peer offers to send them. */
  readonly receive: boolean;
  /** Announce the best so many paths of a prefix, 0..128, where the peer offers to take them; 0: the best alone. Never more than it says that it takes. */
  readonly send: number;
  /** With `receive`: so many paths of a prefix are asked for (PATHS-LIMIT), 1..128, which a peer may not know or heed. Default 128. */
  readonly limit?: number;
}

/**
 * Packets to prefixes with BLACKHOLE are dropped, and NO_EXPORT is added. A prefix with it that is shorter is not taken at all (RFC 7999 3.3).
 */
export interface BlackholeConfig {
  /** Shortest prefix of IPv4, 1..32. Default 32. */
  readonly minLength4?: number;
  /** Of IPv6, 1..128. Default 128. */
  readonly minLength6?: number;
}

export interface PeerConfig {
  /** Unique and stable; what status and logs call the peer. */
  readonly name: string;
  /** A link-local address names its interface: `fe80::1%eth0`. Empty for a peer by `interface`: it is found. */
  readonly address: string;
  /** Unnumbered: the peer is the router on this interface, found by its router advertisements (RFC 4861). */
  readonly interface?: string;
  /** Set by the speaker: the range that this peer came from. */
  readonly range?: string;
  /** Remote port to dial. */
  readonly port: number;
  readonly asn: PeerAsn;
  /** Source address of the session (needed for peers on loopbacks); absent: the kernel chooses. */
  readonly localAddress?: string;
  readonly families: readonly Family[];
  /** Seconds, 0 or >= 3. */
  readonly holdTimeSec: number;
  /** TCP-MD5 (RFC 2385), at most 80 bytes. One that is changed for another keeps the session; see `ByteConnection.rekey`. */
  readonly password?: string;
  /**
   * TCP-AO (RFC 5925), in place of `password`: keys in order of preference. Connections that we open begin with the first, and the peer
   * is asked to use it. Keys added, removed and put in another order keep the session; see `ByteConnection.rekey`.
   */
  readonly tcpAo?: readonly TcpAoKey[];
  /** Why there must be no session: nothing is dialled, who connects is refused. Shown as the peer's last error. */
  readonly heldDown?: string;
  /** Our AS number on this session instead of the speaker's. */
  readonly localAsn?: number;
  /** Seconds between KEEPALIVEs; a third of the negotiated hold time where absent or not less than all of it. */
  readonly keepaliveSec?: number;
  /** GTSM (RFC 5082): the peer is at most so many hops away, 1 (on a link of ours) to 255; packets from farther are dropped. */
  readonly ttlSecurityHops?: number;
  /** ADD-PATH (RFC 7911), for every family of the session. Absent: one path a prefix, both ways. */
  readonly addPath?: AddPathConfig;
  /** How often our AS may stand in the AS_PATH of a route that is used. Default 0. */
  readonly allowOwnAsn?: number;
  /** What we are to this external peer (RFC 9234): told in OPEN, and in force on its routes as `leak-prevention.ts` says. */
  readonly role?: BgpRole;
  /** With `role`: a peer that says none is refused. Default false. */
  readonly strictRole?: boolean;
  /** By family; without an entry there is no limit. */
  readonly maxPrefixes?: { readonly [F in Family]?: MaxPrefixes };
  /** Messages up to 65,535 octets are offered (RFC 8654). Default true. */
  readonly extendedMessages?: boolean;
  /** Never dials. */
  readonly passive: boolean;
  readonly connectRetrySec: number;
  /** Restart time told to this peer instead of the speaker's, seconds, 0..4095. */
  readonly restartTimeSec?: number;
  /**
   * RFC 8538, N bit: a NOTIFICATION keeps routes as a lost connection does, unless it is a Hard Reset; so does an expired hold
   * timer, which is why BFD should be there to notice a peer that is gone for good. Default true; from the next OPEN on.
   */
  readonly notificationKeepsRoutes?: boolean;
  /**
   * RFC 9494: how long the peer may keep our routes beyond the restart time, as those of last resort, seconds, 1..16777215. 0
   * or absent: not offered, and its own are not kept so long either. From the next OPEN on.
   */
  readonly longLivedStaleTimeSec?: number;
  /**
   * RFC 9494 4.6: a peer of our own AS that does not know LLGR is told of such routes all the same, with NO_EXPORT and
   * LOCAL_PREF 0. Default false: it is told of none.
   */
  readonly longLivedToAllInternal?: boolean;
  /**
   * RFC 8326: the session is about to end. What we announce gets GRACEFUL_SHUTDOWN, and LOCAL_PREF 0 towards our own AS; what
   * comes in from another AS is taken in with both. Default false; live.
   */
  readonly gracefulShutdown?: boolean;
  /** BLACKHOLE (RFC 7999) of this peer is obeyed; absent: it is a community as any other. Live, as the next one is. */
  readonly blackhole?: BlackholeConfig;
  /** Of the link to the peer, bytes per second, 1..1e15: told as link bandwidth (RFC 10005) of routes from it that say none. */
  readonly linkBandwidthBytesPerSec?: number;
  readonly import: 'accept' | 'reject';
  /**
   * `originated`: what this speaker originates (agents are never transit); `reflected`: that, and to internal peers what
   * internal peers said, as route reflection has it; both: and of the rest what a term of the filter accepts that
   * names such sources; `accept`: everything best.
   */
  readonly export: 'accept' | 'reject' | 'originated' | 'reflected';
  /** An internal peer that is a client of ours as route reflector (RFC 4456). */
  readonly routeReflectorClient?: boolean;
  /** Of what `import` and `export` let through: the first term that accepts or rejects decides, and what none does goes through. */
  readonly importFilter?: RouteFilter;
  readonly exportFilter?: RouteFilter;
  /**
   * Keeps what the peer announces as received, rejected routes included: for the looking glass, and so that a change of the
   * import policy needs no ROUTE-REFRESH. Costs 8 bytes a path, and the paths that are rejected. Default false.
   */
  readonly adjRibIn?: boolean;
  /**
   * Our address announced as next hop for each family. Absent: the session's local address where it is of that family;
   * a family without one is not announced on this session.
   */
  readonly nextHop4?: string;
  readonly nextHop6?: string;
  /** Offers IPv4 with IPv6 next hops (RFC 8950). Default: on for a peer by `interface`, else off. */
  readonly extendedNextHop?: boolean;
  /** Offers next hops of a link-local address alone (draft-ietf-idr-linklocal-capability). Default: on with link-local peers. */
  readonly linkLocalNextHop?: boolean;
  /**
   * How a link-local next hop is written where there is no global address beside it: `single` it alone, `double` twice, `native` after
   * an address of zeros. Default: `single` where that capability is negotiated, else `double`, which every peer takes.
   */
  readonly linkLocalNextHopFormat?: 'native' | 'single' | 'double';
  /** Watches the path to the peer with BFD (RFC 5880 to 5883): a session that falls ends the BGP session (RFC 9384). */
  readonly bfd?: BfdConfig;
}

/** Live: a change is agreed upon with the peer while the session stays up. */
export interface BfdConfig {
  /** Shortest interval at which we send, and at which the peer may, milliseconds, 10..60000. */
  readonly minTxMs: number;
  readonly minRxMs: number;
  /** How many packets in a row must be lost, 1..255. */
  readonly multiplier: number;
  /** The peer is not on a link of ours (RFC 5883): port 4784, from at most `ttlSecurityHops` hops away where that is set. */
  readonly multihop?: boolean;
  /**
   * For a peer whose BFD shares fate with its control plane (C bit 0) and whose graceful restart we negotiated: BFD that falls is taken
   * for its restart, and its routes are kept for the restart time. Default off: when a process ends, its kernel ends the TCP
   * connection before BFD notices, so that BFD which falls first means a dead path (RFC 5882 4.3.2.2).
   */
  readonly graceful?: boolean;
}

/** BFD that is on and says nothing more. */
export const bfdDefaults: BfdConfig = { minTxMs: 300, minRxMs: 300, multiplier: 3 };

/** A prefix whose hosts become peers by connecting; never dialled. */
export interface PeerRange
  extends Omit<PeerConfig, 'name' | 'address' | 'interface' | 'range' | 'port' | 'passive' | 'connectRetrySec'> {
  /** Its peers are called by it and their address, `NAME/10.2.0.5`; absent: by the address alone. */
  readonly name?: string;
  /** Of two that hold an address the longer one counts. */
  readonly prefix: string;
  /** Peers at once; who comes beyond is refused (Cease, connection rejected) and counted. */
  readonly limit: number;
}

/** Whether the peer may be told of routes that we learned: what it is told is complete only once routes are selected. */
export function exportsLearned({ export: policy, exportFilter }: PeerConfig): boolean {
  if (policy !== 'originated') return policy !== 'reject';
  const terms = [...(exportFilter?.ipv4 ?? []), ...(exportFilter?.ipv6 ?? [])];
  return terms.some(({ action, source }) => action === 'accept' && source?.some((kind) => kind !== 'own') === true);
}
