/**
 * IP addresses and prefixes as text and as bytes.
 *
 * The model keeps addresses as canonical text (branded, so that only parsed input gets in): equal addresses are equal
 * strings, and they go into maps, ipset members and logs as they are. Hot paths (BGP, netlink) use the bytes.
 */
declare const ipBrand: unique symbol;
declare const cidrBrand: unique symbol;

/** Canonical address text: dotted quad, or RFC 5952 IPv6 (lower case, `::` for the longest run). No zone, no prefix. */
export type IpAddress = string & { readonly [ipBrand]: true };
/** Canonical prefix text, host bits zero: `10.1.0.0/16`, `2001:db8::/32`. */
export type Cidr = string & { readonly [cidrBrand]: true };
export type IpFamily = 4 | 6;

/** 4 or 16 bytes in network order, or undefined when `text` is not an address (no leading zeros, no zone, no brackets). */
export function parseIp(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const part = parts[i]!;
    if (!/^(0|[1-9]\d{0,2})$/.test(part)) return undefined;
    const value = Number(part);
    if (value > 255) return undefined;
    bytes[i] = value;
  }
  return bytes;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = ipv6Words(halves[0]!);
  const tail = halves.length === 2 ? ipv6Words(halves[1]!) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const words = [...head, ...new Array<number>(halves.length === 2 ? missing : 0).fill(0), ...tail];
  const bytes = new Uint8Array(16);
  words.forEach((word, i) => {
    bytes[2 * i] = word >> 8;
    bytes[2 * i + 1] = word & 0xff;
  });
  return bytes;
}

function ipv6Words(text: string): number[] | undefined {
  if (text === '') return [];
  const words: number[] = [];
  const parts = text.split(':');
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    if (i === parts.length - 1 && part.includes('.')) {
      const v4 = parseIpv4(part);
      if (!v4) return undefined;
      words.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      words.push(Number.parseInt(part, 16));
    }
  }
  return words;
}

/** Canonical text of 4 or 16 bytes at `offset`. */
export function formatIp(bytes: Uint8Array, offset = 0, length = bytes.length - offset): IpAddress {
  if (length === 4) {
    return `${bytes[offset]}.${bytes[offset + 1]}.${bytes[offset + 2]}.${bytes[offset + 3]}` as IpAddress;
  }
  let bestStart = -1;
  let bestLength = 1;
  const words: number[] = [];
  for (let i = 0; i < 8; i++) words.push((bytes[offset + 2 * i]! << 8) | bytes[offset + 2 * i + 1]!);
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && words[i + run] === 0) run++;
    if (run > bestLength) {
      bestStart = i;
      bestLength = run;
    }
    i += run;
  }
  const hex = (from: number, to: number): string =>
    words
      .slice(from, to)
      .map((w) => w.toString(16))
      .join(':');
  if (bestStart < 0) return hex(0, 8) as IpAddress;
  return `${hex(0, bestStart)}::${hex(bestStart + bestLength, 8)}` as IpAddress;
}

/** Canonical form of an address, or undefined when it is not one. */
export function toIpAddress(text: string): IpAddress | undefined {
  const bytes = parseIp(text);
  return bytes && formatIp(bytes);
}

export interface ParsedCidr {
  readonly family: IpFamily;
  /** Address bytes with host bits cleared. */
  readonly bytes: Uint8Array;
  /** 0..32 or 0..128. */
  readonly length: number;
}

/** Parses `address/length` (or a bare address as /32, /128) and masks host bits; undefined when it is not a prefix. */
export function parseCidr(text: string): ParsedCidr | undefined {
  const slash = text.indexOf('/');
  const bytes = parseIp(slash < 0 ? text : text.slice(0, slash));
  if (!bytes) return undefined;
  const lengthText = slash < 0 ? String(bytes.length * 8) : text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(lengthText)) return undefined;
  const length = Number(lengthText);
  if (length > bytes.length * 8) return undefined;
  return { family: bytes.length === 4 ? 4 : 6, bytes: maskBytes(bytes, length), length };
}

/** A copy with every bit after the first `length` cleared. */
export function maskBytes(bytes: Uint8Array, length: number): Uint8Array {
  const out = bytes.slice();
  for (let i = 0; i < out.length; i++) {
    const bits = Math.min(8, Math.max(0, length - 8 * i));
    out[i] = out[i]! & (0xff00 >> bits) & 0xff;
  }
  return out;
}

export function formatCidr(cidr: ParsedCidr): Cidr {
  return `${formatIp(cidr.bytes)}/${cidr.length}` as Cidr;
}

/** Canonical form of a prefix with host bits masked, or undefined when it is not one. */
export function toCidr(text: string): Cidr | undefined {
  const parsed = parseCidr(text);
  return parsed && formatCidr(parsed);
}

/** Family of canonical text. */
export function familyOf(text: IpAddress | Cidr): IpFamily {
  return text.includes(':') ? 6 : 4;
}

/** The host prefix (/32 or /128) of an address. */
export function hostCidr(address: IpAddress): Cidr {
  return `${address}/${familyOf(address) === 4 ? 32 : 128}` as Cidr;
}

/** Whether `inner` (address or prefix) lies within `outer`; false across families. */
export function cidrContains(outer: Cidr, inner: Cidr | IpAddress): boolean {
  const a = parseCidr(outer)!;
  const b = parseCidr(inner)!;
  return a.family === b.family && b.length >= a.length && samePrefix(a.bytes, b.bytes, a.length);
}

/** Whether the first `length` bits of two addresses of one family agree. */
export function samePrefix(a: Uint8Array, b: Uint8Array, length: number): boolean {
  const whole = length >> 3;
  for (let i = 0; i < whole; i++) if (a[i] !== b[i]) return false;
  const rest = length & 7;
  return rest === 0 || ((a[whole]! ^ b[whole]!) & (0xff00 >> rest) & 0xff) === 0;
}
