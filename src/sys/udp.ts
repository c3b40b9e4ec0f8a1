import { parseIp } from '#kit';
import { AF_INET, AF_INET6, MSG_DONTWAIT, SO_BINDTODEVICE, SO_RCVBUF, SOCK_DGRAM, SOL_SOCKET } from './constants.ts';
import { type Fd, newSocket, setIntOption } from './fd.ts';
import * as libc from './libc.ts';
import { parseSockaddrIn, sockaddrIn } from './sockaddr.ts';
import { check } from './sys-error.ts';

const SOL_IP = 0;
const IP_TOS = 1;
const IP_TTL = 2;
const IP_PKTINFO = 8;
const IP_RECVTTL = 12;
const SOL_IPV6 = 41;
const IPV6_UNICAST_HOPS = 16;
const IPV6_V6ONLY = 26;
const IPV6_RECVPKTINFO = 49;
const IPV6_PKTINFO = 50;
const IPV6_RECVHOPLIMIT = 51;
const IPV6_HOPLIMIT = 52;
const IPV6_TCLASS = 67;
const IFNAMSIZ = 16;

export interface UdpSocketOptions {
  /** `0.0.0.0`, `::`, or an own address. */
  readonly local: string;
  readonly port: number;
  /** TTL or hop limit of what is sent, 1..255. */
  readonly hops: number;
  readonly tos: number;
  readonly device?: string;
  /** Zone of a link-local IPv6 address: an interface index. */
  readonly scopeId?: number;
  /** Tells hops, interface and destination of what is received: see `UdpReceiver`. */
  readonly receiveInfo?: boolean;
  /** The kernel doubles it, and has a minimum of its own. */
  readonly receiveBufferBytes?: number;
}

/**
 * A bound UDP socket in this thread's namespace. IPv6 sockets are IPv6 only.
 *
 * @throws SysError EADDRINUSE, EADDRNOTAVAIL, ENODEV ...
 */
export function udpSocket(options: UdpSocketOptions): Fd {
  const six = options.local.includes(':');
  const socket = newSocket(six ? AF_INET6 : AF_INET, SOCK_DGRAM);
  try {
    const fd = socket.number;
    if (six) setIntOption(fd, SOL_IPV6, IPV6_V6ONLY, 1);
    setIntOption(fd, six ? SOL_IPV6 : SOL_IP, six ? IPV6_UNICAST_HOPS : IP_TTL, options.hops);
    setIntOption(fd, six ? SOL_IPV6 : SOL_IP, six ? IPV6_TCLASS : IP_TOS, options.tos);
    if (options.receiveInfo) {
      setIntOption(fd, six ? SOL_IPV6 : SOL_IP, six ? IPV6_RECVHOPLIMIT : IP_RECVTTL, 1);
      setIntOption(fd, six ? SOL_IPV6 : SOL_IP, six ? IPV6_RECVPKTINFO : IP_PKTINFO, 1);
    }
    if (options.receiveBufferBytes !== undefined) {
      setIntOption(fd, SOL_SOCKET, SO_RCVBUF, options.receiveBufferBytes);
    }
    if (options.device) {
      const name = Buffer.from(`${options.device}\0`);
      check('SO_BINDTODEVICE', libc.setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, name.length), options.device);
    }
    const address = sockaddrIn(options.local, options.port, options.scopeId);
    check('bind', libc.bind(fd, address, address.length), `${options.local} port ${options.port}`);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/**
 * Receives datagrams one by one with what the kernel tells of each; nothing is allocated for one but the texts that are asked for. The
 * kernel writes through addresses stored in `#header` and `#vector`: the Buffers are fields so that they live as long as this object.
 */
export class UdpReceiver {
  /** Of the last datagram, cut off where it did not fit. */
  readonly data: Buffer;
  /** TTL or hop limit as received; -1: not told. */
  hops = -1;
  /** The interface that it came in by; 0: not told. */
  interfaceIndex = 0;
  readonly #name = Buffer.alloc(28);
  readonly #control = Buffer.alloc(128);
  readonly #vector = Buffer.alloc(16);
  readonly #header = Buffer.alloc(56);
  readonly #interfaceName = Buffer.alloc(IFNAMSIZ);
  #destinationAt = -1;
  #six = false;

  constructor(dataBytes: number) {
    this.data = Buffer.alloc(dataBytes);
    this.#vector.writeBigUInt64LE(libc.addressOf(this.data), 0);
    this.#vector.writeUInt32LE(dataBytes, 8);
    this.#header.writeBigUInt64LE(libc.addressOf(this.#name), 0);
    this.#header.writeBigUInt64LE(libc.addressOf(this.#vector), 16);
    this.#header.writeBigUInt64LE(1n, 24);
    this.#header.writeBigUInt64LE(libc.addressOf(this.#control), 32);
  }

  /** Never blocks. Bytes in `data`, or -errno. */
  receive(fd: number): number {
    this.#header.writeUInt32LE(this.#name.length, 8);
    this.#header.writeUInt32LE(this.#control.length, 40);
    this.#header.writeUInt32LE(0, 48);
    const result = libc.recvmsg(fd, this.#header, MSG_DONTWAIT);
    if (result >= 0) this.#readControl();
    return result;
  }

  /** Address of the sender. */
  get source(): string {
    return parseSockaddrIn(this.#name)?.address ?? '';
  }
  /** Address that it was sent to; empty: not told. */
  get destination(): string {
    if (this.#destinationAt < 0) return '';
    const address = Buffer.alloc(28);
    address.writeUInt16LE(this.#six ? AF_INET6 : AF_INET, 0);
    const length = this.#six ? 16 : 4;
    this.#control.copy(address, this.#six ? 8 : 4, this.#destinationAt, this.#destinationAt + length);
    return parseSockaddrIn(address)?.address ?? '';
  }
  /** Name of `interfaceIndex`; empty: not told, or gone. */
  get interface(): string {
    return interfaceName(this.interfaceIndex, this.#interfaceName);
  }

  /** struct cmsghdr {size_t len; int level; int type} and data, each padded to 8. */
  #readControl(): void {
    this.hops = -1;
    this.interfaceIndex = 0;
    this.#destinationAt = -1;
    const control = this.#control;
    const end = Math.min(this.#header.readUInt32LE(40), control.length);
    for (let at = 0; at + 16 <= end; ) {
      const length = control.readUInt32LE(at);
      if (length < 16 || at + length > end) return;
      const level = control.readInt32LE(at + 8);
      const type = control.readInt32LE(at + 12);
      const data = at + 16;
      if (length >= 20 && ((level === SOL_IP && type === IP_TTL) || (level === SOL_IPV6 && type === IPV6_HOPLIMIT))) {
        this.hops = control.readInt32LE(data);
      } else if (level === SOL_IP && type === IP_PKTINFO && length >= 28) {
        // struct in_pktinfo {int ifindex; in_addr spec_dst, addr}
        this.#six = false;
        this.interfaceIndex = control.readInt32LE(data);
        this.#destinationAt = data + 8;
      } else if (level === SOL_IPV6 && type === IPV6_PKTINFO && length >= 36) {
        // struct in6_pktinfo {in6_addr addr; unsigned ifindex}
        this.#six = true;
        this.interfaceIndex = control.readInt32LE(data + 16);
        this.#destinationAt = data;
      }
      at += (length + 7) & ~7;
    }
  }
}

function interfaceName(index: number, into: Buffer): string {
  if (index <= 0) return '';
  into.fill(0);
  libc.ifIndexToName(index, into);
  const end = into.indexOf(0);
  return into.toString('latin1', 0, end < 0 ? into.length : end);
}

/** Destination for `libc.sendto`. @throws Error when `address` is none. */
export function udpDestination(address: string, port: number, scopeId = 0): Buffer {
  if (!parseIp(address)) throw new Error(`not an IP address: ${address}`);
  return sockaddrIn(address, port, scopeId);
}
