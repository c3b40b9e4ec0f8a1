/** Writes MRT records. AS numbers are always 4 octets wide where the record says so; addresses of a session are of one family. */
import { type IpFamily, parseIp } from '#kit';
import type { ByteWriter } from '../wire/byte-writer.ts';
import {
  bgp4mpSubtype,
  type MrtPeer,
  type MrtSession,
  type MrtTime,
  mrtHeaderBytes,
  mrtType,
  tableDumpV2Subtype,
} from './types.ts';

const textEncoder = new TextEncoder();
/** Peer type bits of PEER_INDEX_TABLE (RFC 6396 4.3.1). */
const peerIsIpv6 = 1;
const peerHasAsn4 = 2;

/** Starts a record whose body follows; `endRecord` fills in its length. */
function beginRecord(out: ByteWriter, sec: number, type: number, subtype: number): number {
  const start = out.length;
  out.u32(sec).u16(type).u16(subtype).u32(0);
  return start;
}
function endRecord(out: ByteWriter, start: number): void {
  out.patch32(start + 8, out.length - start - mrtHeaderBytes);
}

/** RFC 6396 3: the header of BGP4MP_ET has microseconds, which its length counts. */
function beginSession(out: ByteWriter, time: MrtTime, subtype: number, wide: boolean, session: MrtSession): number {
  const start = beginRecord(out, time.sec, mrtType.bgp4mpEt, subtype);
  const peer = parseIp(session.peerAddress) ?? new Uint8Array(4);
  const local = parseIp(session.localAddress) ?? new Uint8Array(peer.length);
  out.u32(time.usec);
  if (wide) out.u32(session.peerAsn).u32(session.localAsn);
  else out.u16(narrow(session.peerAsn)).u16(narrow(session.localAsn));
  out.u16(session.ifIndex).u16(peer.length === 4 ? 1 : 2);
  out.bytes(peer);
  // A session without a connection knows no address of its own.
  out.bytes(local.length === peer.length ? local : new Uint8Array(peer.length));
  return start;
}

/** AS_TRANS where two octets are too few (RFC 6793 9). */
function narrow(asn: number): number {
  return asn > 0xffff ? 23456 : asn;
}

/** BGP4MP_ET STATE_CHANGE_AS4; states as in `mrtState`. */
export function writeStateChange(
  out: ByteWriter,
  time: MrtTime,
  session: MrtSession,
  oldState: number,
  newState: number,
): void {
  const start = beginSession(out, time, bgp4mpSubtype.stateChangeAs4, true, session);
  out.u16(oldState).u16(newState);
  endRecord(out, start);
}

export interface MrtMessageKind {
  /** AS numbers in the message are 4 octets wide. */
  readonly asn4: boolean;
  readonly addPath: boolean;
  /** We sent it. */
  readonly local: boolean;
}

function messageSubtype({ asn4, addPath, local }: MrtMessageKind): number {
  if (addPath) {
    if (local) return asn4 ? bgp4mpSubtype.messageAs4LocalAddPath : bgp4mpSubtype.messageLocalAddPath;
    return asn4 ? bgp4mpSubtype.messageAs4AddPath : bgp4mpSubtype.messageAddPath;
  }
  if (local) return asn4 ? bgp4mpSubtype.messageAs4Local : bgp4mpSubtype.messageLocal;
  return asn4 ? bgp4mpSubtype.messageAs4 : bgp4mpSubtype.message;
}

/** BGP4MP_ET with the whole BGP message at `bytes[start..end)`. */
export function writeMessage(
  out: ByteWriter,
  time: MrtTime,
  session: MrtSession,
  kind: MrtMessageKind,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  const record = beginSession(out, time, messageSubtype(kind), kind.asn4, session);
  out.bytes(bytes, start, end);
  endRecord(out, record);
}

/** PEER_INDEX_TABLE: comes first, RIB entries name its peers by their place. */
export function writePeerIndex(
  out: ByteWriter,
  sec: number,
  collectorId: number,
  viewName: string,
  peers: readonly MrtPeer[],
): void {
  const start = beginRecord(out, sec, mrtType.tableDumpV2, tableDumpV2Subtype.peerIndexTable);
  const name = textEncoder.encode(viewName).subarray(0, 0xffff);
  out.u32(collectorId).u16(name.length).bytes(name).u16(peers.length);
  for (const peer of peers) {
    const address = parseIp(peer.address) ?? new Uint8Array(4);
    out.u8(peerHasAsn4 | (address.length === 16 ? peerIsIpv6 : 0));
    out.u32(peer.routerId).bytes(address).u32(peer.asn);
  }
  endRecord(out, start);
}

/** A RIB record that is open for entries: `ribEntry` for each, `endRib` at the end. */
export interface OpenRib {
  readonly start: number;
  readonly countAt: number;
  readonly addPath: boolean;
}

/**
 * RIB_IPV4_UNICAST or RIB_IPV6_UNICAST, or their ADD-PATH form (RFC 8050 4).
 *
 * @param words the prefix at `words[base]`, 1 or 4 big-endian words with host bits clear.
 */
export function beginRib(
  out: ByteWriter,
  sec: number,
  family: IpFamily,
  addPath: boolean,
  sequence: number,
  words: Int32Array,
  base: number,
  bits: number,
): OpenRib {
  const plain = family === 4 ? tableDumpV2Subtype.ribIpv4Unicast : tableDumpV2Subtype.ribIpv6Unicast;
  const start = beginRecord(out, sec, mrtType.tableDumpV2, addPath ? plain + 6 : plain);
  out.u32(sequence).u8(bits);
  for (let bit = 0; bit < bits; bit += 8) out.u8(words[base + (bit >> 5)]! >>> (24 - (bit & 31)));
  const countAt = out.length;
  out.u16(0);
  return { start, countAt, addPath };
}

/** The head of an entry; returns where its attribute length stands, for `endRibEntry` once the attributes are written. */
export function beginRibEntry(
  out: ByteWriter,
  rib: OpenRib,
  peerIndex: number,
  originatedSec: number,
  pathId: number,
): number {
  out.u16(peerIndex).u32(originatedSec);
  if (rib.addPath) out.u32(pathId);
  const lengthAt = out.length;
  out.u16(0);
  return lengthAt;
}
export function endRibEntry(out: ByteWriter, lengthAt: number): void {
  out.patch16(lengthAt, out.length - lengthAt - 2);
}
export function endRib(out: ByteWriter, rib: OpenRib, entries: number): void {
  out.patch16(rib.countAt, entries);
  endRecord(out, rib.start);
}
