/**
 * Messages that are nearly right: every field is mostly what it should be, and each has its own way of going wrong. Then octets are changed
 * here and there, and ends cut off. Purely random octets hardly get past the first length.
 */
import type { Random } from './random.ts';
import { Writer } from './writer.ts';

const writer = new Writer(4096);

/** Numbers that hurt more often than others. */
const edges = [0, 1, 2, 3, 4, 5, 8, 12, 16, 20, 31, 32, 33, 63, 64, 127, 128, 129, 254, 255];
export const asns = [64512, 64513, 64514, 1, 23456, 0xffff, 65536, 4200000000];

function asn(random: Random): number {
  return random.oneIn(60) ? 0 : random.oneIn(4) ? random.word() : random.pick(asns);
}

/** What a peer agreed on that changes the form of its UPDATEs. */
export interface Dialect {
  /** Prefixes have identifiers before them (RFC 7911 3). */
  readonly addPath4?: boolean;
  readonly addPath6?: boolean;
  /** IPv4 prefixes have IPv6 next hops (RFC 8950). */
  readonly extendedNextHop?: boolean;
}
/** Of the message that is being made. */
let dialect: Dialect = {};

function prefixes(out: Writer, random: Random, family: 4 | 6, count: number): void {
  const max = family === 4 ? 32 : 128;
  for (let i = 0; i < count; i++) {
    const withId = (family === 4 ? dialect.addPath4 : dialect.addPath6) ?? false;
    if (withId !== random.oneIn(60)) out.u32(random.oneIn(9) ? random.word() : random.below(4));
    const bits = random.oneIn(80)
      ? random.below(256)
      : random.oneIn(3)
        ? random.below(max + 1)
        : family === 4
          ? 24
          : 48;
    out.u8(bits);
    const octets = random.oneIn(100) ? random.below(20) : (bits + 7) >> 3;
    // Few different ones, so that they meet; now and then multicast, loopback, link-local.
    const first = random.oneIn(12) ? random.pick([0, 127, 224, 255, 0xfe]) : family === 4 ? 10 : 0x20;
    for (let k = 0; k < octets; k++) out.u8(k === 0 ? first : k < 3 ? random.below(3) : random.below(256));
  }
}

function path(out: Writer, random: Random, wide: boolean): void {
  const segments = random.oneIn(6) ? random.below(4) : 1;
  for (let s = 0; s < segments; s++) {
    out.u8(random.oneIn(20) ? random.below(6) : random.oneIn(10) ? 1 : 2);
    const count = random.oneIn(40) ? random.pick(edges) : 1 + random.below(4);
    out.u8(random.oneIn(40) ? random.below(256) : count);
    for (let i = 0; i < count; i++) {
      const value = s === 0 && i === 0 && !random.oneIn(8) ? 64513 : asn(random);
      if (wide) out.u32(value);
      else out.u16(value);
    }
  }
  if (random.oneIn(40)) out.u8(random.below(256));
}

function nextHopLength(random: Random, family: 4 | 6): number {
  if (family === 4 && (dialect.extendedNextHop !== true || random.oneIn(4))) return 4;
  return random.oneIn(3) ? 32 : 16;
}

function octets(out: Writer, random: Random, count: number): void {
  for (let i = 0; i < count; i++) out.u8(random.below(256));
}

function list(out: Writer, random: Random, size: number): void {
  octets(out, random, random.oneIn(20) ? random.pick(edges) : size * (1 + random.below(random.oneIn(30) ? 40 : 3)));
}

function address(out: Writer, random: Random, length: number): void {
  if (length === 32 && random.oneIn(2)) {
    // The forms seen in the wild: nothing or a link-local address first, and a link-local one after it.
    for (let i = 0; i < 16; i++) out.u8(0);
    if (random.oneIn(2)) [out.bytes[out.length - 16], out.bytes[out.length - 15]] = [0xfe, 0x80];
    out.u16(0xfe80);
    octets(out, random, 14);
  } else if (random.oneIn(12)) for (let i = 0; i < length; i++) out.u8(0);
  else if (length < 16) octets(out, random, length);
  else {
    const first = random.oneIn(6) ? random.below(256) : random.oneIn(5) ? 0xfe : 0x20;
    out.u8(first);
    out.u8(first === 0xfe ? 0x80 : 1);
    octets(out, random, length - 2);
  }
}

function family(out: Writer, random: Random): 4 | 6 {
  const afi = random.oneIn(12) ? random.pick([0, 3, 25, 99, 16388]) : random.oneIn(3) ? 1 : 2;
  out.u16(afi);
  out.u8(random.oneIn(15) ? random.pick([0, 2, 4, 70, 128, 133]) : 1);
  return afi === 1 ? 4 : 6;
}

/** GRACEFUL_SHUTDOWN, LLGR_STALE, NO_LLGR, BLACKHOLE, NO_EXPORT, NO_ADVERTISE, NO_EXPORT_SUBCONFED. */
const wellKnown = [0xffff0000, 0xffff0006, 0xffff0007, 0xffff029a, 0xffffff01, 0xffffff02, 0xffffff03];

function communities(out: Writer, random: Random): void {
  if (random.oneIn(4)) out.u32(random.pick(wellKnown));
  list(out, random, 4);
}

/** Link bandwidths among them, sound or not. */
function extendedCommunities(out: Writer, random: Random): void {
  if (random.oneIn(4)) {
    out.u16(random.oneIn(2) ? 0x0004 : 0x4004);
    octets(out, random, 6);
  }
  list(out, random, 8);
}

type Value = (out: Writer, random: Random, wide: boolean) => void;

/** Value writers by attribute type; the flags that are right for it. */
const attributes: ReadonlyMap<number, readonly [flags: number, value: Value]> = new Map<
  number,
  readonly [number, Value]
>([
  [1, [0x40, (out, random) => out.u8(random.oneIn(15) ? random.below(256) : random.below(3))]],
  [2, [0x40, path]],
  [
    3,
    [
      0x40,
      (out, random) =>
        random.oneIn(15) ? address(out, random, random.below(6)) : out.u32(0xc0000200 | random.below(9)),
    ],
  ],
  [4, [0x80, (out, random) => octets(out, random, random.oneIn(15) ? random.below(8) : 4)]],
  [5, [0x40, (out, random) => octets(out, random, random.oneIn(15) ? random.below(8) : 4)]],
  [6, [0x40, (out, random) => octets(out, random, random.oneIn(15) ? 1 : 0)]],
  [7, [0xc0, (out, random, wide) => octets(out, random, random.oneIn(15) ? random.below(10) : wide ? 8 : 6)]],
  [8, [0xc0, communities]],
  [
    9,
    [
      0x80,
      (out, random) =>
        random.oneIn(6) ? out.u32(0x0a0a0a0a) : octets(out, random, random.oneIn(15) ? random.below(8) : 4),
    ],
  ],
  [10, [0x80, (out, random) => list(out, random, 4)]],
  [
    14,
    [
      0x80,
      (out, random) => {
        const kind = family(out, random);
        const length = random.oneIn(20) ? random.below(40) : nextHopLength(random, kind);
        out.u8(length);
        address(out, random, length);
        out.u8(random.oneIn(9) ? 1 : 0);
        prefixes(out, random, kind, random.below(4));
      },
    ],
  ],
  [15, [0x80, (out, random) => prefixes(out, random, family(out, random), random.below(3))]],
  [16, [0xc0, extendedCommunities]],
  [17, [0xc0, (out, random) => path(out, random, true)]],
  [18, [0xc0, (out, random) => octets(out, random, random.oneIn(15) ? random.below(10) : 8)]],
  [25, [0xc0, (out, random) => list(out, random, 20)]],
  [32, [0xc0, (out, random) => list(out, random, 12)]],
  [35, [0xc0, (out, random) => octets(out, random, random.oneIn(9) ? random.pick(edges) : 4)]],
]);
const known = [...attributes.keys()];

function attribute(out: Writer, random: Random, type: number, wide: boolean): void {
  const [rightFlags, value] = attributes.get(type) ?? [random.pick([0xc0, 0xc0, 0x80, 0xe0, 0x40]), undefined];
  const extended = random.oneIn(6);
  let flags = rightFlags | (extended ? 0x10 : 0);
  if (random.oneIn(25)) flags ^= 1 << random.below(8);
  out.u8(flags);
  out.u8(type);
  const lengthAt = out.length;
  const long = (flags & 0x10) !== 0;
  if (long) out.u16(0);
  else out.u8(0);
  const start = out.length;
  if (value) value(out, random, random.oneIn(40) ? !wide : wide);
  else octets(out, random, random.oneIn(9) ? random.below(300) : random.below(12));
  const length = random.oneIn(60) ? random.pick(edges) : out.length - start;
  if (long) out.patch16(lengthAt, length);
  else if (lengthAt < out.bytes.length) out.bytes[lengthAt] = Math.min(length, 255);
  if (!long && length > 255) out.length = start + 255;
}

/** An UPDATE of a peer whose AS numbers are `wide` or not, and what else it agreed on. */
export function generateUpdate(random: Random, wide: boolean, agreed: Dialect = {}): Uint8Array {
  const out = writer;
  dialect = agreed;
  out.header(2);
  out.u16(0);
  const withdrawnStart = out.length;
  if (random.oneIn(3)) prefixes(out, random, 4, 1 + random.below(4));
  const withdrawnLength = out.length - withdrawnStart;
  const attributesAt = out.length;
  out.u16(0);
  if (!random.oneIn(10)) {
    if (random.oneIn(3)) attribute(out, random, 14, wide);
    for (const type of [1, 2, 3]) if (!random.oneIn(20)) attribute(out, random, type, wide);
  }
  const more = random.below(4);
  for (let i = 0; i < more; i++) attribute(out, random, random.oneIn(6) ? random.below(256) : random.pick(known), wide);
  out.patch16(withdrawnStart - 2, withdrawnLength + (random.oneIn(200) ? random.below(9) - 4 : 0));
  out.patch16(attributesAt, out.length - attributesAt - 2 + (random.oneIn(100) ? random.below(9) - 4 : 0));
  if (!random.oneIn(4)) prefixes(out, random, 4, random.below(5));
  return out.message();
}

const capabilityCodes = [1, 2, 3, 5, 6, 9, 64, 65, 67, 69, 70, 71, 73, 75, 77];
const capabilityLengths: Readonly<Record<number, number>> = { 1: 4, 5: 6, 9: 1, 64: 6, 65: 4, 69: 4, 71: 7 };

function capability(out: Writer, random: Random): void {
  const code = random.oneIn(12) ? random.below(256) : random.pick(capabilityCodes);
  const length = random.oneIn(8) ? random.pick(edges) : (capabilityLengths[code] ?? random.below(8));
  out.u8(code);
  out.u8(random.oneIn(80) ? random.below(256) : length);
  const usual = !random.oneIn(10);
  if (usual && code === 65) out.u32(asn(random));
  else if (usual && (code === 1 || code === 64 || code === 69)) {
    if (code === 64) out.u16(random.word());
    out.u16(1 + random.below(2));
    if (code === 1) out.u8(0);
    out.u8(1);
    if (code !== 1) out.u8(random.below(256));
  } else if (usual && (code === 73 || code === 75)) {
    out.u8(random.oneIn(4) ? random.below(256) : Math.max(0, length - 2));
    octets(out, random, Math.max(0, length - 1));
  } else octets(out, random, length);
}

export function generateOpen(random: Random): Uint8Array {
  const out = writer;
  out.header(1);
  out.u8(random.oneIn(40) ? random.below(256) : 4);
  out.u16(random.oneIn(20) ? asn(random) : random.pick([64512, 64513, 23456]));
  out.u16(random.oneIn(6) ? random.below(5) : 90);
  out.u32(random.oneIn(30) ? 0 : random.word());
  const wide = random.oneIn(5);
  const lengthAt = out.length;
  out.u8(wide ? 255 : 0);
  if (wide) {
    out.u8(255);
    out.u16(0);
  }
  const start = out.length;
  const parameters = random.below(4);
  for (let i = 0; i < parameters; i++) {
    out.u8(random.oneIn(25) ? random.below(256) : 2);
    const at = out.length;
    if (wide) out.u16(0);
    else out.u8(0);
    const from = out.length;
    const count = random.below(5);
    for (let k = 0; k < count && out.length - from < 200; k++) capability(out, random);
    const length = out.length - from + (random.oneIn(60) ? random.below(5) - 2 : 0);
    if (wide) out.patch16(at, length);
    else out.bytes[at] = length;
  }
  const length = out.length - start + (random.oneIn(60) ? random.below(5) - 2 : 0);
  if (wide) out.patch16(lengthAt + 2, length);
  else if (lengthAt < out.bytes.length) out.bytes[lengthAt] = length;
  return out.message();
}

export function generateNotification(random: Random): Uint8Array {
  const out = writer;
  out.header(3);
  out.u8(random.oneIn(8) ? random.below(256) : 1 + random.below(8));
  out.u8(random.oneIn(8) ? random.below(256) : random.below(12));
  if (random.oneIn(2)) {
    out.u8(random.below(30));
    octets(out, random, random.below(40));
  } else octets(out, random, random.below(12));
  return out.message();
}

export function generateRefresh(random: Random): Uint8Array {
  const out = writer;
  out.header(5);
  out.u16(random.oneIn(8) ? random.below(70_000) : 1 + random.below(2));
  out.u8(random.oneIn(3) ? random.below(256) : random.below(3));
  out.u8(random.oneIn(8) ? random.below(256) : 1);
  if (random.oneIn(5)) octets(out, random, random.below(20));
  if (random.oneIn(20)) out.length -= random.below(4);
  return out.message();
}

/** Some octets after the header changed, and the end perhaps cut off or grown; the header says the new length. */
export function mutate(random: Random, message: Uint8Array): Uint8Array {
  let bytes = message;
  if (random.oneIn(6)) bytes = bytes.slice(0, 19 + random.below(Math.max(1, bytes.length - 19)));
  else bytes = bytes.slice();
  const changes = random.below(5);
  for (let i = 0; i < changes && bytes.length > 19; i++) {
    const at = 19 + random.below(bytes.length - 19);
    const value = bytes[at]!;
    const kind = random.below(4);
    bytes[at] =
      kind === 0
        ? random.below(256)
        : kind === 1
          ? value + 1
          : kind === 2
            ? value ^ (1 << random.below(8))
            : random.pick(edges);
  }
  if (bytes.length >= 19) {
    bytes[16] = bytes.length >> 8;
    bytes[17] = bytes.length;
  }
  return bytes;
}
