/** Headers and the messages without content. */
import type { IpFamily } from '#kit';
import { headerBytes, messageType } from './types.ts';

/** Writes a header at `start`; `length` counts it. A plain loop: `fill` leaves the engine's compiled code for so few octets. */
export function writeHeader(out: Uint8Array, start: number, length: number, type: number): void {
  for (let i = start; i < start + 16; i++) out[i] = 0xff;
  out[start + 16] = length >> 8;
  out[start + 17] = length & 0xff;
  out[start + 18] = type;
}

/** A whole message around `body`. */
export function encodeMessage(type: number, body: Uint8Array): Uint8Array {
  const out = new Uint8Array(headerBytes + body.length);
  writeHeader(out, 0, out.length, type);
  out.set(body, headerBytes);
  return out;
}

const keepalive = encodeMessage(messageType.keepalive, new Uint8Array(0));

/** A whole KEEPALIVE, made anew (sockets may keep what they are given). */
export function encodeKeepalive(): Uint8Array {
  return keepalive.slice();
}

/** RFC 4724 2: an UPDATE that says nothing (IPv4 unicast), or an empty MP_UNREACH. */
export function encodeEndOfRib(family: IpFamily): Uint8Array {
  const body = family === 4 ? [0, 0, 0, 0] : [0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1];
  return encodeMessage(messageType.update, Uint8Array.from(body));
}
