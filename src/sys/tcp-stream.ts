/** TCP connections by system calls: what comes and goes without a copy, and when we say. Results as libc's: >= 0, or -errno. */
import { type IpAddress, type ScopedAddress, scoped } from '#kit';
import {
  AF_INET6,
  EAGAIN,
  ECONNABORTED,
  IPPROTO_TCP,
  MSG_NOSIGNAL,
  SO_ERROR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOL_SOCKET,
} from './constants.ts';
import { getIntOption } from './fd.ts';
import * as libc from './libc.ts';
import type { PinnedBytes } from './pinned.ts';
import { parseSockaddrIn } from './sockaddr.ts';
import { check } from './sys-error.ts';

const SHUT_WR = 1;
const TCP_QUICKACK = 12;
/** Values of an option of four octets. */
const [no, yes] = [Buffer.from([0, 0, 0, 0]), Buffer.from([1, 0, 0, 0])];
const SOCKADDR_BYTES = 28;
const INTERFACE_NAME_BYTES = 16;

export interface TcpEnd {
  /** With its interface where it is link-local. */
  readonly address: IpAddress | ScopedAddress;
  readonly port: number;
}

const sockaddr = Buffer.alloc(SOCKADDR_BYTES);
const sockaddrLength = Buffer.alloc(4);

/** @throws SysError EADDRINUSE ... */
export function listenTcp(fd: number, backlog: number): void {
  check('listen', libc.listen(fd, backlog));
}

/** The next connection that waits, non-blocking: its descriptor; -EAGAIN when there is none. `from` says whose it is. */
export function acceptTcp(listener: number): number {
  for (;;) {
    sockaddrLength.writeUInt32LE(SOCKADDR_BYTES);
    const fd = libc.accept4(listener, sockaddr, sockaddrLength, SOCK_NONBLOCK | SOCK_CLOEXEC);
    // It was reset while it waited.
    if (fd !== -ECONNABORTED) return fd;
  }
}
/** Who the last `acceptTcp` let in. */
export function acceptedFrom(): TcpEnd {
  return endOf(sockaddr);
}
/** Our end of a connection. */
export function localEnd(fd: number): TcpEnd {
  const bytes = Buffer.alloc(SOCKADDR_BYTES);
  sockaddrLength.writeUInt32LE(SOCKADDR_BYTES);
  check('getsockname', libc.getsockname(fd, bytes, sockaddrLength));
  return endOf(bytes);
}

/** What became of a connect: 0, or errno. Reading clears it. */
export function socketError(fd: number): number {
  return getIntOption(fd, SOL_SOCKET, SO_ERROR);
}
/** Octets taken of the first `length`; -EAGAIN: none, wait until it is writable. */
export function sendTcp(fd: number, bytes: Uint8Array, length: number): number {
  return libc.send(fd, bytes, length, MSG_NOSIGNAL);
}
/** The same, where it is done for every message. */
export function sendPinned(fd: number, from: PinnedBytes, length: number): number {
  return libc.sendAt(fd, from.address, length, MSG_NOSIGNAL);
}
/** Octets read into `into`; 0: the other side has ended; -EAGAIN: none now. */
export function receivePinned(fd: number, into: PinnedBytes, length: number): number {
  return libc.recvAt(fd, into.address, length, 0);
}
/**
 * What comes from now on is acknowledged with what goes back, or when `acknowledgeNow` says, or after 40 ms. Left to itself the kernel acknowledges a
 * short message in the call that reads it, which takes that call twice as long: whoever has an answer for others gives it first.
 */
export function acknowledgeLater(fd: number): void {
  libc.setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, no, no.length);
}
/** What came is acknowledged, and what comes again later. No error: of a connection that is broken reading tells. */
export function acknowledgeNow(fd: number): void {
  libc.setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, yes, yes.length);
  acknowledgeLater(fd);
}
/** Nothing more will be sent. */
export function endSending(fd: number): void {
  libc.shutdown(fd, SHUT_WR);
}
export function wouldBlock(result: number): boolean {
  return result === -EAGAIN;
}

function endOf(bytes: Buffer): TcpEnd {
  const { address, port } = parseSockaddrIn(bytes)!;
  const index = bytes.readUInt16LE(0) === AF_INET6 ? bytes.readUInt32LE(24) : 0;
  if (index === 0) return { address, port };
  const name = Buffer.alloc(INTERFACE_NAME_BYTES);
  libc.ifIndexToName(index, name);
  return { address: scoped(address, name.toString('latin1', 0, name.indexOf(0))), port };
}
