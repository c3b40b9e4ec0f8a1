import { type Cidr, formatIp, type IpAddress, type IpFamily, parseCidr, parseIp } from '#kit';
import { AF_INET, AF_INET6 } from '../constants.ts';
import { SysError } from '../sys-error.ts';
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
const RTN_LOCAL = 2;
const RTA_PREFSRC = 7;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
const RTA_VIA = 18;
const RTA_NH_ID = 30;
const RTNH_F_DEAD = 1;
const RTNH_F_ONLINK = 4;
const RTNH_F_LINKDOWN = 16;
const RTM_F_CLONED = 0x200;
const ATTRIBUTE_TYPE_MASK = 0x3fff;
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

/** RTM_NEWROUTE and RTM_DELROUTE; undefined for cached routes and other families. One pass, some 1 us: tables are large. */
export function decodeRoute(message: NetlinkMessage): KernelRoute | undefined {
  const { body } = message;
  const family = body[0] === AF_INET ? 4 : body[0] === AF_INET6 ? 6 : undefined;
  const flags = body.readUInt32LE(8);
  if (!family || flags & RTM_F_CLONED) return undefined;
  let destination: IpAddress | undefined;
  let prefsrc: IpAddress | undefined;
  let gateway: IpAddress | undefined;
  let table = body[4]!;
  let metric = 0;
  let nexthopId = 0;
  let ifIndex = 0;
  let multipath: Buffer | undefined;
  for (let at = 12; at + 4 <= body.length; ) {
    const length = body.readUInt16LE(at);
    if (length < 4 || at + length > body.length) break;
    const type = body.readUInt16LE(at + 2) & ATTRIBUTE_TYPE_MASK;
    const value = at + 4;
    if (type === RTA_DST) destination = formatIp(body, value, length - 4);
    else if (type === RTA_TABLE && length === 8) table = body.readUInt32LE(value);
    else if (type === RTA_PRIORITY && length === 8) metric = body.readUInt32LE(value);
    else if (type === RTA_NH_ID && length === 8) nexthopId = body.readUInt32LE(value);
    else if (type === RTA_OIF && length === 8) ifIndex = body.readUInt32LE(value);
    else if (type === RTA_GATEWAY) gateway = formatIp(body, value, length - 4);
    else if (type === RTA_PREFSRC) prefsrc = formatIp(body, value, length - 4);
    // u16 family, then the address: an IPv4 route through an IPv6 neighbour
    else if (type === RTA_VIA && length > 6) gateway = formatIp(body, value + 2, length - 6);
    else if (type === RTA_MULTIPATH) multipath = body.subarray(value, at + length);
    at += (length + 3) & ~3;
  }
  // IPv6 blackholes name the loopback device.
  const forwards = body[7]! < typeNumbers.blackhole;
  const single =
    forwards && ifIndex ? [{ ifIndex, weight: 1, ...pathFlags(flags), ...(gateway ? { gateway } : {}) }] : [];
  return {
    family,
    prefix: `${destination ?? (family === 4 ? '0.0.0.0' : '::')}/${body[1]}` as Cidr,
    table,
    protocol: body[5]!,
    scope: body[6]!,
    type: typeNames.get(body[7]!) ?? 'other',
    metric,
    nexthopId,
    nextHops: forwards && multipath ? decodeMultipath(multipath) : single,
    ...(prefsrc ? { prefsrc } : {}),
  };
}

/** struct rtnexthop {u16 len; u8 flags; u8 hops (weight - 1); int ifindex} and attributes, each padded to 4 */
function decodeMultipath(multipath: Buffer): KernelNextHop[] {
  const found: KernelNextHop[] = [];
  for (let at = 0; at + 8 <= multipath.length; ) {
    const length = multipath.readUInt16LE(at);
    if (length < 8 || at + length > multipath.length) break;
    const inner = parseAttributes(multipath.subarray(at, at + length), 8);
    const via = inner.get(RTA_VIA);
    const gateway = inner.get(RTA_GATEWAY) ?? (via && via.length > 2 ? via.subarray(2) : undefined);
    found.push({
      ifIndex: multipath.readInt32LE(at + 4),
      weight: multipath[at + 3]! + 1,
      ...pathFlags(multipath[at + 2]!),
      ...(gateway ? { gateway: formatIp(gateway) } : {}),
    });
    at += (length + 3) & ~3;
  }
  return found;
}

function pathFlags(flags: number): { readonly dead: boolean; readonly onlink: boolean } {
  return { dead: (flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) !== 0, onlink: (flags & RTNH_F_ONLINK) !== 0 };
}

export interface RouteFilter {
  readonly protocol?: number;
  readonly exceptProtocol?: number;
  /** Default: all tables. */
  readonly table?: number;
}

function dumpRequest(family: IpFamily, filter: RouteFilter) {
  const table = filter.table ?? 0;
  const fill = (w: MessageWriter): void => {
    w.raw(addressFamily(family), 0, 0, 0, table < 256 ? table : 0, filter.protocol ?? 0, 0, 0).u32(0);
    if (table >= 256) w.attrU32(RTA_TABLE, table);
  };
  const decode = (message: NetlinkMessage): KernelRoute | undefined => {
    if (message.body[5] === filter.exceptProtocol) return undefined;
    const route = decodeRoute(message);
    if (!route || (filter.protocol !== undefined && route.protocol !== filter.protocol)) return undefined;
    return filter.table !== undefined && route.table !== filter.table ? undefined : route;
  };
  return [`dump of IPv${family} routes`, RTM_GETROUTE, fill, decode] as const;
}

/** The kernel makes a table with its first route and answers ENOENT until then: IPv4's main one too, where no address ever was. */
function noSuchTable(error: unknown): KernelRoute[] {
  if (error instanceof SysError && error.code === 'ENOENT') return [];
  throw error;
}

/** Filtered by the kernel where it can; entries of other tables or protocols never come back. */
export function dumpRoutes(netlink: Netlink, family: IpFamily, filter: RouteFilter = {}): KernelRoute[] {
  try {
    return netlink.dump(...dumpRequest(family, filter));
  } catch (error) {
    return noSuchTable(error);
  }
}

/** The same without holding up the event loop; the table may change meanwhile. */
export function dumpRoutesSliced(netlink: Netlink, family: IpFamily, filter: RouteFilter = {}): Promise<KernelRoute[]> {
  return netlink.dumpSliced(...dumpRequest(family, filter)).catch(noSuchTable);
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
  return askRoute(netlink, destination, (body) => {
    const attributes = parseAttributes(body, 12);
    const gateway = attributes.get(RTA_GATEWAY);
    const prefsrc = attributes.get(RTA_PREFSRC);
    return {
      ifIndex: attributeU32(attributes.get(RTA_OIF)) ?? 0,
      ...(gateway ? { gateway: formatIp(gateway) } : {}),
      ...(prefsrc ? { prefsrc: formatIp(prefsrc) } : {}),
    };
  });
}

/** Whether packets to `address` are taken here. An IPv6 address that was just added is none for a moment (addrconf_dad_work). */
export function isLocalAddress(netlink: Netlink, address: IpAddress): boolean {
  return askRoute(netlink, address, (body) => body[7]) === RTN_LOCAL;
}

function askRoute<T>(netlink: Netlink, destination: IpAddress, decode: (body: Buffer) => T): T | undefined {
  const bytes = parseIp(destination)!;
  const fill = (w: MessageWriter): void =>
    void w
      .raw(bytes.length === 4 ? AF_INET : AF_INET6, bytes.length * 8, 0, 0, 0, 0, 0, 0)
      .u32(0)
      .attr(RTA_DST, bytes);
  // ENETUNREACH, EHOSTUNREACH, EINVAL (blackhole), EACCES (prohibit)
  const noWay = [101, 113, 22, 13];
  return netlink.get(`route to ${destination}`, RTM_GETROUTE, fill, ({ body }) => decode(body), noWay);
}
