/**
 * Ipsets made, and members added and deleted, by netlink (include/uapi/linux/netfilter/ipset/ip_set.h): some tens of microseconds
 * each, where a process costs milliseconds. Destroying sets stays with the `ipset` program: the kernel may wait for a grace period there.
 */
import { type IpFamily, parseCidr, parseIp } from '#kit';
import { AF_INET, AF_INET6 } from '../constants.ts';
import { type MessageWriter, NESTED } from './codec.ts';
import { NETLINK_NETFILTER, Netlink } from './socket.ts';

/** NFNL_SUBSYS_IPSET << 8 and the command. */
const IPSET_CREATE = 0x602;
const IPSET_ADD = 0x609;
const IPSET_DEL = 0x60a;
const IPSET_PROTOCOL = 6;
const ATTR_PROTOCOL = 1;
const ATTR_SETNAME = 2;
const ATTR_TYPENAME = 3;
const ATTR_REVISION = 4;
const ATTR_FAMILY = 5;
const ATTR_DATA = 7;
const DATA_IP = 1;
const DATA_CIDR = 3;
const DATA_PORT = 4;
const DATA_TIMEOUT = 6;
const DATA_PROTO = 7;
const DATA_MAXELEM = 19;
const DATA_IFACE = 23;
const DATA_COMMENT = 26;
const IPADDR_IPV4 = 1;
const IPADDR_IPV6 = 2;
const NET_BYTEORDER = 0x4000;
/** Kernel errors of ipset begin here (IPSET_ERR_PRIVATE); lower ones are errnos. */
const IPSET_ERROR_FIRST = 4096;
const ipsetErrors: Readonly<Record<number, string>> = {
  4097: 'protocol error',
  4098: 'type is not known',
  4099: 'too many sets',
  4103: 'exists already, or does not exist',
  4104: 'prefix length is not allowed',
  4106: 'address family does not fit the set',
  4352: 'set is full',
};
const CHANGES_PER_BATCH = 500;
/** Linux 4.0 knows them, as does every ipset program since; what came later is not asked for. */
const revisions: Readonly<Record<SetMemberChange['type'], number>> = { ip: 4, net: 6, 'ip,port': 5, 'net,iface': 6 };
const protocolNumbers: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132 };

export interface SetMemberChange {
  readonly op: 'add' | 'del';
  readonly set: string;
  readonly type: 'ip' | 'net' | 'ip,port' | 'net,iface';
  readonly family: IpFamily;
  /** As `ipset save` prints it: `10.1.0.3`, `10.0.0.0/8`, `10.1.0.3,tcp:80`, `10.1.0.3,eth0`. */
  readonly member: string;
  /** In a set with timeouts and comments; else the kernel refuses them. */
  readonly life?: { readonly timeoutSec: number; readonly comment: string };
}

/** A `hash:` set without members. */
export interface SetCreation {
  readonly op: 'create';
  readonly set: string;
  readonly type: SetMemberChange['type'];
  readonly family: IpFamily;
  /** Members that it has room for (maxelem). */
  readonly room: number;
}

export interface SetMembers {
  /**
   * In order. Making what is there as asked, adding what is there and deleting what is not are no failures. Returns the first failure in words, undefined when all is done;
   * those behind a failing one of the same batch are done as well.
   */
  change(changes: readonly (SetMemberChange | SetCreation)[]): string | undefined;
  close(): void;
}

/** Sets of this thread's namespace. */
export function openSetMembers(): SetMembers {
  const netlink = new Netlink({ protocol: NETLINK_NETFILTER });
  return {
    change(changes) {
      for (let at = 0; at < changes.length; at += CHANGES_PER_BATCH) {
        const batch = changes.slice(at, at + CHANGES_PER_BATCH);
        for (const change of batch) {
          // Without NLM_F_EXCL the kernel takes it as `-exist`.
          if (change.op === 'create') netlink.add(IPSET_CREATE, 0, (w) => writeCreation(w, change));
          else netlink.add(change.op === 'add' ? IPSET_ADD : IPSET_DEL, 0, (w) => writeChange(w, change));
        }
        const [failure] = netlink.flush();
        if (!failure) continue;
        const failed = batch[failure.index]!;
        const what = failed.op === 'create' ? `hash:${failed.type}` : failed.member;
        const why = failure.errno >= IPSET_ERROR_FIRST ? (ipsetErrors[failure.errno] ?? failure.errno) : failure.code;
        return `${failed.op} ${failed.set} ${what}: ${why}`;
      }
      return undefined;
    },
    close: () => netlink.close(),
  };
}

function writeCreation(w: MessageWriter, { set, type, family, room }: SetCreation): void {
  const address = family === 4 ? AF_INET : AF_INET6;
  w.raw(address, 0, 0, 0)
    .attrU8(ATTR_PROTOCOL, IPSET_PROTOCOL)
    .attrString(ATTR_SETNAME, set)
    .attrString(ATTR_TYPENAME, `hash:${type}`)
    .attrU8(ATTR_REVISION, revisions[type])
    .attrU8(ATTR_FAMILY, address)
    .nest(ATTR_DATA | NESTED, (data) => data.attrU32be(DATA_MAXELEM | NET_BYTEORDER, room));
}

function writeChange(w: MessageWriter, { set, type, family, member, life }: SetMemberChange): void {
  const comma = member.indexOf(',');
  const head = comma < 0 ? member : member.slice(0, comma);
  const tail = comma < 0 ? '' : member.slice(comma + 1);
  w.raw(family === 4 ? AF_INET : AF_INET6, 0, 0, 0)
    .attrU8(ATTR_PROTOCOL, IPSET_PROTOCOL)
    .attrString(ATTR_SETNAME, set)
    .nest(ATTR_DATA | NESTED, (data) => {
      const prefix = head.includes('/') ? parseCidr(head) : undefined;
      const address = prefix?.bytes ?? parseIp(head);
      if (!address || address.length !== (family === 4 ? 4 : 16)) {
        throw new Error(`set member ${member}: ${head} is no IPv${family} address or prefix`);
      }
      data.nest(DATA_IP | NESTED, (ip) => ip.attr((family === 4 ? IPADDR_IPV4 : IPADDR_IPV6) | NET_BYTEORDER, address));
      if (prefix) data.attrU8(DATA_CIDR, prefix.length);
      if (type === 'ip,port') {
        const [protocol = '', port = ''] = tail.split(':');
        const number = protocolNumbers[protocol];
        if (number === undefined) throw new Error(`set member ${member}: protocol ${protocol} is not known`);
        data.attr(DATA_PORT | NET_BYTEORDER, Uint8Array.of(Number(port) >> 8, Number(port) & 0xff));
        data.attrU8(DATA_PROTO, number);
      } else if (type === 'net,iface') data.attrString(DATA_IFACE, tail);
      if (life) data.attrU32be(DATA_TIMEOUT | NET_BYTEORDER, life.timeoutSec).attrString(DATA_COMMENT, life.comment);
    });
}
