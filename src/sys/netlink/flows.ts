/**
 * Tracked connections of some addresses, and bits of their marks (ctnetlink, include/uapi/linux/netfilter/nfnetlink_conntrack.h).
 *
 * Of few addresses the kernel looks for the entries (Linux 5.8; older ones send everything), of many the table is read once; both off this
 * thread. Either way what was sent is held against the addresses here, by a look at its bytes: an entry that is not of them costs a microsecond.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { familyOf, type IpAddress, type IpFamily, parseIp } from '#kit';
import { addressFamily, dumpAddresses } from './address.ts';
import type { MessageWriter, NetlinkMessage } from './codec.ts';
import {
  CT_GET,
  CTA_TUPLE_IP,
  CTA_TUPLE_ORIG,
  CTA_TUPLE_REPLY,
  decodeConntrack,
  FILTER_IP_SRC,
  markConntrack,
  requestsFor,
} from './conntrack.ts';
import { NETLINK_NETFILTER, Netlink } from './socket.ts';

/** Each costs two walks of the table in the kernel, which send nothing of it; above, one that sends all of it is cheaper. */
const FILTERED_ADDRESSES_MAX = 4;
const ATTRIBUTE_TYPE_MASK = 0x3fff;
const NFGENMSG_BYTES = 4;

/** A connection as its ends know it: its source before any source NAT, its destination behind any destination NAT. */
export interface TrackedFlow {
  readonly family: IpFamily;
  readonly source: IpAddress;
  readonly destination: IpAddress;
  /** Its source is an address of this machine. */
  readonly fromHost: boolean;
  readonly protocol: number;
  /** 0 for protocols without ports. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly icmp?: { readonly type: number; readonly code: number };
  readonly mark: number;
  /** Names it in `mark`. */
  readonly key: Uint8Array;
}

/** 1 to 2 ms. */
const ADDRESSES_PER_TURN = 1_000;

export interface FlowTable {
  /**
   * Flows whose source or destination is one of `addresses`, some hundreds at a time; one between two of them may come twice, and is then as it is
   * by then. One scan at a time.
   */
  scan(addresses: ReadonlySet<IpAddress>): AsyncIterable<TrackedFlow[]>;
  /** Bits under `mask` become those of `value`. Returns how many were still there. A microsecond or four each. */
  mark(flows: readonly TrackedFlow[], mark: { readonly value: number; readonly mask: number }): number;
  close(): void;
}

/** Connection tracking of this thread's namespace. */
export function openFlowTable(): FlowTable {
  const netlink = new Netlink({ protocol: NETLINK_NETFILTER });
  // Marks are set while a scan is under way.
  const marker = new Netlink({ protocol: NETLINK_NETFILTER });
  const machine = new Netlink();
  return {
    async *scan(addresses) {
      const own = new Set(dumpAddresses(machine).map(({ address }) => address));
      for (const family of [4, 6] as const) {
        const here = [...addresses].filter((address) => familyOf(address) === family);
        if (here.length === 0) continue;
        const members = await octetsOf(here);
        const decode = (message: NetlinkMessage): TrackedFlow | undefined =>
          touches(message.body, members) ? flowOf(message, own) : undefined;
        for (const fill of requests(family, here))
          yield* netlink.dumpAsync(`dump of IPv${family} flows`, CT_GET, fill, decode);
      }
    },
    mark: (flows, mark) => markConntrack(marker, flows, mark),
    close() {
      netlink.close();
      marker.close();
      machine.close();
    },
  };
}

/** Some thousands at a time are more than one turn of the event loop may take. */
async function octetsOf(addresses: readonly IpAddress[]): Promise<Set<string>> {
  const octets = new Set<string>();
  for (const [at, address] of addresses.entries()) {
    if (at % ADDRESSES_PER_TURN === ADDRESSES_PER_TURN - 1) await nextTurn();
    octets.add(latin1(parseIp(address)!));
  }
  return octets;
}

/** One request for all, or two for each address: as the source of either direction. */
function requests(family: IpFamily, addresses: readonly IpAddress[]): ((w: MessageWriter) => void)[] {
  if (addresses.length > FILTERED_ADDRESSES_MAX) return [(w) => w.raw(addressFamily(family), 0, 0, 0)];
  return addresses.flatMap((address) => requestsFor(address, [FILTER_IP_SRC]));
}

function flowOf(message: NetlinkMessage, own: ReadonlySet<IpAddress>): TrackedFlow | undefined {
  const entry = decodeConntrack(message);
  if (!entry) return undefined;
  const { original, reply } = entry;
  return {
    family: entry.family,
    source: original.source,
    destination: reply.source,
    fromHost: own.has(original.source) || original.source.startsWith('127.'),
    protocol: original.protocol,
    sourcePort: original.sourcePort,
    destinationPort: reply.sourcePort,
    ...(original.icmp ? { icmp: original.icmp } : {}),
    mark: entry.mark,
    key: entry.key,
  };
}

/** Whether the source of either direction is a member; nothing is decoded. */
function touches(body: Buffer, members: ReadonlySet<string>): boolean {
  return [CTA_TUPLE_ORIG, CTA_TUPLE_REPLY].some((tuple) => {
    const tupleAt = attributeAt(body, NFGENMSG_BYTES, body.length, tuple);
    if (tupleAt < 0) return false;
    const ipAt = attributeAt(body, tupleAt, endOf(body, tupleAt), CTA_TUPLE_IP);
    if (ipAt < 0) return false;
    // The source stands first, whichever the family.
    const sourceAt = ipAt + 4;
    return sourceAt <= body.length && members.has(body.toString('latin1', sourceAt, endOf(body, sourceAt)));
  });
}

/** Where the value of the first attribute of `type` between `from` and `to` begins; -1: there is none. */
function attributeAt(body: Buffer, from: number, to: number, type: number): number {
  for (let at = from; at + 4 <= to; ) {
    const length = body.readUInt16LE(at);
    if (length < 4 || at + length > to) return -1;
    if ((body.readUInt16LE(at + 2) & ATTRIBUTE_TYPE_MASK) === type) return at + 4;
    at += (length + 3) & ~3;
  }
  return -1;
}

/** Where the attribute whose value begins at `valueAt` ends. */
function endOf(body: Buffer, valueAt: number): number {
  return Math.min(body.length, valueAt - 4 + body.readUInt16LE(valueAt - 4));
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}
