/**
 * TCP-AO (RFC 5925) through the socket options of Linux 6.7 and later with CONFIG_TCP_AO; layouts of include/uapi/linux/tcp.h.
 *
 * Keys are set before the SYN: on the listener for every peer, on the connecting socket before connect(). An accepted connection has
 * those that fit its peer, as they were set: with the address and prefix length that the listener had them for. Once a socket has a key
 * for an address, unsigned segments from there are dropped. Deleting a key from a connection waits for an RCU grace period, some
 * milliseconds; from a listener not.
 */
import { AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM } from './constants.ts';
import { newSocket } from './fd.ts';
import * as libc from './libc.ts';
import { sockaddrIn } from './sockaddr.ts';
import { check, SysError } from './sys-error.ts';

const TCP_AO_ADD_KEY = 38;
const TCP_AO_DEL_KEY = 39;
const TCP_AO_INFO = 40;

const TCP_AO_KEYF_EXCLUDE_OPT = 2;
/** Octets of the MAC: both algorithms of RFC 5926 are cut to 96 bits. */
const macBytes = 12;
const keyBytesMax = 80;

/** The two of RFC 5926 2.1, and what the kernel calls them: by `cmac(aes128)` it derives keys as clause 3.1.1.2 says. */
const kernelNames = { 'hmac-sha-1-96': 'hmac(sha1)', 'aes-128-cmac-96': 'cmac(aes128)' } as const;

export type AoAlgorithm = keyof typeof kernelNames;

/** KeyIDs of what we send with a key, and of what the peer does, 0..255. */
export interface AoIds {
  readonly sendId: number;
  readonly recvId: number;
}

/** A master key tuple (RFC 5925 3.1) but for the addresses. */
export interface AoKey extends AoIds {
  readonly algorithm: AoAlgorithm;
  /** 1 to 80 bytes of UTF-8. */
  readonly secret: string;
  /** Only the TCP-AO option itself is in the MAC, no other. */
  readonly excludeTcpOptions?: boolean;
}

/** Whom a key is for: an address without zone, or the address of a prefix with its length. */
export interface AoSubject {
  readonly address: string;
  readonly prefixLength?: number;
}

function prefixOf({ address, prefixLength }: AoSubject): number {
  return prefixLength ?? (address.includes(':') ? 128 : 32);
}

/**
 * struct tcp_ao_add {sockaddr_storage addr (128); char alg_name[64]; s32 ifindex; u32 set_current:1, set_rnext:1; u16 reserved2;
 * u8 prefix, sndid, rcvid, maclen, keyflags, keylen; u8 key[80]} = 288 bytes
 *
 * @param use the key is the one to send with, and to ask the peer for; not on listeners.
 * @throws Error when the secret is empty or too long.
 */
export function encodeAoAdd(subject: AoSubject, key: AoKey, use: boolean): Buffer {
  const secret = Buffer.from(key.secret);
  if (secret.length === 0 || secret.length > keyBytesMax) {
    const who = `${key.sendId}/${key.recvId} for ${subject.address}`;
    throw new Error(`TCP-AO key ${who} has ${secret.length} bytes; 1 to ${keyBytesMax} are possible`);
  }
  const bytes = Buffer.alloc(288);
  bytes.set(sockaddrIn(subject.address, 0), 0);
  bytes.write(kernelNames[key.algorithm], 128, 'latin1');
  bytes.writeUInt32LE(use ? 3 : 0, 196);
  bytes[202] = prefixOf(subject);
  bytes[203] = key.sendId;
  bytes[204] = key.recvId;
  bytes[205] = macBytes;
  bytes[206] = key.excludeTcpOptions ? TCP_AO_KEYF_EXCLUDE_OPT : 0;
  bytes[207] = secret.length;
  bytes.set(secret, 208);
  secret.fill(0);
  return bytes;
}

/**
 * struct tcp_ao_del {sockaddr_storage addr (128); s32 ifindex; u32 set_current:1, set_rnext:1, del_async:1; u16 reserved2;
 * u8 prefix, sndid, rcvid, current_key, rnext, keyflags} = 144 bytes
 *
 * @param from a listener lets go of it at once; a connection may be told what to use `instead`.
 */
export function encodeAoDelete(
  subject: AoSubject,
  { sendId, recvId }: AoIds,
  from: 'listener' | 'connection',
  instead?: AoIds,
): Buffer {
  const bytes = Buffer.alloc(144);
  bytes.set(sockaddrIn(subject.address, 0), 0);
  bytes.writeUInt32LE((instead ? 3 : 0) | (from === 'listener' ? 4 : 0), 132);
  bytes[138] = prefixOf(subject);
  bytes[139] = sendId;
  bytes[140] = recvId;
  bytes[141] = instead?.sendId ?? 0;
  bytes[142] = instead?.recvId ?? 0;
  return bytes;
}

/**
 * struct tcp_ao_info_opt {u32 set_current:1, set_rnext:1, ao_required:1, set_counters:1, accept_icmps:1; u16 reserved2;
 * u8 current_key, rnext; u64 pkt_good, pkt_bad, pkt_key_not_found, pkt_ao_required, pkt_dropped_icmp} = 48 bytes
 */
export function encodeAoRnext(recvId: number): Buffer {
  const bytes = Buffer.alloc(48);
  bytes.writeUInt32LE(2, 0);
  bytes[7] = recvId;
  return bytes;
}

function setOption(fd: number, option: number, name: string, bytes: Buffer, detail: string): void {
  const result = libc.setsockopt(fd, IPPROTO_TCP, option, bytes, bytes.length);
  // The key need not stay in the heap.
  bytes.fill(0);
  check(`setsockopt(${name})`, result, detail);
}

const named = ({ address }: AoSubject, { sendId, recvId }: AoIds): string => `${address}, key ${sendId}/${recvId}`;

/**
 * @throws SysError EEXIST when a key for an overlapping address has one of the ids, EKEYREJECTED beside a TCP-MD5 key, ENOPROTOOPT and
 * ENOENT as `aoFault` explains, ENOMEM (net.core.optmem_max).
 */
export function addAoKey(fd: number, subject: AoSubject, key: AoKey, use: boolean): void {
  setOption(fd, TCP_AO_ADD_KEY, 'TCP_AO_ADD_KEY', encodeAoAdd(subject, key, use), named(subject, key));
}

/** From a listener. @throws SysError ENOENT when it is not there. */
export function deleteListenerAoKey(fd: number, subject: AoSubject, key: AoIds): void {
  setOption(fd, TCP_AO_DEL_KEY, 'TCP_AO_DEL_KEY', encodeAoDelete(subject, key, 'listener'), named(subject, key));
}

/**
 * From a connection, which goes on with `instead` when the key is in use: then what we send is lost until the peer has that one.
 *
 * @throws SysError ENOENT when it, or `instead`, is not there; EBUSY when the peer asked for it in this moment.
 */
export function deleteAoKey(fd: number, subject: AoSubject, key: AoIds, instead: AoIds): void {
  const state = aoState(fd);
  const inUse = state?.current === key.sendId || state?.rnext === key.recvId;
  const bytes = encodeAoDelete(subject, key, 'connection', inUse ? instead : undefined);
  setOption(fd, TCP_AO_DEL_KEY, 'TCP_AO_DEL_KEY', bytes, named(subject, key));
}

/**
 * Asks the peer of a connection to send with that key from now on; where it has it, it does, and so do we when it asks likewise
 * (RFC 5925 6.1).
 *
 * @throws SysError ENOENT when the connection has no such key.
 */
export function requestAoKey(fd: number, recvId: number): void {
  setOption(fd, TCP_AO_INFO, 'TCP_AO_INFO', encodeAoRnext(recvId), `key to receive ${recvId}`);
}

/** What a connection is signed with; undefined: it is not. */
export interface AoState {
  /** SendID of Current_key, RecvID of RNext_key. */
  readonly current: number | undefined;
  readonly rnext: number | undefined;
}

export function decodeAoInfo(bytes: Buffer): AoState {
  const flags = bytes.readUInt32LE(0);
  return {
    current: (flags & 1) === 0 ? undefined : bytes[6]!,
    rnext: (flags & 2) === 0 ? undefined : bytes[7]!,
  };
}

export function aoState(fd: number): AoState | undefined {
  const bytes = Buffer.alloc(48);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  const result = libc.getsockopt(fd, IPPROTO_TCP, TCP_AO_INFO, bytes, length);
  return result < 0 ? undefined : decodeAoInfo(bytes);
}

/**
 * Why this kernel cannot sign with an algorithm, and what to do; undefined: it can. Asked of the kernel itself, with a key on a socket that
 * is thrown away.
 */
export function aoFault(algorithm: AoAlgorithm, family: 4 | 6 = 4): string | undefined {
  using socket = newSocket(family === 4 ? AF_INET : AF_INET6, SOCK_STREAM);
  const probe: AoKey = { sendId: 1, recvId: 1, algorithm, secret: 'probe' };
  try {
    addAoKey(socket.number, { address: family === 4 ? '192.0.2.1' : '2001:db8::1' }, probe, true);
    return undefined;
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return aoFaultOf(error, algorithm);
  }
}

/** What an errno of `addAoKey` means. */
export function aoFaultOf(error: SysError, algorithm: AoAlgorithm): string {
  switch (error.failure.code) {
    case 'ENOPROTOOPT':
      return 'the kernel has no TCP-AO; run one of 6.7 or later with CONFIG_TCP_AO=y, or use a TCP-MD5 password at both ends';
    case 'ENOENT':
      return `the kernel has TCP-AO without ${kernelNames[algorithm].replace('aes128', 'aes')}; load its module, or use the other algorithm`;
    default:
      return `the kernel takes no TCP-AO key: ${error.message}`;
  }
}
