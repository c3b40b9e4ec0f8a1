/**
 * Communities of all three kinds as filters name them: RFC 1997 (4 octets), RFC 4360 (8), RFC 8092 (12).
 *
 *   64512:100        standard; also by name: no-export, blackhole, ...
 *   64512:1:2        large
 *   rt:64512:100     extended route target (RFC 4360 4), `soo:` route origin (5); the first number is an AS number or an
 *                    IPv4 address. As a pattern it matches the 2-octet, 4-octet (RFC 5668) and IPv4 form of the same number.
 *   bandwidth:64512:1250000000 link bandwidth (RFC 10005) in bytes per second, transitive; the AS number has two octets. A pattern matches both types
 *   0002fc0000000064 extended, its 8 octets in hex
 *
 * In a pattern any number may be `*` or a range `100-199`.
 */
import { formatIp, parseIp } from '#kit';
import { encodeLinkBandwidth, isLinkBandwidth, linkBandwidthAt } from '../wire/index.ts';
import type { CommunityKind } from './types.ts';

export interface CommunityPattern {
  readonly kind: CommunityKind;
  /** Whether the community at `bytes[at]` (of that kind) matches. */
  matches(bytes: Uint8Array, at: number): boolean;
}

export const communityBytes: Readonly<Record<CommunityKind, number>> = { standard: 4, extended: 8, large: 12 };

/** IANA's well-known communities. */
const wellKnown: Readonly<Record<string, number>> = {
  'graceful-shutdown': 0xffff0000,
  'llgr-stale': 0xffff0006,
  'no-llgr': 0xffff0007,
  blackhole: 0xffff029a,
  'no-export': 0xffffff01,
  'no-advertise': 0xffffff02,
  'no-export-subconfed': 0xffffff03,
  nopeer: 0xffffff04,
};
const subtypes: Readonly<Record<string, number>> = { rt: 2, soo: 3 };
/** First octet of transitive extended communities by the form of the global administrator. */
const asn2 = 0;
const ipv4 = 1;
const asn4 = 2;

/** Bytes per second of a link: a thousand terabytes. */
const bandwidthMax = 999_999_999_999_999;

interface Range {
  readonly min: number;
  readonly max: number;
}

/** @throws RangeError naming what is wrong. */
export function parseCommunityPattern(text: string): CommunityPattern {
  const named = wellKnown[text];
  if (named !== undefined) return standard({ min: named, max: named }, undefined);
  if (/^[0-9a-f]{16}$/i.test(text)) return octets(Buffer.from(text, 'hex'));
  const parts = text.split(':');
  const subtype = subtypes[parts[0]!];
  if (subtype !== undefined && parts.length === 3) return extended(text, subtype, parts[1]!, parts[2]!);
  if (parts[0] === 'bandwidth' && parts.length === 3) return bandwidth(text, parts[1]!, parts[2]!);
  const bits = parts.length === 2 ? 16 : parts.length === 3 ? 32 : 0;
  const ranges = parts.map((part) => parseRange(part, 2 ** bits - 1));
  if (bits === 0 || ranges.some((range) => range === undefined)) throw notCommunity(text);
  const [a, b, c] = ranges as Range[];
  return bits === 16 ? standard(a!, b!) : large(a!, b!, c!);
}

/** The octets of one community, which tell its kind by their number. @throws RangeError */
export function parseCommunity(text: string): Uint8Array {
  const named = wellKnown[text];
  if (named !== undefined) return numbers([named], 4);
  if (/^[0-9a-f]{16}$/i.test(text)) return Uint8Array.from(Buffer.from(text, 'hex'));
  const parts = text.split(':');
  const subtype = subtypes[parts[0]!];
  if (subtype !== undefined && parts.length === 3) return extendedOctets(text, subtype, parts[1]!, parts[2]!);
  if (parts[0] === 'bandwidth' && parts.length === 3) {
    const [asn, bytesPerSec] = [number(parts[1]!, 0xffff), number(parts[2]!, bandwidthMax)];
    if (Number.isNaN(asn) || Number.isNaN(bytesPerSec)) throw notCommunity(text);
    return encodeLinkBandwidth(asn, bytesPerSec, true);
  }
  const size = parts.length === 2 ? 2 : parts.length === 3 ? 4 : 0;
  const values = parts.map((part) => number(part, 2 ** (8 * size) - 1));
  if (size === 0 || values.some(Number.isNaN)) throw notCommunity(text);
  return numbers(values, size);
}

/** An extended community as `parseCommunity` reads it: by its name where it has one, else its octets in hex. */
export function formatExtendedCommunity(octets: Uint8Array): string {
  const [type, subtype] = octets;
  const hex = Buffer.from(octets).toString('hex');
  const name = Object.keys(subtypes).find((each) => subtypes[each] === subtype);
  if (name === undefined) return hex;
  const isWide = type === ipv4 || type === asn4;
  if (!isWide && type !== asn2) return hex;
  const administrator = type === ipv4 ? formatIp(octets, 2, 4) : isWide ? word(octets, 2) : half(octets, 2);
  const text = `${name}:${administrator}:${isWide ? half(octets, 6) : word(octets, 4)}`;
  // An AS number that fits into 2 octets stands in 4 all the same: other octets, by the same name.
  return type === asn4 && word(octets, 2) <= 0xffff ? hex : text;
}

export function communityKind(community: Uint8Array): CommunityKind {
  return community.length === 4 ? 'standard' : community.length === 8 ? 'extended' : 'large';
}

function notCommunity(text: string): RangeError {
  return new RangeError(`${text} is not a community such as 64512:100, 64512:1:2, rt:64512:100 or no-export`);
}

function number(text: string, max: number): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  return value <= max ? value : Number.NaN;
}

function parseRange(text: string, max: number): Range | undefined {
  if (text === '*') return { min: 0, max };
  const [from, to = from, more] = text.split('-');
  const range = { min: number(from!, max), max: number(to!, max) };
  return more === undefined && range.min <= range.max ? range : undefined;
}

function numbers(values: readonly number[], size: number): Uint8Array {
  return Uint8Array.from(
    values.flatMap((value) => Array.from({ length: size }, (_, i) => (value / 256 ** (size - 1 - i)) & 255)),
  );
}

const inside = (value: number, { min, max }: Range): boolean => value >= min && value <= max;
const word = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
const half = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;

/** Both halves, or the whole as one number. */
function standard(a: Range, b: Range | undefined): CommunityPattern {
  const exact = b ? a.min === a.max && b.min === b.max : true;
  if (exact) {
    const value = b ? a.min * 65536 + b.min : a.min;
    return { kind: 'standard', matches: (bytes, at) => word(bytes, at) === value };
  }
  return { kind: 'standard', matches: (bytes, at) => inside(half(bytes, at), a) && inside(half(bytes, at + 2), b!) };
}

function large(a: Range, b: Range, c: Range): CommunityPattern {
  return {
    kind: 'large',
    matches: (bytes, at) =>
      inside(word(bytes, at), a) && inside(word(bytes, at + 4), b) && inside(word(bytes, at + 8), c),
  };
}

function octets(value: Uint8Array): CommunityPattern {
  return { kind: 'extended', matches: (bytes, at) => value.every((octet, i) => bytes[at + i] === octet) };
}

function extended(text: string, subtype: number, administrator: string, local: string): CommunityPattern {
  const address = administrator.includes('.') ? parseIp(administrator) : undefined;
  const admin = address ? { min: word(address, 0), max: word(address, 0) } : parseRange(administrator, 0xffffffff);
  const value = parseRange(local, 0xffffffff);
  if (!admin || !value || (administrator.includes('.') && !address)) throw notCommunity(text);
  const isAny = administrator === '*';
  return {
    kind: 'extended',
    matches(bytes, at) {
      if (bytes[at + 1] !== subtype) return false;
      // Bit 0x40 keeps it within the AS; it is the same community.
      const type = bytes[at]! & 0xbf;
      if (type === asn2) return !address && inside(half(bytes, at + 2), admin) && inside(word(bytes, at + 4), value);
      if (type === asn4) return !address && inside(word(bytes, at + 2), admin) && inside(half(bytes, at + 6), value);
      if (type !== ipv4) return false;
      return (
        (isAny || address !== undefined) && inside(word(bytes, at + 2), admin) && inside(half(bytes, at + 6), value)
      );
    },
  };
}

function bandwidth(text: string, administrator: string, local: string): CommunityPattern {
  const asn = parseRange(administrator, 0xffff);
  const value = parseRange(local, bandwidthMax);
  if (!asn || !value) throw notCommunity(text);
  const isAny = local === '*';
  // The bounds as a float holds them, since the value is one.
  const range = { min: Math.fround(value.min), max: Math.fround(value.max) };
  return {
    kind: 'extended',
    matches: (bytes, at) =>
      isLinkBandwidth(bytes, at) &&
      inside(half(bytes, at + 2), asn) &&
      (isAny || inside(linkBandwidthAt(bytes, at), range)),
  };
}

function extendedOctets(text: string, subtype: number, administrator: string, local: string): Uint8Array {
  const address = administrator.includes('.') ? parseIp(administrator) : undefined;
  const admin = address ? word(address, 0) : number(administrator, 0xffffffff);
  const type = address ? ipv4 : admin > 0xffff ? asn4 : asn2;
  const value = number(local, type === asn2 ? 0xffffffff : 0xffff);
  if (Number.isNaN(admin) || Number.isNaN(value)) throw notCommunity(text);
  const head = Uint8Array.of(type, subtype);
  const body = type === asn2 ? [numbers([admin], 2), numbers([value], 4)] : [numbers([admin], 4), numbers([value], 2)];
  return Uint8Array.from([head, ...body].flatMap((part) => [...part]));
}
