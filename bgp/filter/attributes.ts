/** What filters ask and change of canonical attributes (see wire/canonical.ts): communities and AS_PATH. */
import { addCommunity, attributeValue, prependAsns } from '../wire/index.ts';
import type { AttributeChange } from './types.ts';

/** Four octets (RFC 1997) or twelve (RFC 8092), as on the wire. */
export type CommunityBytes = Uint8Array;

const COMMUNITIES = 8;
const LARGE_COMMUNITIES = 32;
const AS_PATH = 2;
const AS_SEQUENCE = 2;

/** `64512:100`, `64512:1:2`; undefined when it is neither. */
export function parseCommunity(text: string): CommunityBytes | undefined {
  const numbers = text.split(':').map((part) => (/^\d{1,10}$/.test(part) ? Number(part) : Number.NaN));
  const size = numbers.length === 2 ? 2 : numbers.length === 3 ? 4 : 0;
  if (size === 0 || numbers.some((n) => !(n < 2 ** (8 * size)))) return undefined;
  return Uint8Array.from(
    numbers.flatMap((n) => Array.from({ length: size }, (_, i) => (n / 256 ** (size - 1 - i)) & 255)),
  );
}

export function hasCommunity(bytes: Uint8Array, start: number, end: number, community: CommunityBytes): boolean {
  const value = attributeValue(bytes, start, end, typeOf(community));
  if (!value) return false;
  for (let at = value.start; at < value.end; at += community.length) {
    let i = 0;
    while (i < community.length && bytes[at + i] === community[i]) i++;
    if (i === community.length) return true;
  }
  return false;
}

/** An AS_SET stands for no place in the order: a path through one begins with what is before it. */
export function beginsWithAsns(bytes: Uint8Array, start: number, end: number, asns: readonly number[]): boolean {
  const value = attributeValue(bytes, start, end, AS_PATH);
  let next = 0;
  for (let at = value?.start ?? 0; value && at < value.end && next < asns.length; at += 2 + 4 * bytes[at + 1]!) {
    if (bytes[at] !== AS_SEQUENCE) break;
    for (let i = 0; i < bytes[at + 1]! && next < asns.length; i++, next++) {
      const p = at + 2 + 4 * i;
      const asn = ((bytes[p]! << 24) | (bytes[p + 1]! << 16) | (bytes[p + 2]! << 8) | bytes[p + 3]!) >>> 0;
      if (asn !== asns[next]) return false;
    }
  }
  return next === asns.length;
}

/** A copy with the changes made; `undefined` when the result is longer than any message. */
export function changeAttributes(attributes: Uint8Array, changes: readonly AttributeChange[]): Uint8Array | undefined {
  let bytes: Uint8Array | undefined = attributes;
  for (const change of changes) {
    if (!bytes) return undefined;
    if (change.type === 'prepend') bytes = prependAsns(bytes, change.asns);
    else {
      const community = parseCommunity(change.value);
      if (!community || hasCommunity(bytes, 0, bytes.length, community)) continue;
      bytes = addCommunity(bytes, community);
    }
  }
  return bytes;
}

function typeOf(community: CommunityBytes): number {
  return community.length === 4 ? COMMUNITIES : LARGE_COMMUNITIES;
}
