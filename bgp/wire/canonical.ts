/**
 * The canonical form of an attribute set: the octets that are interned as the identity of a route's attributes.
 *
 * It is a path attribute list as on the wire, ascending by type, without NEXT_HOP, MP_REACH, MP_UNREACH and whatever was
 * discarded; AS numbers are 4 octets wide (AS4_PATH and AS4_AGGREGATOR merged in, RFC 6793); flags are the attribute's own
 * with the low bits cleared, Partial kept, and set on what was not understood (RFC 4271 5); lengths in their short form
 * where that fits. Two updates that mean the same give the same octets, so that sets compare by their bytes.
 */
import { scanAsPath } from './as-path.ts';
import { attributeTable } from './attribute-table.ts';
import { attributeFlag, attributeType, optionalTransitive, wellKnown } from './attribute-types.ts';
import { copy, read16, read32, write32 } from './bytes.ts';
import { readLinkBandwidth } from './link-bandwidth.ts';
import { asTrans } from './open.ts';
import { type AttributeValues, communityFlag, type OriginatedRoute, type UpdateView } from './types.ts';
import { valueEnd, valueStart } from './update.ts';
import { clearAttributeValues, readClusterList, readCommunities, readOriginatorId } from './values.ts';

/** Writes an attribute's head; returns where its value goes. */
export function writeAttributeHead(out: Uint8Array, at: number, flags: number, type: number, length: number): number {
  out[at + 1] = type;
  if (length > 255) {
    out[at] = flags | attributeFlag.extendedLength;
    out[at + 2] = length >> 8;
    out[at + 3] = length;
    return at + 4;
  }
  out[at] = flags;
  out[at + 2] = length;
  return at + 3;
}

function leftOut(type: number): boolean {
  switch (type) {
    case attributeType.nextHop:
    case attributeType.mpReach:
    case attributeType.mpUnreach:
    case attributeType.as4Path:
    case attributeType.as4Aggregator:
      return true;
    default:
      return false;
  }
}

/**
 * Writes the canonical attributes of an accepted update at `offset`; `out` has `canonicalAttributesBytesMax` free there.
 *
 * @returns the end in `out`.
 */
export function canonicalAttributes(view: UpdateView, out: Uint8Array, offset: number): number {
  const { slots, slotTypes, slotCount, bytes } = view;
  sortTypes(slotTypes, slotCount);
  let to = offset;
  for (let i = 0; i < slotCount; i++) {
    const type = slotTypes[i]!;
    const at = slots[type]!;
    if (at <= 0 || leftOut(type)) continue;
    const known = attributeTable[type];
    const partial = known ? bytes[at]! & attributeFlag.partial : attributeFlag.partial;
    const flags =
      (known ? known.flags : optionalTransitive) | (known?.flags === optionalTransitive || !known ? partial : 0);
    const start = valueStart(bytes, at);
    const end = valueEnd(bytes, at);
    if (type === attributeType.asPath && view.widePathLength >= 0) {
      to = writeAttributeHead(out, to, flags, type, view.widePathLength);
      to = copy(view.widePath, 0, view.widePathLength, out, to);
    } else if (type === attributeType.aggregator && end - start === 6) {
      to = writeAttributeHead(out, to, flags, type, 8);
      to = writeWideAggregator(view, start, out, to);
    } else if (type === attributeType.largeCommunities) {
      to = writeLargeCommunities(bytes, start, end, flags, out, to);
    } else {
      to = writeAttributeHead(out, to, flags, type, end - start);
      to = copy(bytes, start, end, out, to);
    }
  }
  return to;
}

/** Insertion sort: peers send in ascending order (RFC 4271 5), so that this is one pass. */
function sortTypes(types: Uint8Array, count: number): void {
  for (let i = 1; i < count; i++) {
    const type = types[i]!;
    let k = i - 1;
    while (k >= 0 && types[k]! > type) {
      types[k + 1] = types[k]!;
      k--;
    }
    types[k + 1] = type;
  }
}

function writeWideAggregator(view: UpdateView, start: number, out: Uint8Array, to: number): number {
  const { bytes, slots } = view;
  const as4 = slots[attributeType.as4Aggregator]!;
  const asn = read16(bytes, start);
  if (asn === asTrans && as4 > 0) {
    const value = valueStart(bytes, as4);
    return copy(bytes, value, value + 8, out, to);
  }
  write32(out, to, asn);
  return copy(bytes, start + 2, start + 6, out, to + 4);
}

/** Above this, duplicates are looked for by a set: comparing all with all would stall on an extended message of 5,461. */
const largeCompareMax = 341;

/** RFC 8092 5: duplicates are removed. */
function writeLargeCommunities(
  bytes: Uint8Array,
  start: number,
  end: number,
  flags: number,
  out: Uint8Array,
  to: number,
): number {
  // The head is written again when the length is known; its size only depends on the length being over 255.
  const first = writeAttributeHead(out, to, flags, attributeType.largeCommunities, end - start);
  let next = first;
  const seen = end - start > 12 * largeCompareMax ? new Set<string>() : undefined;
  for (let at = start; at < end; at += 12) {
    if (seen ? !addLarge(seen, bytes, at) : containsLarge(out, first, next, bytes, at)) continue;
    next = copy(bytes, at, at + 12, out, next);
  }
  const length = next - first;
  if (length === end - start) return next;
  const value = writeAttributeHead(out, to, flags, attributeType.largeCommunities, length);
  out.copyWithin(value, first, next);
  return value + length;
}

/** Whether the community was not in the set. */
function addLarge(seen: Set<string>, bytes: Uint8Array, at: number): boolean {
  const before = seen.size;
  return seen.add(`${read32(bytes, at)}:${read32(bytes, at + 4)}:${read32(bytes, at + 8)}`).size > before;
}

function containsLarge(out: Uint8Array, start: number, end: number, bytes: Uint8Array, at: number): boolean {
  for (let p = start; p < end; p += 12) {
    let i = 0;
    while (i < 12 && out[p + i] === bytes[at + i]) i++;
    if (i === 12) return true;
  }
  return false;
}

/** Canonical attributes of a route of our own: empty AS_PATH, and what `route` says. */
export function originatedAttributes(route: OriginatedRoute): Uint8Array {
  const communities = [...new Set(route.communities ?? [])].sort((a, b) => a - b);
  const out = new Uint8Array(32 + 4 * communities.length);
  let to = writeAttributeHead(out, 0, wellKnown, attributeType.origin, 1);
  out[to++] = route.origin ?? 0;
  to = writeAttributeHead(out, to, wellKnown, attributeType.asPath, 0);
  if (route.med !== undefined)
    to = writeNumber(out, to, attributeType.multiExitDisc, attributeFlag.optional, route.med);
  if (route.localPref !== undefined) to = writeNumber(out, to, attributeType.localPref, wellKnown, route.localPref);
  if (communities.length > 0) {
    to = writeAttributeHead(out, to, optionalTransitive, attributeType.communities, 4 * communities.length);
    for (const community of communities) {
      write32(out, to, community);
      to += 4;
    }
  }
  return out.slice(0, to);
}

/** Writes an attribute of one 32 bit number. */
export function writeNumber(out: Uint8Array, at: number, type: number, flags: number, value: number): number {
  const to = writeAttributeHead(out, at, flags, type, 4);
  write32(out, to, value);
  return to + 4;
}

/** Reads the numbers of canonical attributes, as `decodeUpdate` does for received ones. */
export function readCanonical(
  bytes: Uint8Array,
  start: number,
  end: number,
  localAsn: number,
  localRouterId: number,
  values: AttributeValues,
  localClusterId = localRouterId,
): void {
  clearAttributeValues(values);
  for (let at = start; at < end; at = valueEnd(bytes, at)) {
    const value = valueStart(bytes, at);
    const next = valueEnd(bytes, at);
    switch (bytes[at + 1]) {
      case attributeType.origin:
        values.origin = bytes[value]!;
        break;
      case attributeType.asPath:
        scanAsPath(bytes, value, next, 4, localAsn, true, values);
        break;
      case attributeType.multiExitDisc:
        values.med = read32(bytes, value);
        break;
      case attributeType.localPref:
        values.localPref = read32(bytes, value);
        break;
      case attributeType.communities:
        readCommunities(values, bytes, value, next);
        break;
      case attributeType.originatorId:
        readOriginatorId(values, bytes, value, localRouterId);
        break;
      case attributeType.clusterList:
        readClusterList(values, bytes, value, next, localClusterId);
        break;
      case attributeType.extendedCommunities:
        readLinkBandwidth(values, bytes, value, next);
        break;
      case attributeType.onlyToCustomer:
        values.communityFlags |= communityFlag.onlyToCustomer;
        break;
      default:
        break;
    }
  }
}
