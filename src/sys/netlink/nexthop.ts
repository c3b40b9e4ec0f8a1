import { formatIp, type IpAddress, type IpFamily, parseIp } from '#kit';
import { AF_INET, AF_INET6 } from '../constants.ts';
import { addressFamily } from './address.ts';
import {
  attributeU32,
  type MessageWriter,
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_REPLACE,
  parseAttributes,
} from './codec.ts';
import type { Netlink } from './socket.ts';

export const RTM_NEWNEXTHOP = 104;
export const RTM_DELNEXTHOP = 105;
export const RTM_GETNEXTHOP = 106;

const NHA_ID = 1;
const NHA_GROUP = 2;
const NHA_BLACKHOLE = 4;
const NHA_OIF = 5;
const NHA_GATEWAY = 6;
const RTNH_F_ONLINK = 4;

export interface GroupMember {
  readonly id: number;
  /** 1..256. */
  readonly weight: number;
}

export interface KernelNexthop {
  readonly id: number;
  readonly protocol: number;
  /** 0 for a group. */
  readonly family: IpFamily | 0;
  readonly ifIndex: number;
  readonly gateway?: IpAddress;
  readonly onlink: boolean;
  readonly blackhole: boolean;
  /** Empty unless a group. */
  readonly group: readonly GroupMember[];
}

/** nhmsg: family, scope, protocol, reserved, flags (4) */
export function decodeNexthop(message: NetlinkMessage): KernelNexthop {
  const { body } = message;
  const attributes = parseAttributes(body, 8);
  const gateway = attributes.get(NHA_GATEWAY);
  const members = attributes.get(NHA_GROUP);
  const group: GroupMember[] = [];
  // struct nexthop_grp {u32 id; u8 weight - 1; u8 weight_high; u16}
  for (let at = 0; members && at + 8 <= members.length; at += 8) {
    group.push({ id: members.readUInt32LE(at), weight: members[at + 4]! + 1 });
  }
  return {
    id: attributeU32(attributes.get(NHA_ID)) ?? 0,
    protocol: body[2]!,
    family: members ? 0 : body[0] === AF_INET ? 4 : body[0] === AF_INET6 ? 6 : 0,
    ifIndex: attributeU32(attributes.get(NHA_OIF)) ?? 0,
    onlink: (body.readUInt32LE(4) & RTNH_F_ONLINK) !== 0,
    blackhole: attributes.has(NHA_BLACKHOLE),
    group,
    ...(gateway ? { gateway: formatIp(gateway) } : {}),
  };
}

export function dumpNexthops(netlink: Netlink, filter: { readonly protocol?: number } = {}): KernelNexthop[] {
  const fill = (w: MessageWriter): void => void w.raw(0, 0, 0, 0).u32(0);
  return netlink.dump('dump of next hops', RTM_GETNEXTHOP, fill, (message) => {
    const nexthop = decodeNexthop(message);
    return filter.protocol !== undefined && nexthop.protocol !== filter.protocol ? undefined : nexthop;
  });
}

export type NexthopSpec = { readonly id: number; readonly protocol: number } & (
  | { readonly family: IpFamily; readonly ifIndex: number; readonly gateway?: IpAddress; readonly onlink?: boolean }
  /** The kernel binds it to `lo`, which must be up when it is made. */
  | { readonly family: IpFamily; readonly blackhole: true }
  | { readonly group: readonly GroupMember[] }
);

/** Adds the object or replaces its content; routes that use it follow in the same instant. */
export function replaceNexthop(netlink: Netlink, nexthop: NexthopSpec): Netlink {
  return netlink.add(RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_REPLACE, (w) => {
    if ('group' in nexthop) {
      const members = Buffer.alloc(8 * nexthop.group.length);
      nexthop.group.forEach((member, i) => {
        members.writeUInt32LE(member.id, 8 * i);
        members[8 * i + 4] = member.weight - 1;
      });
      w.raw(0, 0, nexthop.protocol, 0).u32(0).attrU32(NHA_ID, nexthop.id).attr(NHA_GROUP, members);
      return;
    }
    if ('blackhole' in nexthop) {
      w.raw(addressFamily(nexthop.family), 0, nexthop.protocol, 0).u32(0);
      w.attrU32(NHA_ID, nexthop.id).attr(NHA_BLACKHOLE, Buffer.alloc(0));
      return;
    }
    w.raw(addressFamily(nexthop.family), 0, nexthop.protocol, 0)
      .u32(nexthop.onlink ? RTNH_F_ONLINK : 0)
      .attrU32(NHA_ID, nexthop.id)
      .attrU32(NHA_OIF, nexthop.ifIndex);
    if (nexthop.gateway) w.attr(NHA_GATEWAY, parseIp(nexthop.gateway)!);
  });
}

/** Its routes go with it, silently when nexthop_compat_mode=0. The header names no protocol: the kernel refuses one here. */
export function deleteNexthop(netlink: Netlink, id: number): Netlink {
  return netlink.add(RTM_DELNEXTHOP, 0, (w) => void w.raw(0, 0, 0, 0).u32(0).attrU32(NHA_ID, id));
}
