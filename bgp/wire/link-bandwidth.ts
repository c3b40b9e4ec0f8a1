/**
 * Link bandwidth (RFC 10005, draft-ietf-idr-link-bandwidth): an extended community of type 0x00 (transitive) or 0x40, subtype 0x04: an AS
 * number of two octets, then bytes per second as an IEEE float of four.
 */
import { read32, write32 } from './bytes.ts';
import { asTrans } from './open.ts';
import type { AttributeValues } from './types.ts';

const subtype = 0x04;
const nonTransitive = 0x40;
export const linkBandwidthBytes = 8;

const float = new DataView(new ArrayBuffer(4));

/** Whether the extended community at `bytes[at]` is one. */
export function isLinkBandwidth(bytes: Uint8Array, at: number): boolean {
  return bytes[at + 1] === subtype && (bytes[at]! & ~nonTransitive) === 0;
}

/** Bytes per second as it stands there: also NaN, infinite or negative. */
export function linkBandwidthAt(bytes: Uint8Array, at: number): number {
  float.setUint32(0, read32(bytes, at + 4));
  return float.getFloat32(0);
}

/** Of several the lowest counts, whatever its type; what is no number of bytes is as if it were not there. */
export function readLinkBandwidth(values: AttributeValues, bytes: Uint8Array, start: number, end: number): void {
  for (let at = start; at < end; at += linkBandwidthBytes) {
    if (!isLinkBandwidth(bytes, at)) continue;
    const value = linkBandwidthAt(bytes, at);
    if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) continue;
    if (values.linkBandwidth < 0 || value < values.linkBandwidth) values.linkBandwidth = value;
  }
}

/** @param asn of who attaches it. @param bytesPerSec rounded to what a float holds. */
export function encodeLinkBandwidth(asn: number, bytesPerSec: number, transitive: boolean): Uint8Array {
  const community = Uint8Array.of(transitive ? 0 : nonTransitive, subtype, 0, 0, 0, 0, 0, 0);
  const asn2 = asn > 0xffff ? asTrans : asn;
  community[2] = asn2 >> 8;
  community[3] = asn2;
  float.setFloat32(0, bytesPerSec);
  write32(community, 4, float.getUint32(0));
  return community;
}
