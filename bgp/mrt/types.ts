/** MRT records (RFC 6396, RFC 8050) as data. */
import type { Cidr, IpAddress, IpFamily } from '#kit';

/** RFC 6396 4, RFC 8050 4. */
export const mrtType = { tableDump: 12, tableDumpV2: 13, bgp4mp: 16, bgp4mpEt: 17 } as const;

/** RFC 6396 4.3, RFC 8050 4. */
export const tableDumpV2Subtype = {
  peerIndexTable: 1,
  ribIpv4Unicast: 2,
  ribIpv4Multicast: 3,
  ribIpv6Unicast: 4,
  ribIpv6Multicast: 5,
  ribGeneric: 6,
  ribIpv4UnicastAddPath: 8,
  ribIpv4MulticastAddPath: 9,
  ribIpv6UnicastAddPath: 10,
  ribIpv6MulticastAddPath: 11,
  ribGenericAddPath: 12,
} as const;

/** RFC 6396 4.4, RFC 8050 3. */
export const bgp4mpSubtype = {
  stateChange: 0,
  message: 1,
  messageAs4: 4,
  stateChangeAs4: 5,
  messageLocal: 6,
  messageAs4Local: 7,
  messageAddPath: 8,
  messageAs4AddPath: 9,
  messageLocalAddPath: 10,
  messageAs4LocalAddPath: 11,
} as const;

/** RFC 6396 4.4.1: states of the session's state machine. */
export const mrtState = { Idle: 1, Connect: 2, Active: 3, OpenSent: 4, OpenConfirm: 5, Established: 6 } as const;

export const mrtHeaderBytes = 12;

/** Wall clock. */
export interface MrtTime {
  readonly sec: number;
  /** 0 in records without extended time. */
  readonly usec: number;
}

/** The session that a record is about. */
export interface MrtSession {
  readonly peerAsn: number;
  readonly localAsn: number;
  readonly ifIndex: number;
  readonly peerAddress: IpAddress;
  readonly localAddress: IpAddress;
}

export interface MrtPeer {
  /** Unsigned 32 bit. */
  readonly routerId: number;
  readonly address: IpAddress;
  readonly asn: number;
}

export interface MrtRibEntry {
  /** Into the table of the last `peerIndex` record. */
  readonly peerIndex: number;
  readonly originatedSec: number;
  /** RFC 8050. */
  readonly pathId?: number;
  /** As RFC 6396 4.3.4 has them: AS numbers of 4 octets, MP_REACH of the next hop alone. */
  readonly attributes: Uint8Array;
}

export type MrtRecord =
  | {
      readonly type: 'peerIndex';
      readonly time: MrtTime;
      readonly collectorId: number;
      readonly viewName: string;
      readonly peers: readonly MrtPeer[];
    }
  | {
      readonly type: 'rib';
      readonly time: MrtTime;
      readonly family: IpFamily;
      readonly multicast: boolean;
      readonly sequence: number;
      readonly prefix: Cidr;
      readonly entries: readonly MrtRibEntry[];
    }
  /** TABLE_DUMP, the older form: one path a record, AS numbers of 2 octets. */
  | {
      readonly type: 'tableEntry';
      readonly time: MrtTime;
      readonly family: IpFamily;
      readonly view: number;
      readonly sequence: number;
      readonly prefix: Cidr;
      readonly originatedSec: number;
      readonly peerAddress: IpAddress;
      readonly peerAsn: number;
      readonly attributes: Uint8Array;
    }
  | ({
      readonly type: 'message';
      readonly time: MrtTime;
      /** AS numbers in the message are 4 octets wide. */
      readonly asn4: boolean;
      readonly addPath: boolean;
      /** The message was sent by the speaker that wrote the record. */
      readonly local: boolean;
      /** A whole BGP message, header included; its own length field is not checked. */
      readonly message: Uint8Array;
    } & MrtSession)
  | ({
      readonly type: 'stateChange';
      readonly time: MrtTime;
      readonly oldState: number;
      readonly newState: number;
    } & MrtSession)
  /** Whole, and of a kind that is not read here. */
  | { readonly type: 'other'; readonly time: MrtTime; readonly mrtType: number; readonly subtype: number }
  | {
      readonly type: 'malformed';
      readonly time: MrtTime;
      readonly mrtType: number;
      readonly subtype: number;
      readonly reason: string;
    };
