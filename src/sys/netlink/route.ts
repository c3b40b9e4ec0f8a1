import { type Cidr, formatIp, type IpAddress, type IpFamily, parseCidr, parseIp } from '#kit';
import { AF_INET, AF_INET6 } from '../constants.ts';
import { addressFamily } from './address.ts';
import {
  attributeU32,
  type MessageWriter,
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  parseAttributes,
} from './codec.ts';
import type { Netlink } from './socket.ts';

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;
export const RTM_NEWRULE = 32;
export const RTM_DELRULE = 33;
export const RTM_GETRULE = 34;

export const TABLE_MAIN = 254;
export const TABLE_LOCAL = 255;

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
const RTA_VIA = 18;
const RTA_NH_ID = 30;
const RTNH_F_DEAD = 1;
const RTNH_F_ONLINK = 4;
const RTNH_F_LINKDOWN = 16;
const RTM_F_CLONED = 0x200;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_NOWHERE = 255;

export type RouteType =
  | 'unicast'
  | 'local'
  | 'broadcast'
  | 'anycast'
  | 'multicast'
  | 'blackhole'
  | 'unreachable'
  | 'prohibit'
  | 'other';
const typeNumbers: Readonly<Record<Exclude<RouteType, 'other'>, number>> = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
};
const typeNames = new Map(Object.entries(typeNumbers).map(([name, number]) => [number, name as RouteType]));

export interface KernelNextHop {
  readonly gateway?: IpAddress;
  readonly ifIndex: number;
  /** 1..256. */
  readonly weight: number;
  /** The kernel does not use it: device down or without carrier. */
  readonly dead: boolean;
  /** The gateway is a neighbour whatever the addresses say. */
  readonly onlink: boolean;
}

export interface KernelRoute {
  readonly family: IpFamily;
  readonly prefix: Cidr;
  readonly table: number;
  readonly protocol: number;
  /** IPv4 only: 0 universe, 253 link, 254 host. */
  readonly scope: number;
  readonly type: RouteType;
  readonly metric: number;
  /** Next-hop object, 0 for none. */
  readonly nexthopId: number;
  /** Empty for blackholes and the like, and, with nexthop_compat_mode=0, for routes that use an object. */
  readonly nextHops: readonly KernelNextHop[];
  readonly prefsrc?: IpAddress;
}

/** RTM_NEWROUTE and RTM_DELROUTE; undefined for cached routes and other families. */
export function decodeRoute(message: NetlinkMessage): KernelRoute | undefined {
  const { body } = message;
  const family = body[0] === AF_INET ? 4 : body[0] === AF_INET6 ? 6 : undefined;
  if (!family || body.readUInt32LE(8) & RTM_F_CLONED) return undefined;
  const attributes = parseAttributes(body, 12);
  const destination = attributes.get(RTA_DST);
  const zero = family === 4 ? '0.0.0.0' : '::';
  const prefsrc = attributes.get(RTA_PREFSRC);
  return {
    family,
    prefix: `${destination ? formatIp(destination) : zero}/${body[1]}` as Cidr,
    table: attributeU32(attributes.get(RTA_TABLE)) ?? body[4]!,
    protocol: body[5]!,
    scope: body[6]!,
    type: typeNames.get(body[7]!) ?? 'other',
    metric: attributeU32(attributes.get(RTA_PRIORITY)) ?? 0,
    nexthopId: attributeU32(attributes.get(RTA_NH_ID)) ?? 0,
    // IPv6 blackholes name the loopback device.
    nextHops: body[7]! < typeNumbers.blackhole ? nextHopsOf(attributes, body.readUInt32LE(8)) : [],
    ...(prefsrc ? { prefsrc: formatIp(prefsrc) } : {}),
  };
}

function nextHopsOf(attributes: ReadonlyMap<number, Buffer>, flags: number): KernelNextHop[] {
  const multipath = attributes.get(RTA_MULTIPATH);
  if (!multipath) {
    const ifIndex = attributeU32(attributes.get(RTA_OIF));
    return ifIndex === undefined ? [] : [nextHop(attributes, ifIndex, 0, flags)];
  }
  // struct rtnexthop {u16 len; u8 flags; u8 hops (weight - 1); int ifindex} and attributes, each padded to 4
  const found: KernelNextHop[] = [];
  for (let at = 0; at + 8 <= multipath.length; ) {
    const length = multipath.readUInt16LE(at);
    if (length < 8 || at + length > multipath.length) break;
    const inner = parseAttributes(multipath.subarray(at, at + length), 8);
    found.push(nextHop(inner, multipath.readInt32LE(at + 4), multipath[at + 3]!, multipath[at + 2]!));
    at += (length + 3) & ~3;
  }
  return found;
}

function nextHop(attributes: ReadonlyMap<number, Buffer>, ifIndex: number, hops: number, flags: number): KernelNextHop {
  const via = attributes.get(RTA_VIA);
  // RTA_VIA: u16 family, then the address: an IPv4 route through an IPv6 neighbour
  const gateway = attributes.get(RTA_GATEWAY) ?? (via && via.length > 2 ? via.subarray(2) : undefined);
  return {
    ifIndex,
    weight: hops + 1,
    dead: (flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) !== 0,
    onlink: (flags & RTNH_F_ONLINK) !== 0,
    ...(gateway ? { gateway: formatIp(gateway) } : {}),
  };
}

export interface RouteFilter {
  readonly protocol?: number;
  readonly exceptProtocol?: number;
  /** Default: all tables. */
  readonly table?: number;
}

/** Filtered by the kernel where it can; entries of other tables or protocols never come back. */
export function dumpRoutes(netlink: Netlink, family: IpFamily, filter: RouteFilter = {}): KernelRoute[] {
  const fill = (w: MessageWriter): void => {
    const table = filter.table ?? 0;
    w.raw(addressFamily(family), 0, 0, 0, table < 256 ? table : 0, filter.protocol ?? 0, 0, 0).u32(0);
    if (table >= 256) w.attrU32(RTA_TABLE, table);
  };
  return netlink.dump(`dump of IPv${family} routes`, RTM_GETROUTE, fill, (message) => {
    if (message.body[5] === filter.exceptProtocol) return undefined;
    const route = decodeRoute(message);
    if (!route || (filter.protocol !== undefined && route.protocol !== filter.protocol)) return undefined;
    return filter.table !== undefined && route.table !== filter.table ? undefined : route;
  });
}

export interface RouteSpec {
  readonly prefix: Cidr;
  readonly protocol: number;
  /** Default: main. */
  readonly table?: number;
  /** Default: universe. */
  readonly scope?: number;
  /** Default: unicast. */
  readonly type?: 'unicast' | 'blackhole' | 'unreachable' | 'prohibit';
  /** 0: the kernel's default (IPv6: 1024). Smaller wins. */
  readonly metric?: number;
  readonly nexthopId?: number;
  readonly ifIndex?: number;
  readonly gateway?: IpAddress;
  readonly prefsrc?: IpAddress;
  /** The gateway is a neighbour on `ifIndex` whatever the addresses say. */
  readonly onlink?: boolean;
}

const parsedPrefixes = { text: '' as string, value: undefined as ReturnType<typeof parseCidr> };

function fillRoute(w: MessageWriter, route: RouteSpec, scope: number): void {
  if (parsedPrefixes.text !== route.prefix) {
    parsedPrefixes.text = route.prefix;
    parsedPrefixes.value = parseCidr(route.prefix);
  }
  const prefix = parsedPrefixes.value;
  if (!prefix) throw new Error(`not a prefix: ${route.prefix}`);
  const table = route.table ?? TABLE_MAIN;
  w.raw(
    addressFamily(prefix.family),
    prefix.length,
    0,
    0,
    table < 256 ? table : 0,
    route.protocol,
    scope,
    typeNumbers[route.type ?? 'unicast'],
  ).u32(route.onlink ? RTNH_F_ONLINK : 0);
  if (prefix.length) w.attr(RTA_DST, prefix.bytes);
  if (table >= 256) w.attrU32(RTA_TABLE, table);
  if (route.metric) w.attrU32(RTA_PRIORITY, route.metric);
  if (route.nexthopId) w.attrU32(RTA_NH_ID, route.nexthopId);
  if (route.ifIndex) w.attrU32(RTA_OIF, route.ifIndex);
  if (route.gateway) {
    const gateway = parseIp(route.gateway)!;
    if (gateway.length === prefix.bytes.length) w.attr(RTA_GATEWAY, gateway);
    else w.attr(RTA_VIA, Buffer.concat([Buffer.from([AF_INET6, 0]), gateway]));
  }
  if (route.prefsrc) w.attr(RTA_PREFSRC, parseIp(route.prefsrc)!);
}

/** `exclusive`: EEXIST when there is a route of that prefix, metric and table. `replace`: takes its place, or is added. */
export function addRoute(netlink: Netlink, route: RouteSpec, mode: 'exclusive' | 'replace'): Netlink {
  const flags = NLM_F_CREATE | (mode === 'exclusive' ? NLM_F_EXCL : NLM_F_REPLACE);
  return netlink.add(RTM_NEWROUTE, flags, (w) => fillRoute(w, route, route.scope ?? RT_SCOPE_UNIVERSE));
}

/** ESRCH when there is none of that prefix, protocol, metric and whatever else `route` names. Scope matches any. */
export function deleteRoute(netlink: Netlink, route: RouteSpec): Netlink {
  return netlink.add(RTM_DELROUTE, 0, (w) => fillRoute(w, route, RT_SCOPE_NOWHERE));
}

export interface KernelRule {
  readonly family: IpFamily;
  readonly priority: number;
  readonly table: number;
  readonly action: number;
  readonly protocol: number;
  /** All attributes as hexadecimal text by number, for comparing dumps. */
  readonly attributes: Readonly<Record<string, string>>;
}

/** fib_rule_hdr: family, dst_len, src_len, tos, table, res1, res2, action, flags (4) */
export function dumpRules(netlink: Netlink, family: IpFamily): KernelRule[] {
  const fill = (w: MessageWriter): void => void w.raw(addressFamily(family), 0, 0, 0, 0, 0, 0, 0).u32(0);
  return netlink.dump(`dump of IPv${family} rules`, RTM_GETRULE, fill, ({ body }) => {
    const attributes = parseAttributes(body, 12);
    return {
      family,
      priority: attributeU32(attributes.get(6)) ?? 0,
      table: attributeU32(attributes.get(15)) ?? body[4]!,
      action: body[7]!,
      protocol: attributes.get(21)?.[0] ?? 0,
      attributes: Object.fromEntries([...attributes].map(([type, value]) => [String(type), value.toString('hex')])),
    };
  });
}

/** Which way the kernel would send a packet to `destination` now; undefined when it has no way (or a blackhole). */
export function lookupRoute(
  netlink: Netlink,
  destination: IpAddress,
): { readonly ifIndex: number; readonly gateway?: IpAddress; readonly prefsrc?: IpAddress } | undefined {
  const bytes = parseIp(destination)!;
  const fill = (w: MessageWriter): void =>
    void w
      .raw(bytes.length === 4 ? AF_INET : AF_INET6, bytes.length * 8, 0, 0, 0, 0, 0, 0)
      .u32(0)
      .attr(RTA_DST, bytes);
  return netlink.get(
    `route to ${destination}`,
    RTM_GETROUTE,
    fill,
    ({ body }) => {
      const attributes = parseAttributes(body, 12);
      const gateway = attributes.get(RTA_GATEWAY);
      const prefsrc = attributes.get(RTA_PREFSRC);
      return {
        ifIndex: attributeU32(attributes.get(RTA_OIF)) ?? 0,
        ...(gateway ? { gateway: formatIp(gateway) } : {}),
        ...(prefsrc ? { prefsrc: formatIp(prefsrc) } : {}),
      };
    },
    // ENETUNREACH, EHOSTUNREACH, EINVAL (blackhole), EACCES (prohibit)
    [101, 113, 22, 13],
  );
}
