import { AF_INET, AF_INET6, EINVAL, ENODEV } from '../constants.ts';
import {
  attributeText,
  attributeU32,
  type MessageWriter,
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_EXCL,
  parseAttributes,
} from './codec.ts';
import type { Netlink } from './socket.ts';

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_IFALIAS = 20;
const IFLA_STATS64 = 23;
const IFLA_AF_SPEC = 26;
const IFLA_NET_NS_FD = 28;
const IFLA_EXT_MASK = 29;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const IFLA_INET_CONF = 1;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const ADDR_GEN_MODE_NONE = 1;
const RTEXT_FILTER_SKIP_STATS = 8;
const IFF_UP = 1;
const IFF_LOWER_UP = 0x10000;

/** Numbers of IPv4 device settings, as IFLA_INET_CONF takes them (include/uapi/linux/ip.h). */
export const IPV4_DEVCONF_FORWARDING = 1;
export const IPV4_DEVCONF_PROXY_ARP = 3;
export const IPV4_DEVCONF_RP_FILTER = 8;

export interface KernelLink {
  readonly index: number;
  readonly name: string;
  /** Administratively up. */
  readonly up: boolean;
  /** IFF_LOWER_UP: something is at the other end. */
  readonly carrier: boolean;
  readonly mtu: number;
  /** `aa:bb:cc:dd:ee:ff`, or empty. */
  readonly mac: string;
  /** `veth`, `bridge`, ...; empty for physical ones and loopback. */
  readonly kind: string;
  /** Index of the other end (in whichever namespace) or of the lower device; 0 for none. */
  readonly peerIndex: number;
  /** Index of the bridge, bond or VRF that it is a port of; 0 for none. */
  readonly masterIndex: number;
  readonly alias: string;
}

export interface LinkCounters {
  readonly name: string;
  readonly rxPackets: number;
  readonly txPackets: number;
  readonly rxBytes: number;
  readonly txBytes: number;
}

/** ifinfomsg: family, pad, type (2), index (4), flags (4), change (4) */
function header(writer: MessageWriter, index = 0, flags = 0, change = 0): MessageWriter {
  return writer.raw(0, 0, 0, 0).u32(index).u32(flags).u32(change);
}

/** Decodes RTM_NEWLINK and RTM_DELLINK of AF_UNSPEC; undefined for bridge and inet6 sub-messages, which share the type. */
export function decodeLink(message: NetlinkMessage): KernelLink | undefined {
  const { body } = message;
  if (body[0] !== 0) return undefined;
  const attributes = parseAttributes(body, 16);
  const flags = body.readUInt32LE(8);
  const info = attributes.get(IFLA_LINKINFO);
  return {
    index: body.readInt32LE(4),
    name: attributeText(attributes.get(IFLA_IFNAME)) ?? '',
    up: (flags & IFF_UP) !== 0,
    carrier: (flags & IFF_LOWER_UP) !== 0,
    mtu: attributeU32(attributes.get(IFLA_MTU)) ?? 0,
    mac: [...(attributes.get(IFLA_ADDRESS) ?? [])].map((b) => b.toString(16).padStart(2, '0')).join(':'),
    kind: info ? (attributeText(parseAttributes(info).get(IFLA_INFO_KIND)) ?? '') : '',
    peerIndex: attributeU32(attributes.get(IFLA_LINK)) ?? 0,
    masterIndex: attributeU32(attributes.get(IFLA_MASTER)) ?? 0,
    alias: attributeText(attributes.get(IFLA_IFALIAS)) ?? '',
  };
}

export function dumpLinks(netlink: Netlink): KernelLink[] {
  const fill = (w: MessageWriter): void => void header(w).attrU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return netlink.dump('dump of links', RTM_GETLINK, fill, decodeLink);
}

/** struct rtnl_link_stats64: rx_packets, tx_packets, rx_bytes, tx_bytes ... */
export function dumpLinkCounters(netlink: Netlink): LinkCounters[] {
  return netlink.dump(
    'dump of link counters',
    RTM_GETLINK,
    (w) => void header(w),
    ({ body }) => {
      const attributes = parseAttributes(body, 16);
      const counters = attributes.get(IFLA_STATS64);
      if (!counters) return undefined;
      const at = (offset: number): number => Number(counters.readBigUInt64LE(offset));
      return {
        name: attributeText(attributes.get(IFLA_IFNAME)) ?? '',
        rxPackets: at(0),
        txPackets: at(8),
        rxBytes: at(16),
        txBytes: at(24),
      };
    },
  );
}

/** One link by name, not by a dump: the cost does not grow with the number of pods. */
export function linkByName(netlink: Netlink, name: string): KernelLink | undefined {
  const fill = (w: MessageWriter): void => {
    header(w).attrString(IFLA_IFNAME, name).attrU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  };
  return netlink.get(`link ${name}`, RTM_GETLINK, fill, decodeLink, [ENODEV]);
}

export function linkByIndex(netlink: Netlink, index: number): KernelLink | undefined {
  return netlink.get(`link ${index}`, RTM_GETLINK, (w) => void header(w, index), decodeLink, [ENODEV, EINVAL]);
}

export interface VethOptions {
  readonly name: string;
  readonly peerName: string;
  /** 6 bytes. */
  readonly mac?: Uint8Array;
  readonly peerMac?: Uint8Array;
  /** Descriptor of the namespace in which the peer is born: it never shows in this one. */
  readonly peerNetns?: number;
  readonly mtu?: number;
  readonly index?: number;
  readonly peerIndex?: number;
  readonly alias?: string;
}

/**
 * Both ends in one message, both down. EEXIST when either name is taken. Per-family settings are refused before the device exists
 * (EAFNOSUPPORT): follow it by `changeLink` with `byName`, in the same batch.
 */
export function addVeth(netlink: Netlink, options: VethOptions): Netlink {
  return netlink.add(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, (w) => {
    header(w, options.index ?? 0).attrString(IFLA_IFNAME, options.name);
    if (options.mac) w.attr(IFLA_ADDRESS, options.mac);
    if (options.mtu) w.attrU32(IFLA_MTU, options.mtu);
    if (options.alias) w.attr(IFLA_IFALIAS, Buffer.from(options.alias));
    w.nest(IFLA_LINKINFO, (info) =>
      info.attrString(IFLA_INFO_KIND, 'veth').nest(IFLA_INFO_DATA, (data) =>
        data.nest(VETH_INFO_PEER, (peer) => {
          header(peer, options.peerIndex ?? 0).attrString(IFLA_IFNAME, options.peerName);
          if (options.peerMac) peer.attr(IFLA_ADDRESS, options.peerMac);
          if (options.mtu) peer.attrU32(IFLA_MTU, options.mtu);
          if (options.peerNetns !== undefined) peer.attrU32(IFLA_NET_NS_FD, options.peerNetns);
        }),
      ),
    );
  });
}

function settings(w: MessageWriter, options: Pick<LinkChange, 'ipv4Settings' | 'noIpv6LinkLocal'>): void {
  const v4 = Object.entries(options.ipv4Settings ?? {});
  if (v4.length === 0 && !options.noIpv6LinkLocal) return;
  w.nest(IFLA_AF_SPEC, (spec) => {
    if (v4.length > 0) {
      spec.nest(AF_INET, (inet) =>
        inet.nest(IFLA_INET_CONF, (conf) => {
          for (const [number, value] of v4) conf.attrU32(Number(number), value);
        }),
      );
    }
    if (options.noIpv6LinkLocal) {
      spec.nest(AF_INET6, (inet6) => inet6.attrU8(IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_MODE_NONE));
    }
  });
}

export interface LinkChange {
  readonly index?: number;
  /** Names the device when `index` is not known yet, e.g. one that an earlier message of the batch makes. */
  readonly byName?: string;
  readonly up?: boolean;
  readonly rename?: string;
  readonly mtu?: number;
  readonly alias?: string;
  /** Moves it; the descriptor of a namespace. */
  readonly netns?: number;
  /** IPV4_DEVCONF_*, by IFLA_INET_CONF: needs no /proc/sys, which is read-only in a container. */
  readonly ipv4Settings?: Readonly<Record<number, number>>;
  /** No IPv6 link-local address, so no duplicate address detection to wait for. Set it before the far end comes up. */
  readonly noIpv6LinkLocal?: boolean;
}

export function changeLink(netlink: Netlink, change: LinkChange): Netlink {
  return netlink.add(RTM_NEWLINK, 0, (w) => {
    const known = change.up === undefined ? 0 : IFF_UP;
    header(w, change.index ?? 0, change.up ? IFF_UP : 0, known);
    const name = change.index ? change.rename : change.byName;
    if (name !== undefined) w.attrString(IFLA_IFNAME, name);
    if (change.mtu !== undefined) w.attrU32(IFLA_MTU, change.mtu);
    if (change.alias !== undefined) w.attr(IFLA_IFALIAS, Buffer.from(change.alias));
    if (change.netns !== undefined) w.attrU32(IFLA_NET_NS_FD, change.netns);
    settings(w, change);
  });
}

/** Blocks for some 16 ms a link (RCU): prefer `flushAsync`. */
export function deleteLink(netlink: Netlink, index: number): Netlink {
  return netlink.add(RTM_DELLINK, 0, (w) => void header(w, index));
}
