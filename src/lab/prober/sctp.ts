/**
 * SCTP's INIT and INIT-ACK (RFC 9260 3.3.2, 3.3.3) by raw sockets: enough to learn whether an association would come about, on
 * kernels without SCTP sockets too. Checksums are right, or connection tracking would call the packets invalid.
 */
import { type Fd, libc, newSocket, SOCK_RAW, sockaddrIn } from '#sys';
import { bindTo, domainOf } from './sockets.ts';

export const IPPROTO_SCTP = 132;
const INIT = 1;
const INIT_ACK = 2;
const STATE_COOKIE = 7;
const commonHeaderBytes = 12;
/** Chunk header, then initiate tag, window, streams out, streams in, first TSN. */
const initChunkBytes = 20;
const parameterHeaderBytes = 4;
const windowBytes = 65536;
const streams = 1;
/** The Castagnoli polynomial, reflected (RFC 9260 appendix A). */
const polynomial = 0x82f63b78;

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1;
  return value >>> 0;
});

export function crc32c(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of bytes) value = (value >>> 8) ^ crcTable[(value ^ byte) & 0xff]!;
  return (value ^ 0xffffffff) >>> 0;
}

export interface SctpPacket {
  readonly type: 'INIT' | 'INIT-ACK';
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** 0 in INIT, the initiate tag of the INIT in its INIT-ACK. */
  readonly verificationTag: number;
  readonly initiateTag: number;
  /** State cookie of an INIT-ACK: here the name of who answers. */
  readonly cookie: string;
}

export function encodeSctp(packet: SctpPacket): Buffer {
  const cookie = packet.type === 'INIT' ? Buffer.alloc(0) : Buffer.from(packet.cookie);
  const parameterBytes = packet.type === 'INIT' ? 0 : parameterHeaderBytes + cookie.length;
  const out = Buffer.alloc(commonHeaderBytes + initChunkBytes + Math.ceil(parameterBytes / 4) * 4);
  out.writeUInt16BE(packet.sourcePort, 0);
  out.writeUInt16BE(packet.destinationPort, 2);
  out.writeUInt32BE(packet.verificationTag, 4);
  out[12] = packet.type === 'INIT' ? INIT : INIT_ACK;
  out.writeUInt16BE(initChunkBytes + parameterBytes, 14);
  out.writeUInt32BE(packet.initiateTag, 16);
  out.writeUInt32BE(windowBytes, 20);
  out.writeUInt16BE(streams, 24);
  out.writeUInt16BE(streams, 26);
  out.writeUInt32BE(packet.initiateTag, 28);
  if (packet.type === 'INIT-ACK') {
    out.writeUInt16BE(STATE_COOKIE, 32);
    out.writeUInt16BE(parameterBytes, 34);
    cookie.copy(out, 36);
  }
  out.writeUInt32LE(crc32c(out), 8);
  return out;
}

/** Undefined for whatever is neither INIT nor INIT-ACK. */
export function decodeSctp(bytes: Buffer): SctpPacket | undefined {
  if (bytes.length < commonHeaderBytes + initChunkBytes) return undefined;
  const type = bytes[12] === INIT ? 'INIT' : bytes[12] === INIT_ACK ? 'INIT-ACK' : undefined;
  if (!type) return undefined;
  const hasCookie = bytes.length >= 36 && bytes.readUInt16BE(32) === STATE_COOKIE;
  return {
    type,
    sourcePort: bytes.readUInt16BE(0),
    destinationPort: bytes.readUInt16BE(2),
    verificationTag: bytes.readUInt32BE(4),
    initiateTag: bytes.readUInt32BE(16),
    cookie: hasCookie ? bytes.toString('utf8', 36, 32 + Math.max(4, bytes.readUInt16BE(34))) : '',
  };
}

/** What a raw socket of `address`'s family received, without the IPv4 header that the kernel leaves on. */
export function sctpPayload(received: Buffer, address: string): Buffer {
  return address.includes(':') ? received : received.subarray((received[0]! & 0x0f) * 4);
}

/** A raw socket in this thread's namespace; with `address` it sees only packets to it. @throws SysError */
export function sctpSocket(domainAddress: string, address?: string): Fd {
  const socket = newSocket(domainOf(domainAddress), SOCK_RAW, IPPROTO_SCTP);
  try {
    if (address !== undefined) bindTo(socket, address);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** Dynamic ports in turn: no two probes within half an hour share one. */
const firstSourcePort = 32768;
const sourcePorts = 28000;
let lastSource = 0;

/** One INIT under way. */
export class SctpProbe {
  readonly #sourcePort = firstSourcePort + (++lastSource % sourcePorts);
  /** Any number but 0. */
  readonly #tag = (lastSource % 0xfffffff0) + 1;
  readonly #socket: Fd;
  readonly #address: string;
  readonly #port: number;

  constructor(socket: Fd, address: string, port: number) {
    this.#socket = socket;
    this.#address = address;
    this.#port = port;
  }

  /** @returns the negative errno of a failure. */
  send(): number {
    const packet = encodeSctp({
      type: 'INIT',
      sourcePort: this.#sourcePort,
      destinationPort: this.#port,
      verificationTag: 0,
      initiateTag: this.#tag,
      cookie: '',
    });
    const to = sockaddrIn(this.#address, 0);
    return libc.sendto(this.#socket.number, packet, packet.length, 0, to, to.length);
  }

  /** Who answered, when `received` is the answer to this INIT. */
  answer(received: Buffer): string | undefined {
    const packet = decodeSctp(sctpPayload(received, this.#address));
    if (packet?.type !== 'INIT-ACK' || packet.verificationTag !== this.#tag) return undefined;
    return packet.destinationPort === this.#sourcePort && packet.sourcePort === this.#port ? packet.cookie : undefined;
  }
}
