/**
 * Changes of the Loc-RIB on their way to whoever programs routes: packed into buffers that can be transferred to another
 * thread, made only when asked for. While nobody asks (the other side is busy) changes of one prefix coalesce, so that
 * what waits is bounded by the number of prefixes.
 *
 * A buffer is self-contained. Records, numbers big-endian:
 *   1 upsert IPv4   address (4), length (1), set (4)
 *   2 upsert IPv6   address (16), length (1), set (4)
 *   3 withdraw IPv4 address (4), length (1)
 *   4 withdraw IPv6 address (16), length (1)
 *   5 set           set (4), count (1; 0: packets are dropped), count x { weight (2; 0: equal ones), bytes (1), address, bytes (1), interface of
 *                   a link-local address } ; before the first upsert that names it
 *   6 deferral over (once: every route known at the end of route selection deferral went before)
 */
import { type Cidr, formatIp, type IpAddress, parseIp, type ScopedAddress, scoped, splitZone } from '#kit';
import { ColumnGrowth, firstRows, IntQueue, type IntStack, resized } from './arrays.ts';
import type { HopMarks } from './next-hop-pool.ts';
import type { Rib } from './rib.ts';

export type RouteChange =
  | ({ readonly type: 'upsert'; readonly prefix: Cidr } & RouteWays)
  | { readonly type: 'withdraw'; readonly prefix: Cidr }
  | { readonly type: 'deferralEnded' };

/** Where packets of a route go. */
export interface RouteWays {
  /** Sorted, distinct. */
  readonly nextHops: readonly (IpAddress | ScopedAddress)[];
  /** Shares of the traffic by next hop, 1..256 (RFC 10005); absent: equal ones. */
  readonly weights?: readonly number[];
  /** Nowhere: they are dropped (RFC 7999); there are no next hops then. */
  readonly blackhole?: true;
}

export const feedBufferBytes = 65_536;
const record = { upsert4: 1, upsert6: 2, withdraw4: 3, withdraw6: 4, set: 5, deferralEnded: 6 } as const;
const interfaceNameBytesMax = 15;
/** A set of 64 IPv6 next hops and the upsert that names it. */
const recordBytesMax = 1 + 4 + 1 + 64 * (2 + 17 + 1 + interfaceNameBytesMax) + 1 + 16 + 1 + 4;

class FamilyFeed {
  readonly rib: Rib;
  readonly #queue = new IntQueue();
  #queued = new Uint8Array(firstRows);
  /** Next hop set last told; 0: none. */
  #told = new Int32Array(firstRows);
  readonly #growth = new ColumnGrowth(firstRows, [
    (rows) => (this.#queued = resized(this.#queued, rows)),
    (rows) => (this.#told = resized(this.#told, rows)),
  ]);
  /** Queue entries ever taken off. */
  #taken = 0;

  constructor(rib: Rib) {
    this.rib = rib;
  }
  get waiting(): number {
    return this.#queue.length;
  }
  /** Position in the stream after everything queued now. */
  get position(): number {
    return this.#taken + this.waiting;
  }
  get taken(): number {
    return this.#taken;
  }

  mark(prefix: number): void {
    if (prefix >= this.#growth.due) this.#growth.makeRoom(prefix);
    if (this.#queued[prefix] !== 0 || this.#told[prefix] === this.rib.locHopSet[prefix]) return;
    this.#queued[prefix] = 1;
    this.rib.pin(prefix);
    this.#queue.push(prefix);
  }

  markHops({ sets }: HopMarks): void {
    const limit = Math.min(this.#told.length, this.rib.prefixes.limit);
    for (let prefix = 0; prefix < limit; prefix++) sets[this.#told[prefix]!] = 1;
  }
  /** Writes records until `writer` is full or nothing waits. */
  write(writer: FeedWriter): void {
    const rib = this.rib;
    while (this.waiting > 0 && writer.hasRoom) {
      const prefix = this.#queue.shift();
      this.#taken++;
      this.#queued[prefix] = 0;
      const set = rib.locHopSet[prefix]!;
      if (set !== this.#told[prefix]) {
        if (set === 0) writer.withdraw(rib, prefix);
        else writer.upsert(rib, prefix, set);
        if (this.#told[prefix] === 0) rib.pin(prefix);
        else if (set === 0) rib.unpin(prefix);
        this.#told[prefix] = set;
      }
      rib.unpin(prefix);
      rib.settle(prefix);
    }
    this.#queue.compact();
  }
}

export class RouteFeed {
  readonly #families: readonly FamilyFeed[];
  /** Positions by family after which the marker goes out; undefined: none is due. */
  #markerAt: readonly number[] | undefined;

  constructor(ribs: readonly Rib[]) {
    this.#families = ribs.map((rib) => new FamilyFeed(rib));
  }

  /** Notes that Loc-RIB entries changed. */
  mark(rib: Rib, changed: IntStack): void {
    const feed = this.#families.find((f) => f.rib === rib)!;
    for (let i = 0; i < changed.length; i++) feed.mark(changed.items[i]!);
  }
  markHops(marks: HopMarks): void {
    for (const feed of this.#families) feed.markHops(marks);
  }
  markDeferralEnded(): void {
    this.#markerAt = this.#families.map((feed) => feed.position);
  }
  get waiting(): boolean {
    return this.#markerAt !== undefined || this.#families.some((feed) => feed.waiting > 0);
  }
  /** The next buffer of changes, or undefined when there are none. */
  take(): ArrayBuffer | undefined {
    if (!this.waiting) return undefined;
    const writer = new FeedWriter();
    for (const feed of this.#families) feed.write(writer);
    if (this.#markerAt && writer.hasRoom && this.#families.every((feed, i) => feed.taken >= this.#markerAt![i]!)) {
      this.#markerAt = undefined;
      writer.deferralEnded();
    }
    return writer.finish();
  }
}

class FeedWriter {
  readonly #bytes = new Uint8Array(feedBufferBytes);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #defined = new Set<number>();
  #end = 0;

  get hasRoom(): boolean {
    return this.#end + recordBytesMax <= feedBufferBytes;
  }
  upsert(rib: Rib, prefix: number, set: number): void {
    if (!this.#defined.has(set)) this.#define(rib, set);
    this.#prefix(rib, prefix, rib.family === 4 ? record.upsert4 : record.upsert6);
    this.#view.setUint32(this.#end, set);
    this.#end += 4;
  }
  withdraw(rib: Rib, prefix: number): void {
    this.#prefix(rib, prefix, rib.family === 4 ? record.withdraw4 : record.withdraw6);
  }
  deferralEnded(): void {
    this.#bytes[this.#end++] = record.deferralEnded;
  }
  finish(): ArrayBuffer {
    return this.#bytes.buffer.slice(0, this.#end);
  }

  #prefix(rib: Rib, prefix: number, type: number): void {
    const { words, bits, stride } = rib.prefixes;
    this.#bytes[this.#end++] = type;
    for (let i = 0; i < stride; i++) {
      this.#view.setInt32(this.#end, words[prefix * stride + i]!);
      this.#end += 4;
    }
    this.#bytes[this.#end++] = bits[prefix]!;
  }
  #define(rib: Rib, set: number): void {
    this.#defined.add(set);
    this.#bytes[this.#end++] = record.set;
    this.#view.setUint32(this.#end, set);
    this.#end += 4;
    const members = rib.tables.hopSets.members[set]!;
    this.#bytes[this.#end++] = members.length;
    const weights = rib.tables.hopSets.weights[set];
    for (const [i, hop] of members.entries()) {
      this.#view.setUint16(this.#end, weights?.[i] ?? 0);
      this.#end += 2;
      const { address, zone = '' } = splitZone(rib.tables.nextHops.addresses[hop]!);
      this.#octets(parseIp(address)!);
      this.#octets(new TextEncoder().encode(zone));
    }
  }
  #octets(octets: Uint8Array): void {
    this.#bytes[this.#end++] = octets.length;
    this.#bytes.set(octets, this.#end);
    this.#end += octets.length;
  }
}

/** Reads a buffer of {@link RouteFeed}. Next hops come sorted and distinct. */
export function* decodeRouteChanges(buffer: ArrayBuffer): Generator<RouteChange> {
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  const sets = new Map<number, RouteWays>();
  let at = 0;
  while (at < bytes.length) {
    const type = bytes[at++]!;
    if (type === record.deferralEnded) {
      yield { type: 'deferralEnded' };
    } else if (type === record.set) {
      const set = view.getUint32(at);
      const count = bytes[at + 4]!;
      at += 5;
      const addresses = new Map<IpAddress | ScopedAddress, number>();
      for (let i = 0; i < count; i++) {
        const weight = view.getUint16(at);
        at += 2;
        const length = bytes[at++]!;
        const address = formatIp(bytes, at, length);
        at += length;
        const zoneEnd = at + 1 + bytes[at]!;
        const zone = new TextDecoder().decode(bytes.subarray(at + 1, zoneEnd));
        const hop = zone === '' ? address : scoped(address, zone);
        addresses.set(hop, Math.max(weight, addresses.get(hop) ?? 0));
        at = zoneEnd;
      }
      sets.set(set, waysOf(addresses));
    } else {
      const length = type === record.upsert4 || type === record.withdraw4 ? 4 : 16;
      const prefix = `${formatIp(bytes, at, length)}/${bytes[at + length]}` as Cidr;
      at += length + 1;
      if (type === record.upsert4 || type === record.upsert6) {
        yield { type: 'upsert', prefix, ...sets.get(view.getUint32(at))! };
        at += 4;
      } else {
        yield { type: 'withdraw', prefix };
      }
    }
  }
}

/** @param weights by next hop; 0: equal ones. */
function waysOf(weights: ReadonlyMap<IpAddress | ScopedAddress, number>): RouteWays {
  if (weights.size === 0) return { nextHops: [], blackhole: true };
  const nextHops = [...weights.keys()].sort();
  if (weights.get(nextHops[0]!) === 0) return { nextHops };
  return { nextHops, weights: nextHops.map((hop) => weights.get(hop)!) };
}
