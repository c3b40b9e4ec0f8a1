/**
 * The data of the BGP codec. Everything here is pure: bytes in, values out.
 *
 * Two kinds of messages are treated differently. OPEN, NOTIFICATION and ROUTE-REFRESH are rare and become plain objects.
 * UPDATEs are many: they are decoded into one reused {@link UpdateView} of offsets and numbers, prefixes come from a
 * {@link PrefixCursor}, attributes are interned as the bytes that `canonicalAttributes` makes, and an
 * {@link UpdatePacker} writes messages from those bytes. Nothing is allocated per prefix.
 */
import type { IpFamily } from '#kit';
import type { Family } from '../speaker/config.ts';

export type { Family };

/** Message types, RFC 4271 4.1 and RFC 2918. */
export const messageType = { open: 1, update: 2, notification: 3, keepalive: 4, routeRefresh: 5 } as const;

export const headerBytes = 19;
/** Longest message without RFC 8654, header included. */
export const messageBytesMax = 4096;
/** Longest one with it; OPEN and KEEPALIVE never are. */
export const extendedMessageBytesMax = 65535;
/** Longest result of `canonicalAttributes`: a 2-octet AS_PATH doubles when widened. */
export const canonicalAttributesBytesMax = 2 * extendedMessageBytesMax;

/** What a NOTIFICATION carries: RFC 4271 4.5. Also the form in which every decoder reports a fatal error. */
export interface Notification {
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
}

/** A fatal error found in a message: the NOTIFICATION to send, and why, for people. */
export interface ProtocolError extends Notification {
  readonly reason: string;
  /** Close without sending anything: a malformed NOTIFICATION is never answered (RFC 4271 6.4). */
  readonly silent?: true;
  /** Routes must go on both sides: sent as Cease/Hard Reset where that is negotiated (RFC 8538 4). */
  readonly hard?: true;
}

// ------------------------------------------------------------------------------------------------------------- framing

/**
 * One whole message, header included, at `bytes[start..end)`. The bytes are only valid during the call. Return false to
 * stop (the session was closed by this message): the rest of the chunk is dropped.
 */
export type FrameHandler = (type: number, bytes: Uint8Array, start: number, end: number) => boolean;

/** Who gets messages as an object of a class: between messages code gets cold, and to call a closure takes more of it than to call a method. */
export interface FrameTaker {
  readonly onFrame: FrameHandler;
}

/** Cuts a TCP stream into messages. Copies only a message that straddles two chunks. */
export interface Framer {
  /**
   * Feeds a chunk; undefined, or the NOTIFICATION that the stream deserves (then the framer must not be used again).
   *
   * @param length of the chunk. Default: all of it.
   */
  push(chunk: Uint8Array, onFrame: FrameHandler, length?: number): ProtocolError | undefined;
  pushTo(taker: FrameTaker, chunk: Uint8Array, length: number): ProtocolError | undefined;
  /** Bytes of an unfinished message held. */
  readonly pendingBytes: number;
  /** RFC 8654 is negotiated: longer messages from the next one on, OPEN and KEEPALIVE excepted. */
  allowExtended(): void;
}

// ---------------------------------------------------------------------------------------------------------------- OPEN

/** RFC 4724 3, RFC 8538 2. */
export interface GracefulRestartCapability {
  /** R: the sender has restarted. */
  readonly restarting: boolean;
  /** N: the sender keeps routes on NOTIFICATION, too (RFC 8538); in `Negotiated`: both do. */
  readonly notification: boolean;
  /** 0..4095 seconds. */
  readonly restartTimeSec: number;
  /** Families whose routes survive; `forwarding` is the F bit. May be empty (helper only). */
  readonly families: readonly { readonly family: Family; readonly forwarding: boolean }[];
}

/** RFC 9494 3: how long routes of a family may be kept once the restart time is over. */
export interface LongLivedCapability {
  readonly family: Family;
  /** F: forwarding state was kept. */
  readonly forwarding: boolean;
  /** 0..16777215 seconds. */
  readonly staleTimeSec: number;
}

/** RFC 7911 4: what the sender of the capability can do with several paths of a prefix. */
export interface AddPathCapability {
  readonly family: Family;
  readonly receive: boolean;
  readonly send: boolean;
  /**
   * Paths of a prefix that the sender takes, 1..65535 (PATHS-LIMIT, draft-abraitis-idr-addpath-paths-limit); absent: as many as there are. In
   * `Negotiated`: that the peer takes.
   */
  readonly limit?: number;
}

/** RFC 9234 4.1: what the sender of the capability is to its peer. */
export const bgpRole = { provider: 0, routeServer: 1, routeServerClient: 2, customer: 3, peer: 4 } as const;

/** Capabilities that are either there or not; every one is absent by default. */
export interface CapabilityFlags {
  /** RFC 7313: BoRR and EoRR. */
  readonly enhancedRouteRefresh?: boolean;
  /** RFC 8654: messages up to 65,535 octets. */
  readonly extendedMessages?: boolean;
  /** RFC 8950: IPv4 unicast with IPv6 next hops. */
  readonly extendedNextHop?: boolean;
  /** draft-ietf-idr-linklocal-capability: an IPv6 next hop may be a link-local address alone. */
  readonly linkLocalNextHop?: boolean;
}

export interface OpenMessage extends CapabilityFlags {
  /** 4-octet AS where the capability was there, otherwise the 2-octet field. */
  readonly asn: number;
  readonly holdTimeSec: number;
  /** Unsigned 32 bit, not 0. */
  readonly routerId: number;
  /** From multiprotocol capabilities; without any, IPv4 unicast (RFC 4760 8). */
  readonly families: readonly Family[];
  /** 4-octet AS capability (RFC 6793). */
  readonly asn4: boolean;
  readonly routeRefresh: boolean;
  readonly gracefulRestart?: GracefulRestartCapability;
  /** Without families: the sender understands LLGR_STALE and helps others, its own routes are not kept (RFC 9494 3.1). */
  readonly longLived?: readonly LongLivedCapability[];
  readonly addPath?: readonly AddPathCapability[];
  /** Values of {@link bgpRole}, or unassigned ones; distinct. More than one is a mismatch (RFC 9234 4.2). */
  readonly roles?: readonly number[];
  /** Sent without any capability: for peers that know none (RFC 5492 3). Never set by decoders. */
  readonly plain?: true;
  /** For people only (draft-walton-bgp-hostname-capability); the domain may be empty. */
  readonly hostName?: { readonly host: string; readonly domain: string };
  /** For people only (draft-ietf-idr-software-version). */
  readonly softwareVersion?: string;
}

/** Result of decoders of rare messages. */
export type Decoded<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: ProtocolError };

/** What both OPENs agreed on. */
export interface Negotiated {
  readonly localAsn: number;
  readonly peerAsn: number;
  readonly ebgp: boolean;
  /** Unsigned 32 bit. */
  readonly localRouterId: number;
  readonly peerRouterId: number;
  /** AS numbers are 4 octets wide in AS_PATH and AGGREGATOR. */
  readonly asn4: boolean;
  readonly families: readonly Family[];
  readonly routeRefresh: boolean;
  /** 0: no keepalives, no hold timer. */
  readonly holdTimeSec: number;
  /** A third of the hold time, or what we are told; 0 with it. */
  readonly keepaliveSec: number;
  /** Present when both sides sent the capability: what the peer said, `notification` aside. */
  readonly gracefulRestart?: GracefulRestartCapability;
  /** What the peer said; empty unless both sides sent it and graceful restart is negotiated (RFC 9494 4.1). */
  readonly longLived: readonly LongLivedCapability[];
  /** The peer sent both capabilities, be it without families: it may be told of routes with LLGR_STALE (RFC 9494 4.3). */
  readonly longLivedAware: boolean;
  readonly enhancedRouteRefresh: boolean;
  readonly extendedMessages: boolean;
  readonly extendedNextHop: boolean;
  readonly linkLocalNextHop: boolean;
  /** By what we may do: families with neither are left out. */
  readonly addPath: readonly AddPathCapability[];
  /** What the peer says it is, when it says one thing. */
  readonly peerRole?: number;
  readonly peerHostName?: string;
  readonly peerSoftwareVersion?: string;
}

// -------------------------------------------------------------------------------------------------------- ROUTE-REFRESH

export interface RouteRefresh {
  /** Absent: a family that is not ours; ignore. */
  readonly family?: Family;
  /** RFC 7313: 0 request, 1 BoRR, 2 EoRR; larger: ignore. */
  readonly subtype: number;
}

// -------------------------------------------------------------------------------------------------------------- UPDATE

/** What decoding an UPDATE depends on. Keep one object per session (it is read in the hot path). */
export interface UpdateContext {
  readonly asn4: boolean;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  readonly ebgp: boolean;
  readonly localAsn: number;
  readonly peerAsn: number;
  /** Unsigned 32 bit; ORIGINATOR_ID loops are found by it. */
  readonly localRouterId: number;
  /** CLUSTER_LIST loops are found by it; the router id where absent (RFC 4456 7). */
  readonly localClusterId?: number;
  /** Prefixes of the family come with path identifiers (RFC 7911 5). Default false. */
  readonly addPath4?: boolean;
  readonly addPath6?: boolean;
  /** RFC 8950 is negotiated: IPv4 prefixes of MP_REACH_NLRI may have an IPv6 next hop. */
  readonly extendedNextHop?: boolean;
  /** Accept AS_SET in AS_PATH. Default false: such routes are treated as withdrawn (RFC 9774 3). */
  readonly acceptAsSet?: boolean;
}

/** Communities that change what a speaker does (RFC 1997, 8326, 7999, 9494), as bits of `communityFlags`. */
export const communityFlag = {
  noExport: 1,
  noAdvertise: 2,
  noExportSubconfed: 4,
  gracefulShutdown: 8,
  blackhole: 16,
  llgrStale: 32,
  noLlgr: 64,
  /** No community: the route carries ONLY_TO_CUSTOMER (RFC 9234), which is asked for at the same places. */
  onlyToCustomer: 128,
} as const;

/** Numbers of an attribute set that the decision process compares. */
export interface AttributeValues {
  /** 0 IGP, 1 EGP, 2 INCOMPLETE. */
  origin: number;
  /** RFC 4271 9.1.2.2: an AS_SET counts as 1, confederation segments as 0. */
  asPathLength: number;
  /** Leftmost AS of an AS_SEQUENCE: the neighbouring AS for MED comparison; 0 when the path is empty. */
  firstAsn: number;
  /** How often `localAsn` stands in AS_PATH. */
  ownAsnCount: number;
  /** -1: absent. */
  med: number;
  /** -1: absent. */
  localPref: number;
  /** Unsigned 32 bit; -1: absent. */
  originatorId: number;
  /** Number of entries. */
  clusterListLength: number;
  /** Our cluster stands in CLUSTER_LIST, or our router id is ORIGINATOR_ID (RFC 4456 8). */
  reflectionLoop: boolean;
  /** Bits of {@link communityFlag}. */
  communityFlags: number;
  /** Bytes per second (RFC 10005); -1: absent. */
  linkBandwidth: number;
}

/**
 * What to do with an UPDATE (RFC 7606).
 * - `accept`: apply withdrawals and announcements.
 * - `withdraw`: apply withdrawals, and treat every announced prefix (NLRI and MP_REACH) as withdrawn. Error in `error`.
 * - `reset`: send `error` and close. Nothing may be applied.
 */
export type Disposition = 'accept' | 'withdraw' | 'reset';

/**
 * One decoded UPDATE. Made once per session with `createUpdateView`, overwritten by each `decodeUpdate`; all offsets are
 * into `bytes` and valid as long as those are.
 */
export interface UpdateView extends AttributeValues {
  bytes: Uint8Array;
  disposition: Disposition;
  /** Why not `accept`; undefined for `accept`. */
  error: ProtocolError | undefined;
  /** Number of attributes dropped under RFC 7606 "attribute discard", and the types of the first ones, for the log. */
  discardedCount: number;
  readonly discardedTypes: Uint8Array;
  /** Classic withdrawn routes and NLRI (IPv4 unicast). Empty when IPv4 unicast was not negotiated. */
  withdrawnStart: number;
  withdrawnEnd: number;
  nlriStart: number;
  nlriEnd: number;
  /** NEXT_HOP; -1 when absent. */
  nextHopStart: number;
  /** 0: no MP_REACH of a negotiated family. */
  mpReachFamily: IpFamily | 0;
  mpReachNlriStart: number;
  mpReachNlriEnd: number;
  /** 4, 16 or 32 bytes (IPv4; IPv6, global or link-local; IPv6 global then link-local). */
  mpNextHopStart: number;
  mpNextHopLength: number;
  mpUnreachFamily: IpFamily | 0;
  mpUnreachStart: number;
  mpUnreachEnd: number;
  /** 4 or 6: this message is End-of-RIB of that (negotiated) family. */
  endOfRib: IpFamily | 0;
  /** Path attributes as received. */
  attributesStart: number;
  attributesEnd: number;
  /** COMMUNITIES value; equal when absent. */
  communitiesStart: number;
  communitiesEnd: number;
  /** AS_PATH value as received (width by context); equal when absent or empty. */
  asPathStart: number;
  asPathEnd: number;
  /** Internal, by type: offset of the flags byte where the attribute is kept, -1 where it was dropped, 0 where absent. */
  readonly slots: Int32Array;
  /** Internal: the types seen, in order of arrival. */
  readonly slotTypes: Uint8Array;
  slotCount: number;
  /** Internal: AS_PATH of a 2-octet peer, widened and merged with AS4_PATH (RFC 6793 4.2.3). */
  readonly widePath: Uint8Array;
  widePathLength: number;
}

/**
 * Walks a byte range of prefixes of one family. After `next()` returned true, `words` holds the address as big-endian
 * 32 bit words, signed, host bits cleared (IPv4: `words[0]` alone) and `bits` the length.
 */
export interface PrefixCursor {
  readonly words: Int32Array;
  bits: number;
  /** Path identifier in front of the prefix, unsigned 32 bit; 0 where there are none. */
  pathId: number;
  /** Prefixes skipped because they are multicast or loopback (RFC 4271 6.3), since `reset`. */
  ignoredCount: number;
  /** @param withPathIds default false. */
  reset(family: IpFamily, bytes: Uint8Array, start: number, end: number, withPathIds?: boolean): void;
  next(): boolean;
}

// -------------------------------------------------------------------------------------------------------------- export

/** How a canonical attribute set changes on its way to a peer. */
export interface ExportContext {
  readonly ebgp: boolean;
  readonly asn4: boolean;
  readonly localAsn: number;
  /** Of the peer's messages; default {@link messageBytesMax}. */
  readonly messageBytesMax?: number;
  /** ONLY_TO_CUSTOMER of `localAsn` is added where there is none (RFC 9234 5). */
  readonly addOnlyToCustomer?: boolean;
  /** From one internal peer to another (RFC 4456 8): whom the route came from, and our cluster. Both unsigned. */
  readonly reflection?: { readonly originatorId: number; readonly clusterId: number } | undefined;
  /** eBGP only: keep MULTI_EXIT_DISC (it is ours); false: drop it (it was learned; RFC 4271 5.1.4). */
  readonly keepMed: boolean;
}

/**
 * Path attributes ready to send, all but next hop and NLRI. `bytes[0..split)` comes before NEXT_HOP, `[split..length)`
 * after. Made with `createExportedAttributes`, reused.
 */
export interface ExportedAttributes {
  readonly bytes: Uint8Array;
  split: number;
  length: number;
}

export interface ChunkTaker {
  /** Whole messages: the first `length` octets. All of `bytes` belong to the receiver; part of them only for the call. */
  take(bytes: Uint8Array, length: number): void;
}

/**
 * Packs prefixes into as few UPDATEs as the peers' longest message allows, and messages into large chunks for the socket.
 *
 * Call `startAnnounce` or `startWithdraw` per attribute set, `add4` / `add6` per prefix, `endOfRib` where due, `flush` at
 * the end.
 */
export interface UpdatePacker {
  /** `useAttributes` and `start`. */
  startAnnounce(family: IpFamily, attributes: ExportedAttributes, nextHop: Uint8Array): boolean;
  /** Of announcements from now on; copied, and kept whatever else is packed in between. */
  useAttributes(attributes: ExportedAttributes): void;
  /**
   * Announcements with the attributes in use, or withdrawals: one way through the code, see `Rib.change`.
   *
   * @param nextHop 4 bytes (IPv4), 16 or 32 bytes (IPv6; of IPv4 prefixes too, where RFC 8950 is negotiated); undefined: withdrawals.
   * @param multiprotocol withdrawals of IPv4 prefixes, too, are MP_UNREACH_NLRI, as they may have been announced (RFC 8950).
   * @returns false when the attributes leave no room for a prefix: announce nothing with them (withdraw instead).
   */
  start(family: IpFamily, nextHop: Uint8Array | undefined, multiprotocol: boolean): boolean;
  /** `start` of withdrawals. */
  startWithdraw(family: IpFamily, multiprotocol?: boolean): void;
  /** `address` as a 32 bit word, signed or not; host bits must be clear. */
  add4(address: number, bits: number): void;
  add6(w0: number, w1: number, w2: number, w3: number, bits: number): void;
  /** Path identifier of the prefixes added from now on, unsigned 32 bit; of no effect on a packer without them. */
  pathId: number;
  endOfRib(family: IpFamily): void;
  /** Closes the open message and hands over what there is. */
  flush(): void;
  /** Since creation. */
  readonly messageCount: number;
  readonly prefixCount: number;
}

/** Attributes of a route that we originate; input of `originatedAttributes`. */
export interface OriginatedRoute {
  /** Default 0, IGP. */
  readonly origin?: 0 | 1 | 2;
  readonly med?: number;
  readonly localPref?: number;
  /** 32 bit values; any order. */
  readonly communities?: readonly number[];
}

/** Readable form of canonical attributes, for looking glass and logs. */
export interface AttributeText {
  readonly origin: 'IGP' | 'EGP' | 'INCOMPLETE';
  /** `64512 64513 {64514,64515}`; empty for a local route. */
  readonly asPath: string;
  readonly med?: number;
  readonly localPref?: number;
  readonly atomicAggregate?: true;
  /** `64512 192.0.2.1`. */
  readonly aggregator?: string;
  /** `64512:100`, well-known ones by name (`no-export`). */
  readonly communities?: readonly string[];
  /** `64512:1:2`. */
  readonly largeCommunities?: readonly string[];
  /** 16 hex digits each. */
  readonly extendedCommunities?: readonly string[];
  readonly originatorId?: string;
  readonly clusterList?: readonly string[];
  /** AS number (RFC 9234). */
  readonly onlyToCustomer?: number;
  /** Attributes passed on without being understood. */
  readonly others?: readonly { readonly type: number; readonly flags: number; readonly hex: string }[];
}

/*
 * Functions (all exported by index.ts):
 *
 * framer.ts        createFramer(): Framer
 *                  checkHeader(bytes, start): ProtocolError | undefined      (needs 19 bytes)
 * open.ts          encodeOpen(open: OpenMessage): Uint8Array                 (whole message)
 *                  decodeOpen(bytes, start, end): Decoded<OpenMessage>       (start: header, as from the framer)
 *                  negotiate(local: OpenMessage, remote: OpenMessage): Negotiated
 * notification.ts  encodeNotification(n: Notification): Uint8Array
 *                  decodeNotification(bytes, start, end): Notification
 *                  describeNotification(n: Notification): string             (`Cease/Administrative Shutdown: "text"`)
 *                  shutdownData(text: string): Uint8Array                    (RFC 9003 data)
 *                  errorCode, ceaseSubcode, ... constants
 * refresh.ts       encodeRouteRefresh(family): Uint8Array
 *                  decodeRouteRefresh(bytes, start, end): Decoded<RouteRefresh>
 * message.ts       encodeKeepalive(): Uint8Array
 *                  encodeEndOfRib(family: IpFamily): Uint8Array
 * update.ts        createUpdateView(): UpdateView
 *                  updateContext(negotiated: Negotiated): UpdateContext
 *                  decodeUpdate(view, context, bytes, start, end): Disposition
 * prefix.ts        createPrefixCursor(): PrefixCursor
 * canonical.ts     canonicalAttributes(view, out: Uint8Array, offset: number): number   (end in out)
 *                  originatedAttributes(route: OriginatedRoute): Uint8Array
 *                  readCanonical(bytes, start, end, localAsn, localRouterId, values: AttributeValues): void
 * export.ts        createExportedAttributes(): ExportedAttributes
 *                  exportAttributes(bytes, start, end, context: ExportContext, out: ExportedAttributes): boolean
 *                  (false: longer than a message can carry; do not announce)
 * packer.ts        createUpdatePacker(take: (chunk: Uint8Array) => void, bytesMax?, withPathIds?): UpdatePacker
 *                  createUpdatePackerFor(taker: ChunkTaker, bytesMax, withPathIds): UpdatePacker
 * text.ts          describeAttributes(bytes, start, end): AttributeText
 *                  dottedQuad(value: number): string
 */
