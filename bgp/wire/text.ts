/** Canonical attributes for people: looking glass, logs, `poplin bgp routes`. */
import { formatIp } from '#kit';
import { attributeType, segmentType } from './attribute-types.ts';
import { read32 } from './bytes.ts';
import type { AttributeText } from './types.ts';
import { valueEnd, valueStart } from './update.ts';

type Writable = { -readonly [K in keyof AttributeText]: AttributeText[K] };
type Reader = (text: Writable, bytes: Uint8Array, start: number, end: number) => void;

const originNames = ['IGP', 'EGP', 'INCOMPLETE'] as const;

/** Names of the IANA registry, lower case. */
const communityNames: ReadonlyMap<number, string> = new Map([
  [0xffff0000, 'graceful-shutdown'],
  [0xffff0006, 'llgr-stale'],
  [0xffff0007, 'no-llgr'],
  [0xffff029a, 'blackhole'],
  [0xffffff01, 'no-export'],
  [0xffffff02, 'no-advertise'],
  [0xffffff03, 'no-export-subconfed'],
  [0xffffff04, 'nopeer'],
]);

function list<T>(start: number, end: number, size: number, read: (at: number) => T): T[] {
  const out: T[] = [];
  for (let at = start; at + size <= end; at += size) out.push(read(at));
  return out;
}

function communityText(value: number): string {
  return communityNames.get(value) ?? `${value >>> 16}:${value & 0xffff}`;
}

function hex(bytes: Uint8Array, start: number, end: number): string {
  let out = '';
  for (let at = start; at < end; at++) out += bytes[at]!.toString(16).padStart(2, '0');
  return out;
}

/** `64512 {64513,64514}`: sets in braces, confederation segments in parentheses and brackets, as others print them. */
function asPathText(bytes: Uint8Array, start: number, end: number): string {
  const parts: string[] = [];
  for (let at = start; at + 2 <= end; ) {
    const type = bytes[at];
    const next = at + 2 + 4 * bytes[at + 1]!;
    const asns = list(at + 2, Math.min(next, end), 4, (p) => read32(bytes, p));
    if (type === segmentType.asSet) parts.push(`{${asns.join(',')}}`);
    else if (type === segmentType.confedSequence) parts.push(`(${asns.join(' ')})`);
    else if (type === segmentType.confedSet) parts.push(`[${asns.join(',')}]`);
    else parts.push(asns.join(' '));
    at = next;
  }
  return parts.join(' ');
}

const readers: Readonly<Record<number, Reader>> = {
  [attributeType.origin](text, bytes, start) {
    text.origin = originNames[bytes[start]!] ?? 'INCOMPLETE';
  },
  [attributeType.asPath](text, bytes, start, end) {
    text.asPath = asPathText(bytes, start, end);
  },
  [attributeType.multiExitDisc](text, bytes, start) {
    text.med = read32(bytes, start);
  },
  [attributeType.localPref](text, bytes, start) {
    text.localPref = read32(bytes, start);
  },
  [attributeType.atomicAggregate](text) {
    text.atomicAggregate = true;
  },
  [attributeType.aggregator](text, bytes, start) {
    text.aggregator = `${read32(bytes, start)} ${formatIp(bytes, start + 4, 4)}`;
  },
  [attributeType.communities](text, bytes, start, end) {
    text.communities = list(start, end, 4, (at) => communityText(read32(bytes, at)));
  },
  [attributeType.originatorId](text, bytes, start) {
    text.originatorId = formatIp(bytes, start, 4);
  },
  [attributeType.clusterList](text, bytes, start, end) {
    text.clusterList = list(start, end, 4, (at) => formatIp(bytes, at, 4));
  },
  [attributeType.extendedCommunities](text, bytes, start, end) {
    text.extendedCommunities = list(start, end, 8, (at) => hex(bytes, at, at + 8));
  },
  [attributeType.largeCommunities](text, bytes, start, end) {
    text.largeCommunities = list(start, end, 12, (at) =>
      [read32(bytes, at), read32(bytes, at + 4), read32(bytes, at + 8)].join(':'),
    );
  },
  [attributeType.onlyToCustomer](text, bytes, start) {
    text.onlyToCustomer = read32(bytes, start);
  },
};

/** Readable form of the canonical attributes at `bytes[start..end)`. */
export function describeAttributes(bytes: Uint8Array, start: number, end: number): AttributeText {
  const text: Writable = { origin: 'INCOMPLETE', asPath: '' };
  const others: { type: number; flags: number; hex: string }[] = [];
  for (let at = start; at < end; at = valueEnd(bytes, at)) {
    const type = bytes[at + 1]!;
    const value = valueStart(bytes, at);
    const next = valueEnd(bytes, at);
    const reader = readers[type];
    if (reader) reader(text, bytes, value, next);
    else others.push({ type, flags: bytes[at]!, hex: hex(bytes, value, next) });
  }
  return others.length > 0 ? { ...text, others } : text;
}

/** Router ids and other 32 bit numbers as dotted quads. */
export function dottedQuad(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}
