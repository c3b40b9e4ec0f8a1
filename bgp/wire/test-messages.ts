/** Building blocks of messages for tests: written apart from the encoders, so that both can be compared. */
import type { UpdateContext } from './types.ts';

export function bytesOf(hex: string): Uint8Array {
  const text = hex.replace(/\s/g, '');
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}

const u16 = (value: number): number[] => [value >> 8, value & 0xff];
export const u32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];

export function message(type: number, body: readonly number[]): Uint8Array {
  return Uint8Array.from([...new Array<number>(16).fill(0xff), ...u16(19 + body.length), type, ...body]);
}

/** One attribute; the extended form where it must be. */
export function attribute(flags: number, type: number, value: readonly number[]): number[] {
  return value.length > 255
    ? [flags | 0x10, type, ...u16(value.length), ...value]
    : [flags, type, value.length, ...value];
}

export interface UpdateParts {
  readonly withdrawn?: readonly number[];
  readonly attributes?: readonly (readonly number[])[];
  readonly nlri?: readonly number[];
}

export function update({ withdrawn = [], attributes = [], nlri = [] }: UpdateParts): Uint8Array {
  const list = attributes.flat();
  return message(2, [...u16(withdrawn.length), ...withdrawn, ...u16(list.length), ...list, ...nlri]);
}

/** A 4-octet AS_SEQUENCE. */
export function sequence(...asns: number[]): number[] {
  return [2, asns.length, ...asns.flatMap(u32)];
}

export const origin = attribute(0x40, 1, [0]);
export const asPath = attribute(0x40, 2, sequence(64513));
export const nextHop = attribute(0x40, 3, [192, 0, 2, 1]);
export const localPref = attribute(0x40, 5, u32(200));
export const prefix4 = [24, 10, 1, 2];
export const prefix6 = [32, 0x20, 1, 0xd, 0xb8];
export const global6 = [0x20, 1, 0xd, 0xb8, ...new Array<number>(11).fill(0), 1];

export function mpReach(
  nlri: readonly number[] = prefix6,
  next: readonly number[] = global6,
  afi = 2,
  safi = 1,
): number[] {
  return attribute(0x80, 14, [...u16(afi), safi, next.length, ...next, 0, ...nlri]);
}

export function mpUnreach(nlri: readonly number[] = prefix6, afi = 2, safi = 1): number[] {
  return attribute(0x80, 15, [...u16(afi), safi, ...nlri]);
}

export const ebgp: UpdateContext = {
  asn4: true,
  ipv4: true,
  ipv6: true,
  ebgp: true,
  localAsn: 64512,
  peerAsn: 64513,
  localRouterId: 0x0a0a0a0a,
};
export const ibgp: UpdateContext = { ...ebgp, ebgp: false, peerAsn: 64512 };
/** A peer that speaks 2-octet AS numbers. */
export const oldPeer: UpdateContext = { ...ebgp, asn4: false };
