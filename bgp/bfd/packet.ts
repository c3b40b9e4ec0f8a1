/** The BFD control packet, RFC 5880 4.1. No authentication section: none is configured, so what carries one is dropped (6.8.6). */
import { type BfdDropReason, stateCode } from './types.ts';

const version = 1;
/** Without an authentication section. */
export const controlPacketBytes = 24;
const authenticatedBytesMin = 26;

const pollBit = 0x20;
const finalBit = 0x10;
const controlPlaneIndependentBit = 0x08;
const authenticationBit = 0x04;
const demandBit = 0x02;
const multipointBit = 0x01;

/** Intervals in microseconds. */
export interface ControlPacket {
  diagnostic: number;
  /** `stateCode`. */
  state: number;
  poll: boolean;
  final: boolean;
  controlPlaneIndependent: boolean;
  demand: boolean;
  detectMult: number;
  /** Unsigned 32 bit. */
  myDiscriminator: number;
  yourDiscriminator: number;
  desiredMinTxUs: number;
  requiredMinRxUs: number;
  requiredMinEchoRxUs: number;
}

export function emptyControlPacket(): ControlPacket {
  return {
    diagnostic: 0,
    state: stateCode.down,
    poll: false,
    final: false,
    controlPlaneIndependent: false,
    demand: false,
    detectMult: 1,
    myDiscriminator: 0,
    yourDiscriminator: 0,
    desiredMinTxUs: 0,
    requiredMinRxUs: 0,
    requiredMinEchoRxUs: 0,
  };
}

function u32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/**
 * Reads the UDP payload `bytes[0, length)` into `into`, by the steps of RFC 5880 6.8.6 that need no session. Allocates nothing.
 *
 * @returns why the packet must be dropped, `into` being undefined then; undefined when it is sound.
 */
export function decodeControlPacket(bytes: Uint8Array, length: number, into: ControlPacket): BfdDropReason | undefined {
  if (length < controlPacketBytes || length > bytes.length) return 'length';
  if (bytes[0]! >>> 5 !== version) return 'version';
  const flags = bytes[1]!;
  const claimed = bytes[3]!;
  const least = flags & authenticationBit ? authenticatedBytesMin : controlPacketBytes;
  if (claimed < least || claimed > length) return 'length';
  if (bytes[2] === 0) return 'multiplier';
  if (flags & multipointBit) return 'multipoint';
  const state = flags >>> 6;
  const myDiscriminator = u32(bytes, 4);
  const yourDiscriminator = u32(bytes, 8);
  if (myDiscriminator === 0) return 'discriminator';
  if (yourDiscriminator === 0 && state !== stateCode.down && state !== stateCode.adminDown) return 'state';
  if (flags & authenticationBit) return 'authentication';
  into.diagnostic = bytes[0]! & 0x1f;
  into.state = state;
  into.poll = (flags & pollBit) !== 0;
  into.final = (flags & finalBit) !== 0;
  into.controlPlaneIndependent = (flags & controlPlaneIndependentBit) !== 0;
  into.demand = (flags & demandBit) !== 0;
  into.detectMult = bytes[2]!;
  into.myDiscriminator = myDiscriminator;
  into.yourDiscriminator = yourDiscriminator;
  into.desiredMinTxUs = u32(bytes, 12);
  into.requiredMinRxUs = u32(bytes, 16);
  into.requiredMinEchoRxUs = u32(bytes, 20);
  return undefined;
}

/** Writes `controlPacketBytes` into `out`. Allocates nothing. */
export function encodeControlPacket(packet: ControlPacket, out: Uint8Array): void {
  out[0] = (version << 5) | (packet.diagnostic & 0x1f);
  out[1] =
    ((packet.state & 3) << 6) |
    (packet.poll ? pollBit : 0) |
    (packet.final ? finalBit : 0) |
    (packet.controlPlaneIndependent ? controlPlaneIndependentBit : 0) |
    (packet.demand ? demandBit : 0);
  out[2] = packet.detectMult;
  out[3] = controlPacketBytes;
  putU32(out, 4, packet.myDiscriminator);
  putU32(out, 8, packet.yourDiscriminator);
  putU32(out, 12, packet.desiredMinTxUs);
  putU32(out, 16, packet.requiredMinRxUs);
  putU32(out, 20, packet.requiredMinEchoRxUs);
}
