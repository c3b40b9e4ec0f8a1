/** BMP messages (RFC 7854 4, RFC 8671, RFC 9069), written. Addresses are text; anything that is none goes out as zeros. */
import { parseIp } from '#kit';
import type { ByteWriter } from '../wire/byte-writer.ts';
import { read16 } from '../wire/bytes.ts';
import { headerBytes } from '../wire/types.ts';

/** RFC 7854 4.1. */
export const bmpVersion = 3;
export const bmpType = {
  routeMonitoring: 0,
  statistics: 1,
  peerDown: 2,
  peerUp: 3,
  initiation: 4,
  termination: 5,
} as const;

/** RFC 7854 4.2, RFC 9069 4.1. */
export const bmpPeerType = { global: 0, locRib: 3 } as const;
/** Flags of a global instance peer: RFC 7854 4.2, RFC 8671 4. */
export const bmpPeerFlag = { ipv6: 0x80, postPolicy: 0x40, asn2: 0x20, adjRibOut: 0x10 } as const;

/** RFC 7854 4.9, RFC 9069 5.3. */
export const peerDownReason = {
  localNotification: 1,
  localSilent: 2,
  remoteNotification: 3,
  remoteSilent: 4,
  deconfigured: 5,
  locRib: 6,
} as const;

/** RFC 7854 4.4 and 4.10 (strings), 4.5 (termination), RFC 9069 5.2.1 (table name). */
const initiationTlv = { text: 0, sysDescr: 1, sysName: 2 } as const;
const terminationTlv = { text: 0, reason: 1 } as const;
const tableNameTlv = 3;
export const terminationReason = { administrativelyClosed: 0, outOfResources: 2 } as const;

/** RFC 7854 4.8, RFC 8671 6.2: numbers of statistics. Widths and families are theirs. */
export const bmpStatistic = {
  prefixesRejected: 0,
  duplicateAnnouncements: 1,
  duplicateWithdrawals: 2,
  clusterListLoops: 3,
  asPathLoops: 4,
  originatorLoops: 5,
  confederationLoops: 6,
  adjRibIn: 7,
  locRib: 8,
  adjRibInByFamily: 9,
  locRibByFamily: 10,
  updatesTreatedAsWithdraw: 11,
  prefixesTreatedAsWithdraw: 12,
  duplicateUpdates: 13,
  adjRibOutPrePolicy: 14,
  adjRibOutPostPolicy: 15,
  adjRibOutPrePolicyByFamily: 16,
  adjRibOutPostPolicyByFamily: 17,
} as const;

/** Strings of any length are legal; ours are names and descriptions. */
const textBytesMax = 255;
const textEncoder = new TextEncoder();

/** Who a message is about: the per-peer header. */
export interface BmpPeerHeader {
  readonly type: number;
  readonly flags: number;
  /** Of the peer; absent for the Loc-RIB, where it is zero. */
  readonly address?: string;
  readonly asn: number;
  /** Unsigned 32 bit. */
  readonly routerId: number;
}

/** Begins a message; `endMessage` fills in its length. */
export function beginMessage(out: ByteWriter, type: number): number {
  const start = out.length;
  out.u8(bmpVersion).u32(0).u8(type);
  return start;
}
export function endMessage(out: ByteWriter, start: number): void {
  out.patch32(start + 1, out.length - start);
}

/** 16 octets: an IPv4 address in the last four. */
function writeAddress(out: ByteWriter, text: string | undefined): void {
  const bytes = parseIp(text ?? '') ?? new Uint8Array(0);
  out.zeros(16 - bytes.length).bytes(bytes);
}

/** @param wallUsec microseconds of the wall clock; 0: the time is not known (RFC 7854 4.2). */
export function writePeerHeader(out: ByteWriter, peer: BmpPeerHeader, wallUsec: number): void {
  const ipv6 = peer.address?.includes(':') ? bmpPeerFlag.ipv6 : 0;
  out.u8(peer.type).u8(peer.flags | ipv6);
  out.zeros(8);
  writeAddress(out, peer.address);
  out.u32(peer.asn).u32(peer.routerId);
  out.u32(Math.floor(wallUsec / 1e6)).u32(Math.floor(wallUsec % 1e6));
}

function writeText(out: ByteWriter, type: number, text: string): void {
  const bytes = textEncoder.encode(text).subarray(0, textBytesMax);
  out.u16(type).u16(bytes.length).bytes(bytes);
}

/** RFC 7854 4.3: sysName and sysDescr are there, further strings may be. */
export function writeInitiation(
  out: ByteWriter,
  system: { readonly name: string; readonly description: string },
  strings: readonly string[] = [],
): void {
  const start = beginMessage(out, bmpType.initiation);
  writeText(out, initiationTlv.sysDescr, system.description);
  writeText(out, initiationTlv.sysName, system.name);
  for (const text of strings) writeText(out, initiationTlv.text, text);
  endMessage(out, start);
}

/** RFC 7854 4.5. */
export function writeTermination(out: ByteWriter, reason: number, text: string): void {
  const start = beginMessage(out, bmpType.termination);
  writeText(out, terminationTlv.text, text);
  out.u16(terminationTlv.reason).u16(2).u16(reason);
  endMessage(out, start);
}

export interface BmpPeerUp {
  /** Absent for the Loc-RIB, as the ports are 0 there (RFC 9069 5.2). */
  readonly localAddress?: string;
  readonly localPort: number;
  readonly remotePort: number;
  /** Whole messages. */
  readonly openSent: Uint8Array;
  readonly openReceived: Uint8Array;
  /** RFC 9069 5.2.1. */
  readonly tableName?: string;
}

/** RFC 7854 4.10. */
export function writePeerUp(out: ByteWriter, peer: BmpPeerHeader, wallUsec: number, up: BmpPeerUp): void {
  const start = beginMessage(out, bmpType.peerUp);
  writePeerHeader(out, peer, wallUsec);
  writeAddress(out, up.localAddress);
  out.u16(up.localPort).u16(up.remotePort);
  out.bytes(up.openSent).bytes(up.openReceived);
  if (up.tableName !== undefined) writeText(out, tableNameTlv, up.tableName);
  endMessage(out, start);
}

/** What follows a reason: a whole NOTIFICATION (1, 3), the number of an FSM event (2), a table name (6), or nothing. */
export type BmpPeerDown =
  | {
      readonly reason: typeof peerDownReason.localNotification | typeof peerDownReason.remoteNotification;
      readonly notification: Uint8Array;
    }
  | { readonly reason: typeof peerDownReason.localSilent; readonly fsmEvent: number }
  | { readonly reason: typeof peerDownReason.remoteSilent | typeof peerDownReason.deconfigured }
  | { readonly reason: typeof peerDownReason.locRib; readonly tableName: string };

/** RFC 7854 4.9. */
export function writePeerDown(out: ByteWriter, peer: BmpPeerHeader, wallUsec: number, down: BmpPeerDown): void {
  const start = beginMessage(out, bmpType.peerDown);
  writePeerHeader(out, peer, wallUsec);
  out.u8(down.reason);
  if ('notification' in down) out.bytes(down.notification);
  else if ('fsmEvent' in down) out.u16(down.fsmEvent);
  else if ('tableName' in down) writeText(out, tableNameTlv, down.tableName);
  endMessage(out, start);
}

/** RFC 7854 4.6: one message for each of the whole UPDATEs in `updates`. Returns how many. */
export function writeRouteMonitoring(
  out: ByteWriter,
  peer: BmpPeerHeader,
  wallUsec: number,
  updates: Uint8Array,
): number {
  let count = 0;
  for (let at = 0; at + headerBytes <= updates.length; count++) {
    const end = at + Math.max(headerBytes, read16(updates, at + 16));
    const start = beginMessage(out, bmpType.routeMonitoring);
    writePeerHeader(out, peer, wallUsec);
    out.bytes(updates, at, Math.min(end, updates.length));
    endMessage(out, start);
    at = end;
  }
  return count;
}

export interface BmpStatistic {
  /** Of `bmpStatistic`. */
  readonly type: number;
  readonly value: number;
  /** Given where the type is one by address family. */
  readonly afi?: 1 | 2;
}

/** Counters are 32 bits wide and wrap, gauges 64 (RFC 7854 4.8). */
const counters: ReadonlySet<number> = new Set([
  bmpStatistic.prefixesRejected,
  bmpStatistic.duplicateAnnouncements,
  bmpStatistic.duplicateWithdrawals,
  bmpStatistic.clusterListLoops,
  bmpStatistic.asPathLoops,
  bmpStatistic.originatorLoops,
  bmpStatistic.confederationLoops,
  bmpStatistic.updatesTreatedAsWithdraw,
  bmpStatistic.prefixesTreatedAsWithdraw,
  bmpStatistic.duplicateUpdates,
]);
const unicast = 1;

/** RFC 7854 4.8. */
export function writeStatistics(
  out: ByteWriter,
  peer: BmpPeerHeader,
  wallUsec: number,
  statistics: readonly BmpStatistic[],
): void {
  const start = beginMessage(out, bmpType.statistics);
  writePeerHeader(out, peer, wallUsec);
  out.u32(statistics.length);
  for (const { type, value, afi } of statistics) {
    out.u16(type);
    if (counters.has(type)) out.u16(4).u32(value % 0x1_0000_0000);
    else if (afi === undefined) out.u16(8).u64(value);
    else out.u16(11).u16(afi).u8(unicast).u64(value);
  }
  endMessage(out, start);
}
