import { type Cidr, formatIp, type IpAddress, type IpFamily, parseCidr, parseIp, samePrefix } from '#kit';

/** Addresses of one pool that are looked at and handed out at most: offsets stay exact in a number, and no node has more pods. */
const POOL_SIZE_MAX = 2 ** 32;
/** Addresses looked at before one is given out though it should be avoided. */
const AVOIDED_MAX = 4096;

export interface Pool {
  readonly cidr: Cidr;
  readonly family: IpFamily;
  /** Addresses that may be given to pods. */
  readonly size: number;
  /**
   * The next free address after the cursor, or else one that `avoid` names, or else the one that rests longest. The caller sees to it that
   * `used < size`.
   */
  take(avoid: (address: IpAddress) => boolean): IpAddress;
  /** Marks an address as in use; false when it is outside of the pool or in use already. */
  reserve(address: IpAddress): boolean;
  /** In use no longer. It rests until `restsUntilMs`; see `wake`. */
  release(address: IpAddress, restsUntilMs: number): void;
  /** Ends the rest of all addresses that were to rest until `nowMs` or earlier. */
  wake(nowMs: number): void;
  readonly used: number;
  readonly resting: number;
}

/**
 * One prefix, handed out in order with a cursor that goes round: a freed address comes again as late as possible, whatever rest it has.
 *
 * Left out: the network and the broadcast address of an IPv4 prefix (a pod with the broadcast address cannot be reached by hosts that have
 * the prefix on a link), the subnet-router anycast address of an IPv6 one (RFC 4291 2.6.1). Prefixes of one or two addresses have none
 * of these (RFC 3021). Cost: O(1) but for skipping runs of used addresses.
 */
export function createPool(cidr: Cidr): Pool {
  const prefix = parseCidr(cidr);
  if (!prefix) throw new Error(`${cidr} is no prefix`);
  const hostBits = prefix.bytes.length * 8 - prefix.length;
  const addresses = Math.min(2 ** hostBits, POOL_SIZE_MAX);
  const first = hostBits > 1 ? 1 : 0;
  const end = prefix.family === 4 && hostBits > 1 ? addresses - 1 : addresses;
  const used = new Set<number>();
  /** Offset to the end of its rest, in the order of release: rests are of one length, so the first is also the first to end. */
  const resting = new Map<number, number>();
  let cursor = first;

  const addressAt = (offset: number): IpAddress => {
    const bytes = prefix.bytes.slice();
    const view = new DataView(bytes.buffer, bytes.length - 4);
    view.setUint32(0, (view.getUint32(0) | offset) >>> 0);
    return formatIp(bytes);
  };
  const offsetOf = (address: IpAddress): number | undefined => {
    const bytes = parseIp(address);
    if (!bytes || bytes.length !== prefix.bytes.length || !samePrefix(bytes, prefix.bytes, prefix.length))
      return undefined;
    if (hostBits > 32 && !samePrefix(bytes, prefix.bytes, 96)) return undefined;
    const low = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 4).getUint32(0);
    const offset = hostBits >= 32 ? low : low % 2 ** hostBits;
    return offset >= first && offset < end ? offset : undefined;
  };
  const nextFree = (avoid: (address: IpAddress) => boolean): number | undefined => {
    const size = end - first;
    if (used.size + resting.size >= size) return undefined;
    let avoided: number | undefined;
    for (let i = 0; i < size; i++) {
      const offset = first + ((cursor - first + i) % size);
      if (used.has(offset) || resting.has(offset)) continue;
      if (!avoid(addressAt(offset))) return offset;
      avoided ??= offset;
      // Of a range that nobody can look through, the first will do.
      if (i >= AVOIDED_MAX) break;
    }
    return avoided;
  };

  return {
    cidr,
    family: prefix.family,
    size: end - first,
    take(avoid) {
      const offset = nextFree(avoid) ?? resting.keys().next().value;
      if (offset === undefined) throw new Error(`${cidr}: taken from a pool that is in use to the last address`);
      resting.delete(offset);
      used.add(offset);
      cursor = offset + 1 < end ? offset + 1 : first;
      return addressAt(offset);
    },
    reserve(address) {
      const offset = offsetOf(address);
      if (offset === undefined || used.has(offset)) return false;
      resting.delete(offset);
      used.add(offset);
      return true;
    },
    release(address, restsUntilMs) {
      const offset = offsetOf(address);
      if (offset === undefined || !used.delete(offset)) return;
      resting.set(offset, restsUntilMs);
    },
    wake(nowMs) {
      for (const [offset, untilMs] of resting) if (untilMs <= nowMs) resting.delete(offset);
    },
    get used() {
      return used.size;
    },
    get resting() {
      return resting.size;
    },
  };
}
