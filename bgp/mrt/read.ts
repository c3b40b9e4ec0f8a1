/**
 * Reads MRT. Total: whatever the bytes, it ends, throws nothing and reads nothing beyond them; what is broken becomes a
 * `malformed` record, and the next record is found by the length in the header.
 */
import { type Cidr, formatIp, type IpAddress, type IpFamily, toCidr } from '#kit';
import { read16, read32 } from '../wire/bytes.ts';
import {
  bgp4mpSubtype,
  type MrtPeer,
  type MrtRecord,
  type MrtRibEntry,
  type MrtSession,
  type MrtTime,
  mrtHeaderBytes,
  mrtType,
  tableDumpV2Subtype,
} from './types.ts';

/** No record that a router writes is longer; a longer one is garbage, and what follows cannot be found. */
export const mrtRecordBytesMax = 16 * 1024 * 1024;
const textDecoder = new TextDecoder();
const peerIsIpv6 = 1;
const peerHasAsn4 = 2;

/** All records of a file; stops after the first that is cut short or too long. */
export function* readMrt(bytes: Uint8Array): Generator<MrtRecord> {
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < mrtHeaderBytes) {
      const time = { sec: 0, usec: 0 };
      yield { type: 'malformed', time, mrtType: 0, subtype: 0, reason: 'the last record has less than a header' };
      return;
    }
    const length = read32(bytes, at + 8);
    const start = at + mrtHeaderBytes;
    if (length > mrtRecordBytesMax || length > bytes.length - start) {
      const reason = `a record of ${length} octets where ${bytes.length - start} are left`;
      yield { type: 'malformed', ...headOf(bytes, at), reason };
      return;
    }
    yield readRecord(bytes, at, start + length);
    at = start + length;
  }
}

interface Head {
  readonly time: MrtTime;
  readonly mrtType: number;
  readonly subtype: number;
}

function headOf(bytes: Uint8Array, at: number): Head {
  return { time: { sec: read32(bytes, at), usec: 0 }, mrtType: read16(bytes, at + 4), subtype: read16(bytes, at + 6) };
}

/** The record whose header is at `at` and that ends at `end`. */
function readRecord(bytes: Uint8Array, at: number, end: number): MrtRecord {
  const head = headOf(bytes, at);
  const cursor = new Cursor(bytes, at + mrtHeaderBytes, end);
  const record = readBody(head, cursor);
  if (cursor.failed) return { type: 'malformed', ...head, reason: `record type ${head.mrtType} is cut short` };
  return record;
}

/** Where the cursor ran out, the result is thrown away. */
function readBody(head: Head, cursor: Cursor): MrtRecord {
  switch (head.mrtType) {
    case mrtType.tableDump:
      return readTableDump(head, cursor);
    case mrtType.tableDumpV2:
      return readTableDumpV2(head, cursor);
    case mrtType.bgp4mp:
      return readBgp4mp(head, cursor);
    case mrtType.bgp4mpEt:
      return readBgp4mp({ ...head, time: { sec: head.time.sec, usec: cursor.u32() } }, cursor);
    default:
      return { type: 'other', ...head };
  }
}

/** RFC 6396 4.2. */
function readTableDump(head: Head, cursor: Cursor): MrtRecord {
  const family = familyOf(head.subtype);
  if (!family) return { type: 'other', ...head };
  const view = cursor.u16();
  const sequence = cursor.u16();
  const address = cursor.address(family);
  const bits = cursor.u8();
  cursor.u8(); // Status: always 1.
  const originatedSec = cursor.u32();
  const peerAddress = cursor.address(family);
  const peerAsn = cursor.u16();
  const attributes = cursor.take(cursor.u16());
  if (bits > addressBits(family)) return { type: 'malformed', ...head, reason: `a prefix of ${bits} bits` };
  const prefix = toCidr(`${address}/${bits}`);
  if (!prefix) return { type: 'malformed', ...head, reason: 'a prefix that is none' };
  const { time } = head;
  return {
    type: 'tableEntry',
    time,
    family,
    view,
    sequence,
    prefix,
    originatedSec,
    peerAddress,
    peerAsn,
    attributes,
  };
}

function readTableDumpV2(head: Head, cursor: Cursor): MrtRecord {
  const { ribIpv4Multicast, ribIpv6Multicast, ribIpv4MulticastAddPath, ribIpv6MulticastAddPath } = tableDumpV2Subtype;
  const { subtype } = head;
  switch (subtype) {
    case tableDumpV2Subtype.peerIndexTable:
      return readPeerIndex(head, cursor);
    case tableDumpV2Subtype.ribIpv4Unicast:
    case ribIpv4Multicast:
      return readRib(head, cursor, 4, subtype === ribIpv4Multicast, false);
    case tableDumpV2Subtype.ribIpv6Unicast:
    case ribIpv6Multicast:
      return readRib(head, cursor, 6, subtype === ribIpv6Multicast, false);
    case tableDumpV2Subtype.ribIpv4UnicastAddPath:
    case ribIpv4MulticastAddPath:
      return readRib(head, cursor, 4, subtype === ribIpv4MulticastAddPath, true);
    case tableDumpV2Subtype.ribIpv6UnicastAddPath:
    case ribIpv6MulticastAddPath:
      return readRib(head, cursor, 6, subtype === ribIpv6MulticastAddPath, true);
    default:
      return { type: 'other', ...head };
  }
}

/** RFC 6396 4.3.1. */
function readPeerIndex(head: Head, cursor: Cursor): MrtRecord {
  const collectorId = cursor.u32();
  const viewName = textDecoder.decode(cursor.take(cursor.u16()));
  const count = cursor.u16();
  const peers: MrtPeer[] = [];
  for (let i = 0; i < count && !cursor.failed; i++) {
    const kind = cursor.u8();
    const routerId = cursor.u32();
    const address = cursor.address((kind & peerIsIpv6) !== 0 ? 6 : 4);
    peers.push({ routerId, address, asn: (kind & peerHasAsn4) !== 0 ? cursor.u32() : cursor.u16() });
  }
  return { type: 'peerIndex', time: head.time, collectorId, viewName, peers };
}

/** RFC 6396 4.3.2 and 4.3.4, RFC 8050 4.1. */
function readRib(head: Head, cursor: Cursor, family: IpFamily, multicast: boolean, addPath: boolean): MrtRecord {
  const sequence = cursor.u32();
  const bits = cursor.u8();
  if (bits > addressBits(family)) return { type: 'malformed', ...head, reason: `a prefix of ${bits} bits` };
  const prefix = cursor.prefix(family, bits);
  const count = cursor.u16();
  const entries: MrtRibEntry[] = [];
  for (let i = 0; i < count && !cursor.failed; i++) {
    const peerIndex = cursor.u16();
    const originatedSec = cursor.u32();
    const path = addPath ? { pathId: cursor.u32() } : {};
    entries.push({ peerIndex, originatedSec, ...path, attributes: cursor.take(cursor.u16()) });
  }
  return { type: 'rib', time: head.time, family, multicast, sequence, prefix, entries };
}

interface MessageShape {
  readonly asn4: boolean;
  readonly addPath: boolean;
  readonly local: boolean;
}

const messageShapes: ReadonlyMap<number, MessageShape> = new Map([
  [bgp4mpSubtype.message, { asn4: false, addPath: false, local: false }],
  [bgp4mpSubtype.messageAs4, { asn4: true, addPath: false, local: false }],
  [bgp4mpSubtype.messageLocal, { asn4: false, addPath: false, local: true }],
  [bgp4mpSubtype.messageAs4Local, { asn4: true, addPath: false, local: true }],
  [bgp4mpSubtype.messageAddPath, { asn4: false, addPath: true, local: false }],
  [bgp4mpSubtype.messageAs4AddPath, { asn4: true, addPath: true, local: false }],
  [bgp4mpSubtype.messageLocalAddPath, { asn4: false, addPath: true, local: true }],
  [bgp4mpSubtype.messageAs4LocalAddPath, { asn4: true, addPath: true, local: true }],
]);

/** RFC 6396 4.4, RFC 8050 3. */
function readBgp4mp(head: Head, cursor: Cursor): MrtRecord {
  const { stateChange, stateChangeAs4 } = bgp4mpSubtype;
  const { subtype, time } = head;
  const shape = messageShapes.get(subtype);
  if (!shape && subtype !== stateChange && subtype !== stateChangeAs4) return { type: 'other', ...head };
  const wide = shape ? shape.asn4 : subtype === stateChangeAs4;
  const peerAsn = wide ? cursor.u32() : cursor.u16();
  const localAsn = wide ? cursor.u32() : cursor.u16();
  const ifIndex = cursor.u16();
  const afi = cursor.u16();
  const family = familyOf(afi);
  if (!family) return { type: 'malformed', ...head, reason: `address family ${afi} of a session is unknown` };
  const peerAddress = cursor.address(family);
  const session: MrtSession = { peerAsn, localAsn, ifIndex, peerAddress, localAddress: cursor.address(family) };
  if (shape) return { type: 'message', time, ...session, ...shape, message: cursor.rest() };
  return { type: 'stateChange', time, ...session, oldState: cursor.u16(), newState: cursor.u16() };
}

function familyOf(afi: number): IpFamily | undefined {
  return afi === 1 ? 4 : afi === 2 ? 6 : undefined;
}
function addressBits(family: IpFamily): number {
  return family === 4 ? 32 : 128;
}

/** Reads forward within bounds; beyond them it gives zeros and remembers that it did. */
class Cursor {
  failed = false;
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }
  u8(): number {
    const at = this.#move(1);
    return at < 0 ? 0 : this.#bytes[at]!;
  }
  u16(): number {
    const at = this.#move(2);
    return at < 0 ? 0 : read16(this.#bytes, at);
  }
  u32(): number {
    const at = this.#move(4);
    return at < 0 ? 0 : read32(this.#bytes, at);
  }
  /** A view, not a copy. */
  take(count: number): Uint8Array {
    const at = this.#move(count);
    return at < 0 ? new Uint8Array(0) : this.#bytes.subarray(at, at + count);
  }
  rest(): Uint8Array {
    return this.take(this.#end - this.#at);
  }
  address(family: IpFamily): IpAddress {
    const size = family === 4 ? 4 : 16;
    const bytes = this.take(size);
    return formatIp(bytes.length === size ? bytes : new Uint8Array(size));
  }
  /** `bits` is in range; host bits are cleared. */
  prefix(family: IpFamily, bits: number): Cidr {
    const address = new Uint8Array(addressBits(family) >> 3);
    address.set(this.take((bits + 7) >> 3));
    if ((bits & 7) !== 0) address[bits >> 3]! &= 0xff00 >> (bits & 7);
    return `${formatIp(address)}/${bits}` as Cidr;
  }

  #move(count: number): number {
    if (this.failed || count > this.#end - this.#at) {
      this.failed = true;
      return -1;
    }
    const at = this.#at;
    this.#at += count;
    return at;
  }
}
