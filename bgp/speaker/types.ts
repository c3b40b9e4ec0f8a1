/** What a speaker is given and what it tells: the borders of the pure core. */
import type { Clock, Logger } from '#kit';
import type { BmpStationStatus } from '../bmp/types.ts';
import type { SessionStateName } from '../fsm/types.ts';
import type { DecisionStep } from '../rib/decision.ts';
import type { Zeroes } from '../rib/prefix-table.ts';
import type { AttributeText, Family } from '../wire/types.ts';
import type { BfdPort, PeerBfdStatus } from './bfd.ts';
import type { SpeakerConfig } from './config.ts';
import type { SessionTap } from './tap.ts';
import type { SessionKeys, TcpAoFault, TcpAoKey } from './tcp-ao.ts';

/** One TCP connection, in either direction, once it is connected. */
export interface ByteConnection {
  /** Link-local ones with their interface: `fe80::1%eth0`. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort?: number;
  /** Called once, before any byte is delivered. No handler is called after `close` or `destroy`. */
  start(handlers: ConnectionHandlers): void;
  /**
   * Takes the first `length` octets in any case (default: all). All of `bytes` are to stay unchanged afterwards; where that is part of
   * them, they are the caller's again after the call.
   */
  write(bytes: Uint8Array, length?: number): void;
  /** Bytes taken by `write` and not yet by the kernel. */
  readonly queuedBytes: number;
  /** Octets of the peer wait that there was no time for yet. Default false. */
  readonly unread?: boolean;
  /**
   * Changes the TCP-MD5 key or the TCP-AO keys of the connection. With TCP-MD5, and when a TCP-AO key goes that the peer still wants,
   * segments are lost until the peer has done the same, which TCP makes good within the hold time. False: it has no key to change, or
   * it is refused, as when other bytes are to stand under the ids of a key that is there.
   */
  rekey(keys: SessionKeys): boolean;
  /** Ends the connection after what is queued is sent, within a bounded time. */
  close(): void;
  /** Ends it now. */
  destroy(): void;
}

export interface ConnectionHandlers {
  /** The first `length` octets of `chunk` (default: all), which are only valid during the call. */
  onData(chunk: Uint8Array, length?: number): void;
  onClosed(reason: string): void;
  /** The queue fell to zero after it had not been. */
  onDrained(): void;
}

export interface DialRequest {
  readonly peer: string;
  readonly address: string;
  readonly port: number;
  readonly localAddress?: string;
  readonly password?: string;
  /** See `PeerConfig`, as what follows. */
  readonly tcpAo?: readonly TcpAoKey[];
  readonly ttlSecurityHops?: number;
}

/** The link that a connection's local end is on. */
export interface LocalLink {
  readonly interface: string;
  /** Ours on it, without zone. */
  readonly linkLocal?: string;
  /** IPv6 addresses of ours on it that are not link-local. */
  readonly global: readonly string[];
}

/** Which peers: by name, by address, by our own address on the link, or all link-local ones on an interface. */
export interface PathSelector {
  readonly peer?: string;
  readonly address?: string;
  readonly localAddress?: string;
  readonly interface?: string;
}

/** Where connections come from. Incoming ones are given to `Speaker.accept`. */
export interface Transport {
  /** Starts an attempt; exactly one callback is called, later, unless the returned function was called before. */
  dial(request: DialRequest, onConnected: (c: ByteConnection) => void, onFailed: (reason: string) => void): () => void;
  /** Absent: it can sign whatever is asked. Asked on each change for each key. */
  readonly tcpAoFault?: TcpAoFault;
  /** Brings listeners, TCP-MD5 and TCP-AO keys in line; called on each change. */
  configure(config: SpeakerConfig): void;
  /** The link that both ends share; undefined when the other end is not on a link of ours, or that cannot be told. */
  linkOf?(localAddress: string, remoteAddress: string): LocalLink | undefined;
}

export interface SpeakerDeps {
  readonly clock: Clock;
  readonly transport: Transport;
  /** Absent: peers' `bfd` has no effect. */
  readonly bfd?: BfdPort;
  readonly log: Logger;
  /** 0 <= x < 1, for jitter. */
  readonly random: () => number;
  /** Of the tables that are looked into all over. Absent: memory as it comes. */
  readonly zeroes?: Zeroes;
  /** Runs `fn` once the event under way is over, as a rule after all others that are waiting now were handled; not within this call. */
  readonly defer: (fn: () => void) => void;
  /**
   * For what deferred work has left when peers have been told, and nobody waits for: runs `fn` within this turn, but after what may have come in
   * answer. Absent: at once.
   */
  readonly afterwards?: (fn: () => void) => void;
  /** Packed changes are waiting: `takeRoutes` gives them. Called once until they were all taken. */
  readonly onRoutes: () => void;
  /** State, routes or errors of a peer changed. */
  readonly onPeerState: (status: PeerStatus) => void;
  /** Called at the start and after each change. */
  readonly onConfigured?: (config: SpeakerConfig) => void;
  /** Looks at every message and state. */
  readonly tap?: SessionTap;
  /** Milliseconds of the wall clock, for time stamps in what others read. Absent: 0, which means unknown there. */
  readonly wallMs?: () => number;
  /** How long the process was there when the speaker was made: an earlier run had ended by then. */
  readonly processAgeMs?: number;
  /** What monitoring stations are told of this system (RFC 7854 4.4). */
  readonly system?: { readonly name: string; readonly description: string };
}

export interface NegotiatedStatus {
  readonly families: readonly Family[];
  readonly asn4: boolean;
  readonly routeRefresh: boolean;
  /** RFC 7313. */
  readonly enhancedRouteRefresh: boolean;
  /** What the peer says it is (RFC 9234), by its name there. */
  readonly peerRole?: string;
  /** What the peer calls itself, escaped. */
  readonly peerHostName?: string;
  readonly peerSoftwareVersion?: string;
  /** RFC 8654. */
  readonly extendedMessages: boolean;
  readonly holdTimeSec: number;
  readonly keepaliveSec: number;
  /** RFC 7911, by what we may do: families with neither are left out. */
  readonly addPath?: readonly {
    readonly family: Family;
    readonly receive: boolean;
    readonly send: boolean;
    /** Paths of a prefix that the peer takes, where it says so. */
    readonly limit?: number;
  }[];
  /** RFC 8950. */
  readonly extendedNextHop: boolean;
  /** draft-ietf-idr-linklocal-capability. */
  readonly linkLocalNextHop: boolean;
  readonly gracefulRestart?: {
    readonly restartTimeSec: number;
    readonly restarting: boolean;
    /** Both sides keep routes over a NOTIFICATION that is no Hard Reset (RFC 8538). */
    readonly notification: boolean;
    readonly families: readonly { readonly family: Family; readonly forwarding: boolean }[];
  };
  /** What the peer said, where both sides offered it (RFC 9494). */
  readonly longLived?: readonly {
    readonly family: Family;
    readonly forwarding: boolean;
    readonly staleTimeSec: number;
  }[];
}

export interface PeerFamilyStatus {
  readonly family: Family;
  /** Paths held, stale ones included; several a prefix with ADD-PATH. */
  readonly accepted: number;
  /** Paths that the import policy rejects, where they are kept. */
  readonly rejected?: number;
  readonly stale: number;
  /** Why some are stale: the peer has its restart time, or that is over and they are routes of last resort (RFC 9494). */
  readonly stalePhase?: 'restart' | 'longLived';
  /** Prefixes announced to the peer; with ADD-PATH paths. */
  readonly sent: number;
  readonly endOfRibReceived: boolean;
}

/** Plain data: it crosses the thread border. */
export interface PeerStatus {
  readonly name: string;
  /** Empty: none was found yet. */
  readonly address: string;
  /** Of a peer by interface. */
  readonly interface?: string;
  /** Of a peer that came from a range. */
  readonly range?: string;
  /** Where it is dialled. */
  readonly port: number;
  /** The peer's; 0: not known yet. */
  readonly asn: number;
  readonly state: SessionStateName;
  /** Milliseconds in this state when the status was made; while Established: the session's uptime. */
  readonly stateForMs: number;
  /** Empty: none yet. */
  readonly lastError: string;
  readonly localAddress?: string;
  readonly peerRouterId?: string;
  /** Seconds until a peer with too many prefixes may come back. */
  readonly restartInSec?: number;
  /** Sessions that reached Established since the peer was configured at its address, whatever its settings have been. */
  readonly establishedCount: number;
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly updatesIn: number;
  readonly updatesOut: number;
  readonly notificationsIn: number;
  readonly notificationsOut: number;
  /** Announced prefixes received on the current session, repetitions included. */
  readonly prefixesReceived: number;
  /** Paths of the current session not taken, since the peer sent too many for one prefix (ADD-PATH); absent: none. */
  readonly pathsRefused?: number;
  /** UPDATEs treated as withdraw or with attributes discarded (RFC 7606). */
  readonly updateErrors: number;
  readonly queuedBytes: number;
  /** What we announce says that the session is about to end (RFC 8326). */
  readonly gracefulShutdown?: true;
  readonly families: readonly PeerFamilyStatus[];
  readonly negotiated?: NegotiatedStatus;
  /** Absent: not configured, or not begun. */
  readonly bfd?: PeerBfdStatus;
}

export interface SpeakerStatus {
  readonly asn: number;
  readonly routerId: string;
  /** Route selection is deferred (RFC 4724 4.1); names of peers whose End-of-RIB is waited for. */
  readonly deferring: boolean;
  readonly waitingFor: readonly string[];
  /** Prefixes with a best path, by family. */
  readonly routes: { readonly ipv4: number; readonly ipv6: number };
  readonly paths: { readonly ipv4: number; readonly ipv6: number };
  readonly attributeSets: number;
  /** Next hops held; those that nothing uses are freed once there are many. */
  readonly nextHops: number;
  readonly peers: readonly PeerStatus[];
  /** Monitoring stations, where there are any. */
  readonly stations?: readonly BmpStationStatus[];
  readonly ranges: readonly RangeStatus[];
}

export interface RangeStatus {
  readonly prefix: string;
  readonly limit: number;
  readonly peers: number;
  /** Connections refused for the limit, since the range was configured. */
  readonly refused: number;
}

export interface RouteQuery {
  readonly family?: Family;
  /** Exactly this prefix. */
  readonly prefix?: string;
  /** This prefix and all inside it. */
  readonly within?: string;
  /** Only paths of this peer (name). */
  readonly peer?: string;
  /** Also paths that the import policy rejects, of peers with `adjRibIn`; and attributes as received instead of as used. */
  readonly received?: boolean;
  /** Instead of what is held: what is announced to this peer (name), attributes as it is told them. */
  readonly sentTo?: string;
  /** The same for every peer that is told of `prefix`, which must be given. */
  readonly sent?: boolean;
  /** Prefixes an answer has at most, 1..1000. Default 100. */
  readonly limit?: number;
  /** `next` of the answer before. */
  readonly cursor?: string;
}

export interface RoutePath {
  /** Name of the peer; absent: our own. */
  readonly peer?: string;
  readonly nextHop?: string;
  /** As the peer sent it, or we do (RFC 7911); absent: 0, or there is none. */
  readonly pathId?: number;
  readonly best: boolean;
  /** Part of the equal-cost set that is installed. */
  readonly multipath: boolean;
  /** The best one, and packets to the prefix are dropped (RFC 7999). */
  readonly blackhole?: true;
  readonly stale: boolean;
  /**
   * Of the best path: the step of the decision that left it alone, or `only-path`. Of the others: the step at which they lost;
   * members of the multipath set lose in a tie-break only. Absent in answers to `sentTo` and `sent`, and while selection is deferred.
   */
  readonly reason?: DecisionStep | 'only-path';
  /** Name of the peer that is told so, in answers to `sent`. */
  readonly sentTo?: string;
  /** Present: not used, and why. */
  readonly rejected?: RouteRejection;
  readonly attributes: AttributeText;
}

export interface RouteRejection {
  /**
   * `import`: nothing is taken from the peer. `loop`: our AS number, router id or cluster id is in it. `leak`: RFC 9234 5.
   * `blackhole`: BLACKHOLE is obeyed, and the prefix too short for it (RFC 7999 3.3).
   */
  readonly by: 'import' | 'loop' | 'leak' | 'blackhole' | 'filter';
  /** Name of the filter, where it has one, and index of the rule in it (without a name: in the list of terms). */
  readonly filter?: string;
  readonly term?: number;
}

export interface RouteAnswer {
  readonly routes: readonly { readonly prefix: string; readonly paths: readonly RoutePath[] }[];
  /** Present: there is more. */
  readonly next?: string;
}
