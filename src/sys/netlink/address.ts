import { formatIp, type IpAddress, type IpFamily, parseIp } from '#kit';
import { AF_INET, AF_INET6 } from '../constants.ts';
import {
  attributeU32,
  type MessageWriter,
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_REPLACE,
  parseAttributes,
} from './codec.ts';
import type { Netlink } from './socket.ts';

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;
export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
export const RTM_GETNEIGH = 30;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
/** Of IPv6 addresses the same bit says temporary. */
const IFA_F_SECONDARY = 1;
const IFA_F_NODAD = 2;
const IFA_F_DADFAILED = 8;
const IFA_F_DEPRECATED = 0x20;
const IFA_F_TENTATIVE = 0x40;
const IFA_F_PERMANENT = 0x80;
const IFA_F_NOPREFIXROUTE = 0x200;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_PERMANENT = 0x80;
/** REACHABLE, STALE, DELAY, PROBE, NOARP, PERMANENT. */
const NUD_VALID = 0xde;
const NTF_ROUTER = 0x80;

export function addressFamily(family: IpFamily): number {
  return family === 4 ? AF_INET : AF_INET6;
}

export interface KernelAddress {
  readonly family: IpFamily;
  readonly ifIndex: number;
  readonly address: IpAddress;
  readonly prefixLength: number;
  /** 0 universe, 253 link, 254 host. */
  readonly scope: number;
  /** Duplicate address detection runs or has failed: not usable. */
  readonly tentative: boolean;
  /** IPv4: beside another of its subnet. IPv6: temporary (RFC 8981). */
  readonly secondary: boolean;
  readonly deprecated: boolean;
  /** Has a lifetime: from DHCP or router advertisements. */
  readonly dynamic: boolean;
  /** Other end of a point-to-point link. */
  readonly peer?: IpAddress;
}

/** RTM_NEWADDR and RTM_DELADDR. */
export function decodeAddress(message: NetlinkMessage): KernelAddress | undefined {
  const { body } = message;
  const family = body[0] === AF_INET ? 4 : body[0] === AF_INET6 ? 6 : undefined;
  if (!family) return undefined;
  const attributes = parseAttributes(body, 8);
  const peer = attributes.get(IFA_ADDRESS);
  const local = attributes.get(IFA_LOCAL) ?? peer;
  if (!local || !peer) return undefined;
  const flags = attributeU32(attributes.get(IFA_FLAGS)) ?? body[2]!;
  return {
    family,
    ifIndex: body.readUInt32LE(4),
    address: formatIp(local),
    prefixLength: body[1]!,
    scope: body[3]!,
    tentative: (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) !== 0,
    secondary: (flags & IFA_F_SECONDARY) !== 0,
    deprecated: (flags & IFA_F_DEPRECATED) !== 0,
    dynamic: (flags & IFA_F_PERMANENT) === 0,
    ...(peer.equals(local) ? {} : { peer: formatIp(peer) }),
  };
}

/** Both families, or one. */
export function dumpAddresses(netlink: Netlink, family?: IpFamily): KernelAddress[] {
  const fill = (w: MessageWriter): void => void w.raw(family ? addressFamily(family) : 0, 0, 0, 0).u32(0);
  return netlink.dump('dump of addresses', RTM_GETADDR, fill, decodeAddress);
}

export interface AddressSpec {
  readonly ifIndex: number;
  readonly address: string;
  readonly prefixLength: number;
  /** Without duplicate address detection (IPv6), usable at once. Default true. */
  readonly noDad?: boolean;
  readonly noPrefixRoute?: boolean;
}

function addressBytes(text: string): Uint8Array {
  const bytes = parseIp(text);
  if (!bytes) throw new Error(`not an IP address: ${text}`);
  return bytes;
}

function fillAddress(w: MessageWriter, spec: AddressSpec): void {
  const bytes = addressBytes(spec.address);
  const four = bytes.length === 4;
  const flags = (!four && spec.noDad !== false ? IFA_F_NODAD : 0) | (spec.noPrefixRoute ? IFA_F_NOPREFIXROUTE : 0);
  w.raw(four ? AF_INET : AF_INET6, spec.prefixLength, flags & 0xff, 0)
    .u32(spec.ifIndex)
    .attr(IFA_ADDRESS, bytes);
  if (four) w.attr(IFA_LOCAL, bytes);
  if (flags) w.attrU32(IFA_FLAGS, flags);
}

/** Adds, or changes the flags of, an address. */
export function addAddress(netlink: Netlink, spec: AddressSpec): Netlink {
  return netlink.add(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, (w) => fillAddress(w, spec));
}

export function deleteAddress(netlink: Netlink, spec: AddressSpec): Netlink {
  return netlink.add(RTM_DELADDR, 0, (w) => fillAddress(w, spec));
}

export interface NeighbourSpec {
  readonly ifIndex: number;
  readonly address: string;
  /** 6 bytes. */
  readonly mac: Uint8Array;
}

export interface KernelNeighbour {
  readonly family: IpFamily;
  readonly ifIndex: number;
  readonly address: IpAddress;
  /** `aa:bb:cc:dd:ee:ff`, or empty when it is not resolved. */
  readonly mac: string;
  readonly permanent: boolean;
  /** It has said that it is a router (RFC 4861). */
  readonly router: boolean;
  /** Its MAC address is known, and was not found wrong. */
  readonly usable: boolean;
}

/** ndmsg: family, pad (3), ifindex (4), state (2), flags, type */
function fillNeighbour(w: MessageWriter, ifIndex: number, address: Uint8Array): MessageWriter {
  return w
    .raw(address.length === 4 ? AF_INET : AF_INET6, 0, 0, 0)
    .u32(ifIndex)
    .raw(NUD_PERMANENT, 0, 0, 0)
    .attr(NDA_DST, address);
}

/** Adds or replaces a permanent neighbour. */
export function setNeighbour(netlink: Netlink, spec: NeighbourSpec): Netlink {
  return netlink.add(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, (w) => {
    fillNeighbour(w, spec.ifIndex, addressBytes(spec.address)).attr(NDA_LLADDR, spec.mac);
  });
}

export function deleteNeighbour(netlink: Netlink, ifIndex: number, address: string): Netlink {
  return netlink.add(RTM_DELNEIGH, 0, (w) => void fillNeighbour(w, ifIndex, addressBytes(address)));
}

export function dumpNeighbours(netlink: Netlink, family: IpFamily): KernelNeighbour[] {
  const fill = (w: MessageWriter): void => void w.raw(addressFamily(family), 0, 0, 0).u32(0).raw(0, 0, 0, 0);
  return netlink.dump('dump of neighbours', RTM_GETNEIGH, fill, decodeNeighbour);
}

/** RTM_NEWNEIGH and RTM_DELNEIGH; undefined for what is no IP neighbour. */
export function decodeNeighbour({ body }: NetlinkMessage): KernelNeighbour | undefined {
  const family = body[0] === AF_INET ? 4 : body[0] === AF_INET6 ? 6 : undefined;
  const attributes = parseAttributes(body, 12);
  const address = attributes.get(NDA_DST);
  if (!family || !address) return undefined;
  return {
    family,
    ifIndex: body.readInt32LE(4),
    address: formatIp(address),
    mac: [...(attributes.get(NDA_LLADDR) ?? [])].map((b) => b.toString(16).padStart(2, '0')).join(':'),
    permanent: (body.readUInt16LE(8) & NUD_PERMANENT) !== 0,
    router: (body[10]! & NTF_ROUTER) !== 0,
    usable: (body.readUInt16LE(8) & NUD_VALID) !== 0,
  };
}
