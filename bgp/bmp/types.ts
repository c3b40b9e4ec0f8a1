/** What BMP is told by its speaker, and what it tells. */
import type { IpFamily } from '#kit';
import type { Membership } from '../speaker/groups.ts';

/** Tables that a station can be sent: RFC 7854, RFC 8671, RFC 9069. */
export type BmpTable = 'pre-policy' | 'post-policy' | 'adj-rib-out-pre-policy' | 'adj-rib-out' | 'loc-rib';
export const bmpTables: readonly BmpTable[] = [
  'pre-policy',
  'post-policy',
  'adj-rib-out-pre-policy',
  'adj-rib-out',
  'loc-rib',
];

/** A monitoring station that is connected to. */
export interface BmpStationConfig {
  /** Unique. */
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly localAddress?: string;
  /** Nothing but the state of peers when empty. */
  readonly monitor: readonly BmpTable[];
  /** False: of several paths of the Loc-RIB that share the load only the best is told, without identifiers. Default true. */
  readonly multipath?: boolean;
  /** Between statistics reports; 0 or absent: none. */
  readonly statisticsSec?: number;
  /** First wait before another attempt to connect, 1..720 s; it doubles. Default 30 (RFC 7854 3.2). */
  readonly connectRetrySec?: number;
}

/** Since the session came up. */
export interface BmpPeerCounters {
  readonly prefixesRejected: number;
  readonly asPathLoops: number;
  readonly originatorLoops: number;
  readonly clusterListLoops: number;
  readonly updatesTreatedAsWithdraw: number;
  readonly prefixesTreatedAsWithdraw: number;
  /** See `UpdateCounters`: those that are known. */
  readonly duplicateAnnouncements: number;
  readonly duplicateWithdrawals: number;
  readonly duplicateUpdates: number;
}

/** An established session. */
export interface BmpPeer {
  readonly row: number;
  readonly name: string;
  readonly address: string;
  readonly asn: number;
  readonly routerId: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly remotePort: number;
  readonly openSent: Uint8Array;
  readonly openReceived: Uint8Array;
  /** Wall clock, microseconds; 0: not known. */
  readonly upAtUsec: number;
  readonly families: readonly IpFamily[];
  /** Those in which the peer sends path identifiers (RFC 7911). */
  readonly pathIdFamilies: readonly IpFamily[];
  /** Undefined where nothing is announced to the peer. */
  membership(family: IpFamily): Membership | undefined;
  counters(): BmpPeerCounters;
}

export interface BmpStationStatus {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly state: 'waiting' | 'connecting' | 'connected';
  readonly stateForMs: number;
  /** Why the last connection or attempt ended; empty: none did. */
  readonly lastError: string;
  /** Connections that came about. */
  readonly connectedCount: number;
  /** Connections that were ended because the station did not read. */
  readonly overflowCount: number;
  readonly messagesOut: number;
  readonly bytesOut: number;
  readonly queuedBytes: number;
}
