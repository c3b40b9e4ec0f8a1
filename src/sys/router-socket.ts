import type { IpAddress } from '#kit';
import { AF_INET6, MSG_DONTWAIT, SO_BINDTODEVICE, SOCK_RAW, SOL_SOCKET } from './constants.ts';
import { type Fd, newSocket, setIntOption } from './fd.ts';
import * as libc from './libc.ts';
import { parseSockaddrIn, sockaddrIn } from './sockaddr.ts';
import { check } from './sys-error.ts';
import { type Watcher, watch } from './watch.ts';

const IPPROTO_ICMPV6 = 58;
const ICMP6_FILTER = 1;
const SOL_IPV6 = 41;
const IPV6_UNICAST_HOPS = 16;
const IPV6_MULTICAST_IF = 17;
const IPV6_MULTICAST_HOPS = 18;
const IPV6_MULTICAST_LOOP = 19;
const IPV6_ADD_MEMBERSHIP = 20;
const IPV6_RECVHOPLIMIT = 51;
const IPV6_HOPLIMIT = 52;
/** Longest message looked at; what is longer is cut. */
const MESSAGE_BYTES = 1500;
const MESSAGES_PER_TURN_MAX = 64;

export interface RouterMessage {
  /** Without zone; `::` where the sender has none yet. */
  readonly source: IpAddress;
  readonly hopLimit: number;
  /** ICMPv6 from its type on; the kernel has checked the checksum. Only valid during the call. */
  readonly bytes: Uint8Array;
}

/** Router advertisements and solicitations (RFC 4861) on one interface of this thread's namespace; needs NET_RAW. */
export interface RouterSocket {
  /** The kernel fills in the checksum and the source. Returns 0, or -errno: EADDRNOTAVAIL without a usable link-local address. */
  send(bytes: Uint8Array, to: string): number;
  close(): void;
}

/** Hosts and routers of a link. */
export const ALL_NODES = 'ff02::1';
export const ALL_ROUTERS = 'ff02::2';

/** @throws SysError EPERM without NET_RAW, ENODEV when the interface is gone. */
export function openRouterSocket(
  interfaceName: string,
  interfaceIndex: number,
  onMessage: (message: RouterMessage) => void,
): RouterSocket {
  const socket = newSocket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
  try {
    const fd = socket.number;
    const name = Buffer.from(`${interfaceName}\0`);
    check('SO_BINDTODEVICE', libc.setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, name.length), interfaceName);
    // A set bit blocks a type: all but solicitation (133) and advertisement (134).
    const filter = Buffer.alloc(32, 0xff);
    filter.writeUInt32LE(~((1 << (133 & 31)) | (1 << (134 & 31))) >>> 0, 4 * (133 >> 5));
    check('ICMP6_FILTER', libc.setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, filter, filter.length));
    setIntOption(fd, SOL_IPV6, IPV6_UNICAST_HOPS, 255);
    setIntOption(fd, SOL_IPV6, IPV6_MULTICAST_HOPS, 255);
    setIntOption(fd, SOL_IPV6, IPV6_MULTICAST_LOOP, 0);
    setIntOption(fd, SOL_IPV6, IPV6_MULTICAST_IF, interfaceIndex);
    setIntOption(fd, SOL_IPV6, IPV6_RECVHOPLIMIT, 1);
    // struct ipv6_mreq {in6_addr group; int interface}
    const group = Buffer.alloc(20);
    group.set(sockaddrIn(ALL_ROUTERS, 0).subarray(8, 24));
    group.writeInt32LE(interfaceIndex, 16);
    check('IPV6_ADD_MEMBERSHIP', libc.setsockopt(fd, SOL_IPV6, IPV6_ADD_MEMBERSHIP, group, group.length));
    return new Socket(socket, interfaceIndex, onMessage);
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** The msghdr's parts are fields: their addresses are stored in one another, where the collector does not see them. */
class Socket implements RouterSocket {
  readonly #fd: Fd;
  readonly #index: number;
  readonly #watcher: Watcher;
  readonly #data = Buffer.alloc(MESSAGE_BYTES);
  readonly #name = Buffer.alloc(28);
  readonly #control = Buffer.alloc(64);
  readonly #vector = Buffer.alloc(16);
  readonly #header = Buffer.alloc(56);

  constructor(fd: Fd, index: number, onMessage: (message: RouterMessage) => void) {
    this.#fd = fd;
    this.#index = index;
    this.#vector.writeBigUInt64LE(libc.addressOf(this.#data), 0);
    this.#vector.writeBigUInt64LE(BigInt(MESSAGE_BYTES), 8);
    this.#header.writeBigUInt64LE(libc.addressOf(this.#name), 0);
    this.#header.writeBigUInt64LE(libc.addressOf(this.#vector), 16);
    this.#header.writeBigUInt64LE(1n, 24);
    this.#header.writeBigUInt64LE(libc.addressOf(this.#control), 32);
    this.#watcher = watch(fd.number, { readable: true }, (status) => {
      if (status < 0) this.#watcher.restart();
      for (let budget = MESSAGES_PER_TURN_MAX; budget > 0 && !fd.closed; budget--) {
        const message = this.#receive();
        if (!message) return;
        onMessage(message);
      }
    });
  }

  send(bytes: Uint8Array, to: string): number {
    const address = sockaddrIn(to, 0, this.#index);
    const result = libc.sendto(this.#fd.number, bytes, bytes.length, MSG_DONTWAIT, address, address.length);
    return Math.min(result, 0);
  }
  close(): void {
    this.#watcher.close();
    this.#fd.close();
  }

  /** Undefined: nothing more; an error (the link went down) is like that, too. */
  #receive(): RouterMessage | undefined {
    this.#header.writeUInt32LE(this.#name.length, 8);
    this.#header.writeBigUInt64LE(BigInt(this.#control.length), 40);
    this.#header.writeUInt32LE(0, 48);
    const length = libc.recvmsg(this.#fd.number, this.#header, MSG_DONTWAIT);
    if (length < 0) return undefined;
    const source = parseSockaddrIn(this.#name)?.address ?? ('::' as IpAddress);
    return { source, hopLimit: this.#hopLimit(), bytes: this.#data.subarray(0, length) };
  }

  /** struct cmsghdr {size_t len; int level; int type} and data, each padded to 8; -1 when it is not there. */
  #hopLimit(): number {
    const end = this.#header.readUInt32LE(40);
    for (let at = 0; at + 20 <= end; ) {
      const length = this.#control.readUInt32LE(at);
      if (length < 16 || at + length > end) break;
      const isHopLimit =
        this.#control.readInt32LE(at + 8) === SOL_IPV6 && this.#control.readInt32LE(at + 12) === IPV6_HOPLIMIT;
      if (isHopLimit) return this.#control.readInt32LE(at + 16);
      at += (length + 7) & ~7;
    }
    return -1;
  }
}
