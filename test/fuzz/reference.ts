/**
 * What the RFCs say of an UPDATE, written down a second time: slow, with arrays and exceptions, and nothing in common with the codec but its
 * documented choices (a reset where RFC 7606 5.3 leaves the choice, AS_SET refused, prefixes that no router may forward skipped).
 */
import type { wire } from '#bgp';

export interface ReferenceVerdict {
  readonly disposition: 'accept' | 'withdraw' | 'reset';
  readonly discarded: number;
  /** `bits/digits`, with `#identifier ` before it where there are such; only of a message that is not reset. */
  readonly announced: readonly string[];
  readonly withdrawn: readonly string[];
  /** Octets in hex of the next hop that counts for MP_REACH (RFC 2545 3); empty without routes there. */
  readonly multiprotocolNextHop: string;
}

class Reset extends Error {}
const reset = (why: string): never => {
  throw new Reset(why);
};

const number = (octets: Uint8Array): number => octets.reduce((sum, octet) => sum * 256 + octet, 0);

interface Prefix {
  readonly text: string;
  readonly ignored: boolean;
}

/** RFC 4271 4.3, RFC 7911 3; undefined: not prefixes of this family. */
function prefixesOf(octets: Uint8Array, family: 4 | 6, context: wire.UpdateContext): Prefix[] | undefined {
  const out: Prefix[] = [];
  const withIds = (family === 4 ? context.addPath4 : context.addPath6) ?? false;
  let rest = octets;
  while (rest.length > 0) {
    let name = '';
    if (withIds) {
      if (rest.length < 5) return undefined;
      name = `#${number(rest.subarray(0, 4))} `;
      rest = rest.subarray(4);
    }
    const bits = rest[0]!;
    const size = Math.ceil(bits / 8);
    if (bits > (family === 4 ? 32 : 128) || rest.length < 1 + size) return undefined;
    let digits = [...rest.subarray(1, 1 + size)].map((octet) => octet.toString(2).padStart(8, '0')).join('');
    digits = digits.slice(0, bits);
    out.push({ text: `${name}${bits}/${digits}`, ignored: isIgnored(digits, family) });
    rest = rest.subarray(1 + size);
  }
  return out;
}

/** Multicast and loopback (RFC 4271 6.3), link-local (RFC 4291 2.5.6). */
function isIgnored(digits: string, family: 4 | 6): boolean {
  if (family === 4) return digits.startsWith('1110') || digits.startsWith('01111111');
  return digits.startsWith('11111111') || digits.startsWith('1111111010') || digits === `${'0'.repeat(127)}1`;
}

interface Segment {
  readonly type: number;
  readonly asns: readonly number[];
}
function segmentsOf(octets: Uint8Array, width: 2 | 4): Segment[] | undefined {
  const out: Segment[] = [];
  let rest = octets;
  while (rest.length > 0) {
    if (rest.length < 2 || rest[1] === 0 || rest.length < 2 + rest[1]! * width) return undefined;
    const [type, count] = [rest[0]!, rest[1]!];
    if (type < 1 || type > 4) return undefined;
    const asns = Array.from({ length: count }, (_, i) => number(rest.subarray(2 + i * width, 2 + (i + 1) * width)));
    out.push({ type, asns });
    rest = rest.subarray(2 + count * width);
  }
  return out;
}

/** RFC 7606 7.2, RFC 5065 5, RFC 7607, RFC 9774. */
function pathIsGood(segments: readonly Segment[], allowSets: boolean): boolean {
  return segments.every(({ type, asns }) => (type === 2 || (type === 1 && allowSets)) && !asns.includes(0));
}

const length = (segments: readonly Segment[]): number =>
  segments.reduce((sum, { type, asns }) => sum + (type === 2 ? asns.length : type === 1 ? 1 : 0), 0);

/** RFC 6793 4.2.3: the AS_PATH's surplus in front of AS4_PATH. */
function merged(path: readonly Segment[], path4: readonly Segment[] | undefined): readonly Segment[] {
  const surplus = path4 ? length(path) - length(path4) : -1;
  if (!path4 || surplus < 0) return path;
  const out: Segment[] = [];
  let left = surplus;
  for (const { type, asns } of path) {
    if (left <= 0) break;
    out.push({ type, asns: type === 2 ? asns.slice(0, left) : asns });
    left -= type === 2 ? Math.min(left, asns.length) : 1;
  }
  return [...out, ...path4.filter(({ type }) => type < 3)];
}

interface Seen {
  readonly flags: number;
  readonly value: Uint8Array;
  kept: boolean;
}

/** Optional and Transitive bits. RFC 4271 5, 4760, 1997, 4456, 4360, 6793, 5701, 8092, 9234. */
const flagsOf: Readonly<Record<number, number>> = {
  1: 0x40,
  2: 0x40,
  3: 0x40,
  4: 0x80,
  5: 0x40,
  6: 0x40,
  7: 0xc0,
  8: 0xc0,
  9: 0x80,
  10: 0x80,
  14: 0x80,
  15: 0x80,
  16: 0xc0,
  17: 0xc0,
  18: 0xc0,
  25: 0xc0,
  32: 0xc0,
  35: 0xc0,
};

type Verdict = 'keep' | 'discard' | 'withdraw';

/** A known attribute other than MP_REACH and MP_UNREACH, its flags aside. */
function judge(type: number, value: Uint8Array, context: wire.UpdateContext): Verdict {
  const size = value.length;
  const withdrawUnless = (good: boolean): Verdict => (good ? 'keep' : 'withdraw');
  const listOf = (item: number): Verdict => withdrawUnless(size > 0 && size % item === 0);
  const width = context.asn4 ? 4 : 2;
  switch (type) {
    case 1:
      return withdrawUnless(size === 1 && value[0]! <= 2);
    case 2: {
      const path = segmentsOf(value, width);
      if (!path || !pathIsGood(path, context.acceptAsSet === true)) return 'withdraw';
      const first = path[0]?.type === 2 ? path[0].asns[0] : 0;
      return withdrawUnless(!context.ebgp || first === context.peerAsn);
    }
    case 3:
    case 4:
    case 35:
      return withdrawUnless(size === 4);
    case 5:
    case 9:
      return context.ebgp ? 'discard' : withdrawUnless(size === 4);
    case 10:
      return context.ebgp ? 'discard' : listOf(4);
    case 6:
      return size === 0 ? 'keep' : 'discard';
    case 7:
      return size === width + 4 && number(value.subarray(0, width)) !== 0 ? 'keep' : 'discard';
    case 8:
      return listOf(4);
    case 16:
      return listOf(8);
    case 17: {
      const path = segmentsOf(value, 4);
      const good = !context.asn4 && size > 0 && path?.every(({ asns }) => !asns.includes(0));
      return good ? 'keep' : 'discard';
    }
    case 18:
      return !context.asn4 && size === 8 && number(value.subarray(0, 4)) !== 0 ? 'keep' : 'discard';
    case 25:
      return listOf(20);
    case 32:
      return listOf(12);
    default:
      throw new Error(`type ${type} is not known here`);
  }
}

/** From whom an attribute has no business, so that its flags do not matter either. */
const unwelcome = (type: number, context: wire.UpdateContext): boolean =>
  (context.ebgp && [5, 9, 10].includes(type)) || (context.asn4 && [17, 18].includes(type));

const isLinkLocal = (address: Uint8Array): boolean => address[0] === 0xfe && (address[1]! & 0xc0) === 0x80;

const isHost = (address: Uint8Array): boolean => {
  if (address.length === 4) return address[0] !== 0 && address[0] !== 127 && address[0]! < 224;
  const zeros = address.subarray(0, 15).every((octet) => octet === 0);
  return address[0] !== 0xff && !(zeros && address[15]! <= 1);
};

/** RFC 4760 3, RFC 2545 3, RFC 8950 3. */
function nextHopSizes(family: 4 | 6, context: wire.UpdateContext): readonly number[] {
  if (family === 6) return [16, 32];
  return context.extendedNextHop ? [4, 16, 32] : [4];
}

function familyOf(value: Uint8Array, context: wire.UpdateContext): 4 | 6 | undefined {
  const afi = number(value.subarray(0, 2));
  if (value[2] !== 1) return undefined;
  if (afi === 1) return context.ipv4 ? 4 : undefined;
  return afi === 2 && context.ipv6 ? 6 : undefined;
}

/** @param bytes a whole UPDATE of at least 23 octets, header included. */
export function referenceVerdict(context: wire.UpdateContext, bytes: Uint8Array): ReferenceVerdict {
  try {
    return judgeWhole(context, bytes.subarray(19));
  } catch (error) {
    if (error instanceof Reset)
      return { disposition: 'reset', discarded: 0, announced: [], withdrawn: [], multiprotocolNextHop: '' };
    throw error;
  }
}

function judgeWhole(context: wire.UpdateContext, body: Uint8Array): ReferenceVerdict {
  const withdrawnSize = number(body.subarray(0, 2));
  if (2 + withdrawnSize + 2 > body.length) reset('RFC 7606 3b');
  const attributesSize = number(body.subarray(2 + withdrawnSize, 4 + withdrawnSize));
  if (4 + withdrawnSize + attributesSize > body.length) reset('RFC 7606 3b');
  const nlriOctets = body.subarray(4 + withdrawnSize + attributesSize);
  const withdrawn: Prefix[] = [];
  const announced: Prefix[] = [];
  if (context.ipv4) {
    withdrawn.push(...(prefixesOf(body.subarray(2, 2 + withdrawnSize), 4, context) ?? reset('RFC 7606 5.3')));
    announced.push(...(prefixesOf(nlriOctets, 4, context) ?? reset('RFC 7606 5.3')));
  }
  const classic = announced.length > 0;
  let bad = false;
  let discarded = 0;
  const seen = new Map<number, Seen>();
  let rest = body.subarray(4 + withdrawnSize, 4 + withdrawnSize + attributesSize);
  let reach: { family: 4 | 6; next: Uint8Array; prefixes: Prefix[] } | undefined;
  let foreignReach = false;
  let multiprotocolNextHop = '';
  while (rest.length > 0) {
    const [flags, type] = [rest[0]!, rest[1]!];
    const head = (flags & 0x10) === 0 ? 3 : 4;
    const size = rest.length < head ? Number.POSITIVE_INFINITY : number(rest.subarray(2, head));
    if (head + size > rest.length) {
      bad = true; // RFC 7606 4
      break;
    }
    const value = rest.subarray(head, head + size);
    rest = rest.subarray(head + size);
    if (seen.has(type)) {
      if (type === 14 || type === 15) reset('RFC 7606 3g');
      discarded++;
      continue;
    }
    const entry: Seen = { flags, value, kept: true };
    seen.set(type, entry);
    const rightFlags = flagsOf[type];
    if (rightFlags === undefined) {
      if ((flags & 0x80) === 0) reset('RFC 4271 6.3');
      entry.kept = (flags & 0x40) !== 0;
      continue;
    }
    const flagsGood = (flags & 0xc0) === rightFlags;
    if (type === 14 || type === 15) {
      if (value.length < (type === 14 ? 5 : 3)) reset('RFC 7606 7.11');
      const family = familyOf(value, context);
      if (family === undefined) {
        entry.kept = false;
        if (type === 14) foreignReach = true;
        discarded++;
        continue;
      }
      if (type === 15) {
        withdrawn.push(...(prefixesOf(value.subarray(3), family, context) ?? reset('RFC 7606 5.3')));
      } else {
        const hopSize = value[3]!;
        if (!nextHopSizes(family, context).includes(hopSize) || 5 + hopSize > value.length) reset('RFC 7606 7.11');
        const prefixes = prefixesOf(value.subarray(5 + hopSize), family, context) ?? reset('RFC 7606 5.3');
        reach = { family, next: value.subarray(4, 4 + hopSize), prefixes: prefixes as Prefix[] };
      }
      if (!flagsGood) {
        bad = true;
        entry.kept = false;
        if (type === 14) foreignReach = true;
      }
      continue;
    }
    const verdict = unwelcome(type, context) ? 'discard' : flagsGood ? judge(type, value, context) : 'withdraw';
    if (verdict !== 'keep') entry.kept = false;
    if (verdict === 'discard') discarded++;
    if (verdict === 'withdraw') bad = true;
  }
  const reachable = reach !== undefined && reach.prefixes.length > 0;
  if (classic || reachable) {
    if (!seen.has(1) || !seen.has(2)) bad = true;
  }
  if (classic) {
    const hop = seen.get(3);
    if (!hop || (hop.value.length === 4 && !isHost(hop.value))) bad = true;
  }
  if (reach && reachable) {
    const [first, second] = [reach.next.subarray(0, 16), reach.next.subarray(16)];
    const unspecified = second.length === 16 && first.every((octet) => octet === 0);
    const linkLocal = isLinkLocal(second);
    const counting = unspecified && linkLocal ? second : first;
    if (!isHost(counting)) bad = true;
    const both = linkLocal && !unspecified && !isLinkLocal(first);
    multiprotocolNextHop = Buffer.from(both ? reach.next : counting).toString('hex');
    announced.push(...reach.prefixes);
  }
  const path = seen.get(2);
  if (!bad && !context.asn4 && path?.kept) {
    const aggregator = seen.get(7);
    const stale = aggregator?.kept && seen.get(18)?.kept && number(aggregator.value.subarray(0, 2)) !== 23456;
    const path4 = seen.get(17)?.kept && !stale ? segmentsOf(seen.get(17)!.value, 4) : undefined;
    const whole = merged(segmentsOf(path.value, 2)!, path4);
    if (!pathIsGood(whole, context.acceptAsSet === true)) bad = true;
  }
  // RFC 7606 5.2
  if (bad && !reachable && nlriOctets.length === 0 && !foreignReach) reset('RFC 7606 5.2');
  const usable = (list: readonly Prefix[]): string[] => list.filter(({ ignored }) => !ignored).map(({ text }) => text);
  return {
    disposition: bad ? 'withdraw' : 'accept',
    discarded,
    announced: usable(announced),
    withdrawn: usable(withdrawn),
    multiprotocolNextHop,
  };
}
