/**
 * The Adj-RIB-Ins (after import policy) and our own routes as TABLE_DUMP_V2, a slice at a time.
 *
 * Each prefix is written as it stands when its turn comes; what changes between slices is in the dump or not, as with every
 * dump of a living table. A peer that was removed meanwhile, or that came, has no place in the peer index: its paths are left
 * out. Memory: one slice.
 */
import type { IpAddress, IpFamily } from '#kit';
import { localPeer, pathFlag, type Rib } from '../rib/index.ts';
import { attributeType, optionalNonTransitive, wellKnown } from '../wire/attribute-types.ts';
import { ByteWriter } from '../wire/byte-writer.ts';
import { valueEnd } from '../wire/update.ts';
import { beginRib, beginRibEntry, endRib, endRibEntry, writePeerIndex } from './write.ts';

export interface DumpPeer {
  /** Of the peer table; 0 is ourselves. */
  readonly row: number;
  readonly routerId: number;
  readonly address: IpAddress;
  readonly asn: number;
  /**
   * Seconds of the wall clock since when its routes can have been heard: paths carry no time of their own, so that this goes
   * out as their originated time.
   */
  readonly sinceSec: number;
}

export interface DumpTables {
  readonly ribs: readonly Rib[];
  readonly routerId: number;
  /** All peers with a router id, ourselves first. Asked once, at the start. */
  peers(): readonly DumpPeer[];
  /** Whether the row still belongs to the peer it belonged to at the start. */
  isStill(peer: DumpPeer): boolean;
}

/** A record has at most so many entries, and an index so many peers (16 bit counts). */
const entriesMax = 0xffff;
/** Octets that RFC 6396 4.3.4 leaves to the attributes of one entry. */
const attributeBytesMax = 0xffff;

export class TableDump {
  prefixCount = 0;
  pathCount = 0;
  readonly #tables: DumpTables;
  readonly #sec: number;
  readonly #out = new ByteWriter(64 * 1024);
  readonly #peers: readonly DumpPeer[];
  /** By row: place in the peer index plus 1. */
  readonly #indexOf: Uint16Array;
  #started = false;
  #rib = 0;
  #prefix = 0;
  #sequence = 0;

  /** @param sec wall clock: the time of all records. */
  constructor(tables: DumpTables, sec: number) {
    this.#tables = tables;
    this.#sec = sec;
    this.#peers = tables.peers().slice(0, entriesMax);
    this.#indexOf = new Uint16Array(this.#peers.reduce((most, { row }) => Math.max(most, row), 0) + 1);
    this.#peers.forEach(({ row }, index) => {
      this.#indexOf[row] = index + 1;
    });
  }

  /** The records of up to `limit` prefixes; undefined at the end. The first slice begins with the peer index. */
  next(limit: number): Uint8Array | undefined {
    if (!this.#started) {
      this.#started = true;
      writePeerIndex(this.#out, this.#sec, this.#tables.routerId, '', this.#peers);
    }
    let left = limit;
    for (const { ribs } = this.#tables; this.#rib < ribs.length; this.#rib++, this.#prefix = 0) {
      const rib = ribs[this.#rib]!;
      // Prefixes without paths cost next to nothing, but a table may have lost a million of them.
      for (; this.#prefix < rib.prefixes.limit && left > 0; this.#prefix++) {
        left--;
        if (rib.firstPath(this.#prefix) !== 0) this.#writePrefix(rib, this.#prefix);
      }
      if (left === 0) break;
    }
    if (this.#out.length > 0) return this.#out.take();
    return this.#rib < this.#tables.ribs.length ? new Uint8Array(0) : undefined;
  }

  #writePrefix(rib: Rib, prefix: number): void {
    const { prefixes, paths, family } = rib;
    const { words, stride, bits } = prefixes;
    const out = this.#out;
    const before = out.length;
    const addPath = hasPathIds(rib, prefix);
    const record = beginRib(out, this.#sec, family, addPath, this.#sequence, words, prefix * stride, bits[prefix]!);
    let entries = 0;
    for (let link = rib.firstPath(prefix); link > 0 && entries < entriesMax; link = paths.next[link - 1]!) {
      const path = link - 1;
      if ((paths.flags(path) & pathFlag.rejected) !== 0) continue;
      const peer = this.#peers[(this.#indexOf[paths.peer[path]!] ?? 0) - 1];
      if (!peer || !this.#tables.isStill(peer)) continue;
      const attributes = rib.tables.attributes.copy(paths.attributes[path]!);
      const hop = rib.tables.nextHops.bytes[paths.nextHop[path]!]!;
      const entryAt = out.length;
      const lengthAt = beginRibEntry(out, record, this.#indexOf[peer.row]! - 1, peer.sinceSec, paths.pathId(path));
      writeRibAttributes(out, attributes, family, hop);
      if (out.length - lengthAt - 2 > attributeBytesMax) {
        out.length = entryAt;
        continue;
      }
      endRibEntry(out, lengthAt);
      entries++;
    }
    if (entries === 0) {
      out.length = before;
      return;
    }
    endRib(out, record, entries);
    this.#sequence++;
    this.prefixCount++;
    this.pathCount += entries;
  }
}

/** One record has path identifiers in all entries or in none (RFC 8050 4). */
function hasPathIds(rib: Rib, prefix: number): boolean {
  const { paths } = rib;
  for (let link = rib.firstPath(prefix); link > 0; link = paths.next[link - 1]!) {
    if (paths.pathId(link - 1) !== 0) return true;
  }
  return false;
}

/** Place of ourselves in a list of dumped peers: no address of our own is better than another. */
export function ownDumpPeer(routerId: number, asn: number, sinceSec: number): DumpPeer {
  return { row: localPeer, routerId, address: '0.0.0.0' as IpAddress, asn, sinceSec };
}

/**
 * Canonical attributes with the next hop put in its place, by type (RFC 6396 4.3.4: MP_REACH_NLRI is the length of the next
 * hop and the next hop, nothing else).
 *
 * @param hop 4, 16 or 32 bytes; empty for a route of our own, which goes out as the unspecified address.
 */
function writeRibAttributes(out: ByteWriter, bytes: Uint8Array, family: IpFamily, hop: Uint8Array): void {
  const nextHop = hop.length > 0 ? hop : new Uint8Array(family === 4 ? 4 : 16);
  const classic = family === 4 && nextHop.length === 4;
  const hopType = classic ? attributeType.nextHop : attributeType.mpReach;
  let at = 0;
  while (at < bytes.length && bytes[at + 1]! < hopType) at = valueEnd(bytes, at);
  out.bytes(bytes, 0, at);
  if (classic) out.u8(wellKnown).u8(hopType).u8(4);
  else
    out
      .u8(optionalNonTransitive)
      .u8(hopType)
      .u8(1 + nextHop.length)
      .u8(nextHop.length);
  out.bytes(nextHop);
  out.bytes(bytes, at);
}
