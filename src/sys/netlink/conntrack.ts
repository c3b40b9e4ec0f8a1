import { familyOf, formatIp, type IpAddress, type IpFamily, parseIp } from '#kit';
import { AF_INET, EAGAIN, ENOENT } from '../constants.ts';
import { SysError } from '../sys-error.ts';
import { addressFamily } from './address.ts';
import { type MessageWriter, NESTED, type NetlinkMessage, parseAttributes } from './codec.ts';
import { NETLINK_NETFILTER, Netlink } from './socket.ts';

/** NFNL_SUBSYS_CTNETLINK << 8 and the message. */
const CT_NEW = 0x100;
export const CT_GET = 0x101;
const CT_DELETE = 0x102;
export const CTA_TUPLE_ORIG = 1;
export const CTA_TUPLE_REPLY = 2;
const CTA_MARK = 8;
const CTA_MARK_MASK = 21;
export const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_FILTER = 25;
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_FILTER_REPLY_FLAGS = 2;
export const FILTER_IP_SRC = 1;
const FILTER_IP_DST = 2;
const DELETES_PER_BATCH = 100;

export interface ConntrackTuple {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  /** 0 for protocols without ports. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Of ICMP and ICMPv6. */
  readonly icmp?: { readonly type: number; readonly code: number };
}

export interface ConntrackEntry {
  readonly family: IpFamily;
  readonly original: ConntrackTuple;
  readonly reply: ConntrackTuple;
  readonly mark: number;
  /** The original tuple as the kernel gave it: names the entry in `deleteEntry` and `setEntryMark`. */
  readonly key: Uint8Array;
}

function decodeTuple(bytes: Buffer): ConntrackTuple {
  const tuple = parseAttributes(bytes);
  const ip = parseAttributes(tuple.get(CTA_TUPLE_IP) ?? Buffer.alloc(0));
  const protocol = parseAttributes(tuple.get(CTA_TUPLE_PROTO) ?? Buffer.alloc(0));
  const none = Buffer.alloc(4);
  const type = (protocol.get(5) ?? protocol.get(8))?.[0];
  const code = (protocol.get(6) ?? protocol.get(9))?.[0] ?? 0;
  return {
    source: formatIp(ip.get(1) ?? ip.get(3) ?? none),
    destination: formatIp(ip.get(2) ?? ip.get(4) ?? none),
    protocol: protocol.get(1)?.[0] ?? 0,
    sourcePort: protocol.get(2)?.readUInt16BE(0) ?? 0,
    destinationPort: protocol.get(3)?.readUInt16BE(0) ?? 0,
    ...(type === undefined ? {} : { icmp: { type, code } }),
  };
}

export function decodeConntrack(message: NetlinkMessage): ConntrackEntry | undefined {
  const attributes = parseAttributes(message.body, 4);
  const original = attributes.get(CTA_TUPLE_ORIG);
  const reply = attributes.get(CTA_TUPLE_REPLY);
  if (!original || !reply) return undefined;
  return {
    family: message.body[0] === AF_INET ? 4 : 6,
    original: decodeTuple(original),
    reply: decodeTuple(reply),
    mark: attributes.get(CTA_MARK)?.readUInt32BE(0) ?? 0,
    key: Uint8Array.from(original),
  };
}

/** `mark`: only entries whose mark has this value under the mask; the kernel leaves out the others. Needs a NETLINK_NETFILTER socket. */
export function dumpConntrack(
  netlink: Netlink,
  family: IpFamily,
  mark?: { readonly value: number; readonly mask: number },
): ConntrackEntry[] {
  const fill = (w: MessageWriter): void => {
    w.raw(addressFamily(family), 0, 0, 0);
    if (mark) w.attrU32be(CTA_MARK, mark.value).attrU32be(CTA_MARK_MASK, mark.mask);
  };
  return netlink.dump(`dump of IPv${family} conntrack`, CT_GET, fill, decodeConntrack);
}

/** Entries of which `address` is the source or the destination, before or after translation. Reads the whole table. */
export function conntrackOf(netlink: Netlink, address: IpAddress): ConntrackEntry[] {
  return dumpConntrack(netlink, familyOf(address)).filter((entry) => isOf(entry, address));
}

function isOf({ original, reply }: ConntrackEntry, address: IpAddress): boolean {
  return [original, reply].some((tuple) => tuple.source === address || tuple.destination === address);
}

/** One request for each place that an address may have in an entry: as these sides, before and after translation. Linux 5.8 looks for them. */
export function requestsFor(
  address: IpAddress,
  sides: readonly number[] = [FILTER_IP_SRC, FILTER_IP_DST],
): ((w: MessageWriter) => void)[] {
  const bytes = parseIp(address)!;
  const family = familyOf(address);
  const tuples = [
    [CTA_TUPLE_ORIG, CTA_FILTER_ORIG_FLAGS],
    [CTA_TUPLE_REPLY, CTA_FILTER_REPLY_FLAGS],
  ] as const;
  return tuples.flatMap(([tuple, flags]) =>
    sides.map((side) => (w: MessageWriter) => {
      const attribute = (family === 4 ? 0 : 2) + side;
      // Version 1: without it the kernel ignores the family when it deletes, which the filter needs.
      w.raw(addressFamily(family), 1, 0, 0)
        .nest(tuple | NESTED, (t) => t.nest(CTA_TUPLE_IP | NESTED, (ip) => ip.attr(attribute, bytes)))
        .nest(CTA_FILTER | NESTED, (f) => f.attrU32(flags, side));
    }),
  );
}

/**
 * Deletes every entry that has `address` as source or destination, before or after translation. The kernel looks for them off this thread, some 0.4 ms
 * a side while the table holds little, 50 ms at 200,000 entries; kernels that delete by exact tuple only refuse, and then they are read first.
 */
async function forgetAddress(netlink: Netlink, address: IpAddress): Promise<void> {
  for (const fill of requestsFor(address)) netlink.add(CT_DELETE, 0, fill);
  const failures = (await netlink.flushAsync()).filter((failure) => failure.errno !== ENOENT);
  if (failures.length > 0) await readAndForgetAddress(netlink, address);
}

/** The same for kernels that delete by exact tuple only. */
export async function readAndForgetAddress(netlink: Netlink, address: IpAddress): Promise<void> {
  const found: ConntrackEntry[] = [];
  const decode = (message: NetlinkMessage): ConntrackEntry | undefined => {
    const entry = decodeConntrack(message);
    return entry && isOf(entry, address) ? entry : undefined;
  };
  for (const fill of requestsFor(address)) {
    const what = `dump of conntrack of ${address}`;
    for await (const entries of netlink.dumpAsync(what, CT_GET, fill, decode)) found.push(...entries);
  }
  deleteConntrack(netlink, found);
}

/** Deletes entries; those that are gone already do not count. Returns how many were deleted. */
export function deleteConntrack(netlink: Netlink, entries: readonly ConntrackEntry[]): number {
  let deleted = 0;
  for (let at = 0; at < entries.length; at += DELETES_PER_BATCH) {
    const batch = entries.slice(at, at + DELETES_PER_BATCH);
    for (const entry of batch) {
      // Without a tuple CT_DELETE would flush the whole table.
      if (entry.key.length === 0) throw new Error('conntrack entry without a tuple');
      netlink.add(CT_DELETE, 0, (w) => {
        w.raw(addressFamily(entry.family), 0, 0, 0).attr(CTA_TUPLE_ORIG | NESTED, entry.key);
      });
    }
    const failures = netlink.flush().filter((failure) => failure.errno !== EAGAIN);
    const [serious] = failures.filter((failure) => failure.errno !== ENOENT);
    if (serious) throw new SysError('delete of conntrack entries', serious.errno, serious.text);
    deleted += batch.length - failures.length;
  }
  return deleted;
}

/** Bits under `mask` become those of `value`; the others stay: kube-proxy and others own them. */
export function markConntrack(
  netlink: Netlink,
  entries: readonly Pick<ConntrackEntry, 'family' | 'key'>[],
  mark: { readonly value: number; readonly mask: number },
): number {
  let marked = 0;
  for (let at = 0; at < entries.length; at += DELETES_PER_BATCH) {
    const batch = entries.slice(at, at + DELETES_PER_BATCH);
    for (const entry of batch) {
      netlink.add(CT_NEW, 0, (w) => {
        w.raw(addressFamily(entry.family), 0, 0, 0)
          .attr(CTA_TUPLE_ORIG | NESTED, entry.key)
          .attrU32be(CTA_MARK, mark.value)
          .attrU32be(CTA_MARK_MASK, mark.mask);
      });
    }
    const failures = netlink.flush();
    const [serious] = failures.filter((failure) => failure.errno !== ENOENT);
    if (serious) throw new SysError('mark of conntrack entries', serious.errno, serious.text);
    marked += batch.length - failures.length;
  }
  return marked;
}

export interface Conntrack {
  /** Deletes every entry that has `address` as source or destination, before or after translation. */
  forget(address: IpAddress): Promise<void>;
  close(): void;
}

/** Connection tracking of this thread's namespace. */
export function openConntrack(): Conntrack {
  const netlink = new Netlink({ protocol: NETLINK_NETFILTER });
  /** The socket serves one at a time. */
  let last: Promise<unknown> = Promise.resolve();
  return {
    forget(address) {
      const done = last.then(() => forgetAddress(netlink, address));
      last = done.catch(() => undefined);
      return done;
    },
    close: () => netlink.close(),
  };
}
