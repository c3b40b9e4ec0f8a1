import type { Socket } from 'node:net';
import { parseIp } from '#kit';
import { AF_INET, AF_INET6, IPPROTO_TCP, SO_BINDTODEVICE, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET } from './constants.ts';
import { type Fd, getIntOption, newSocket, setIntOption } from './fd.ts';
import * as libc from './libc.ts';
import { sockaddrIn } from './sockaddr.ts';
import { check } from './sys-error.ts';

const TCP_NODELAY = 1;
const TCP_INFO = 11;
const TCP_MD5SIG = 14;
const TCP_MD5SIG_EXT = 32;
const TCP_SAVE_SYN = 27;
const TCP_SAVED_SYN = 28;
const SOL_IP = 0;
const IP_TOS = 1;
const IP_TTL = 2;
const IP_FREEBIND = 15;
const IP_MINTTL = 21;
const SOL_IPV6 = 41;
const IPV6_UNICAST_HOPS = 16;
const IPV6_V6ONLY = 26;
const IPV6_TCLASS = 67;
const IPV6_MINHOPCOUNT = 73;
const IPV6_FREEBIND = 78;
const MD5_KEY_BYTES_MAX = 80;

/** Internetwork control (DSCP CS6), RFC 4271 appendix E. */
const TOS_INTERNETWORK_CONTROL = 0xc0;

export interface TcpSocketOptions {
  /** `0.0.0.0`, `::`, or an own address. */
  readonly local: string;
  /** 0: any. */
  readonly port: number;
  /** TTL or hop limit of what is sent, 1..255. Default: the system's. */
  readonly hops?: number;
  /** GTSM (RFC 5082): drop what arrives with less. On the listener too: SYN and SYN-ACK are judged by its options. */
  readonly minHops?: number;
  readonly device?: string;
  /** Default 0xc0. */
  readonly tos?: number;
  /** Of a listener: keeps the head of each SYN for `synHops`. */
  readonly saveSyn?: boolean;
  /** Binds also to an address that the node does not have (yet). */
  readonly freebind?: boolean;
  /** Zone of a link-local IPv6 address: an interface index. */
  readonly scopeId?: number;
}

/**
 * A bound TCP socket in this thread's namespace, for `listenTcp` or `connectTo`; `net.createServer().listen({fd})` takes it too. What is
 * accepted has the options of the listener. IPv6 sockets are IPv6 only: an IPv4 peer on a dual socket would be a mapped address, for the MD5 key and
 * for GTSM alike.
 *
 * @throws SysError EADDRINUSE, EADDRNOTAVAIL, EACCES (port below 1024 without NET_BIND_SERVICE), ENODEV ...
 */
export function tcpSocket(options: TcpSocketOptions): Fd {
  const six = options.local.includes(':');
  const level = six ? SOL_IPV6 : SOL_IP;
  const socket = newSocket(six ? AF_INET6 : AF_INET, SOCK_STREAM);
  try {
    const fd = socket.number;
    setIntOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    // A lone message does not wait for the acknowledgement of the one before.
    setIntOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (six) setIntOption(fd, SOL_IPV6, IPV6_V6ONLY, 1);
    if (options.hops) setIntOption(fd, level, six ? IPV6_UNICAST_HOPS : IP_TTL, options.hops);
    if (options.minHops) setIntOption(fd, level, six ? IPV6_MINHOPCOUNT : IP_MINTTL, options.minHops);
    if (options.saveSyn) setIntOption(fd, IPPROTO_TCP, TCP_SAVE_SYN, 1);
    if (options.freebind) setIntOption(fd, level, six ? IPV6_FREEBIND : IP_FREEBIND, 1);
    setIntOption(fd, level, six ? IPV6_TCLASS : IP_TOS, options.tos ?? TOS_INTERNETWORK_CONTROL);
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
 * Sets, changes or (key undefined) deletes the TCP-MD5 key (RFC 2385) for one peer, or for a prefix of peers (longest match wins). It must be there
 * before the SYN: on the listener for every peer, on the connecting socket before connect(). A session made before a change on the
 * listener keeps its key.
 *
 * struct tcp_md5sig {sockaddr_storage addr (128); u8 flags, prefixlen; u16 keylen; int ifindex; u8 key[80]} = 216 bytes
 *
 * @throws SysError ENOENT when a key to delete is not there.
 */
export function setMd5Key(fd: number, peer: string, key: string | undefined, prefixLength?: number): void {
  const bytes = Buffer.alloc(216);
  const secret = Buffer.from(key ?? '');
  if (key === '') throw new Error(`TCP-MD5 key for ${peer} is empty`);
  if (secret.length > MD5_KEY_BYTES_MAX) {
    throw new Error(`TCP-MD5 key for ${peer} has ${secret.length} bytes, at most ${MD5_KEY_BYTES_MAX} are possible`);
  }
  bytes.set(sockaddrIn(peer, 0), 0);
  bytes.writeUInt16LE(secret.length, 130);
  bytes.set(secret, 136);
  if (prefixLength !== undefined) {
    bytes[128] = 1;
    bytes[129] = prefixLength;
  }
  const option = prefixLength === undefined ? TCP_MD5SIG : TCP_MD5SIG_EXT;
  const result = libc.setsockopt(fd, IPPROTO_TCP, option, bytes, bytes.length);
  // The key need not stay in the heap.
  secret.fill(0);
  bytes.fill(0);
  check('setsockopt(TCP_MD5SIG)', result, peer);
}

/** The descriptor inside a node:net socket: the one place for a semi-internal, node:net has no public way to it. */
export function descriptorOf(socket: Socket): number {
  const fd = (socket as unknown as { readonly _handle?: { readonly fd?: number } | null })._handle?.fd;
  if (typeof fd !== 'number' || fd < 0) throw new Error('socket has no descriptor: it was destroyed');
  return fd;
}

export interface TcpOptionValues {
  readonly hops: number;
  readonly minHops: number;
  readonly tos: number;
  readonly device: string;
}

/** What the kernel holds for a TCP socket; accepted ones inherit hops, minimum, TOS and device from the listener. */
export function tcpOptions(fd: number, family: 4 | 6): TcpOptionValues {
  const device = Buffer.alloc(16);
  const length = Buffer.from([16, 0, 0, 0]);
  check('getsockopt(SO_BINDTODEVICE)', libc.getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, length));
  const get = (v4: number, v6: number): number =>
    family === 4 ? getIntOption(fd, SOL_IP, v4) : getIntOption(fd, SOL_IPV6, v6);
  return {
    hops: get(IP_TTL, IPV6_UNICAST_HOPS),
    minHops: get(IP_MINTTL, IPV6_MINHOPCOUNT),
    tos: get(IP_TOS, IPV6_TCLASS),
    device: device.toString('utf8', 0, Math.max(0, length.readUInt32LE(0) - 1)),
  };
}

/** Segments that were sent and that the other side has not acknowledged yet. */
export function unacknowledgedSegments(fd: number): number {
  // struct tcp_info: tcpi_unacked.
  const [bytes, length] = [Buffer.alloc(28), Buffer.from([28, 0, 0, 0])];
  check('getsockopt(TCP_INFO)', libc.getsockopt(fd, IPPROTO_TCP, TCP_INFO, bytes, length));
  return bytes.readUInt32LE(24);
}

/** GTSM for a connection that a listener without it accepted: from now on what arrives with less is dropped. @throws SysError */
export function setMinHops(fd: number, family: 4 | 6, hops: number): void {
  if (family === 4) setIntOption(fd, SOL_IP, IP_MINTTL, hops);
  else setIntOption(fd, SOL_IPV6, IPV6_MINHOPCOUNT, hops);
}

/** TTL or hop limit of the SYN of an accepted connection, once, where its listener saves them; undefined when there is none. */
export function synHops(fd: number, family: 4 | 6): number | undefined {
  const head = Buffer.alloc(256);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(head.length);
  check('getsockopt(TCP_SAVED_SYN)', libc.getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN, head, length));
  return length.readUInt32LE(0) < 20 ? undefined : head[family === 4 ? 8 : 7]!;
}

/** Starts a connection; returns 0 or -EINPROGRESS (wait until writable, then SO_ERROR) or another -errno. */
export function connectTo(fd: number, address: string, port: number, scopeId = 0): number {
  if (!parseIp(address)) throw new Error(`not an IP address: ${address}`);
  const to = sockaddrIn(address, port, scopeId);
  return libc.connect(fd, to, to.length);
}
