/**
 * Canonical attributes on their way out (RFC 4271 5.1, RFC 4456 8, RFC 6793 4.2.2): done once per attribute set and kind
 * of peer, whatever the number of prefixes and peers behind it.
 *
 *   eBGP: our AS in front, LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST and non-transitive communities off, MED only if ours
 *   iBGP: LOCAL_PREF 100 where there is none, the rest as it is; reflected: ORIGINATOR_ID where there is none, CLUSTER_LIST
 */
import { narrowAsPath, prependAsn } from './as-path.ts';
import {
  attributeFlag,
  attributeType,
  optionalNonTransitive,
  optionalTransitive,
  wellKnown,
} from './attribute-types.ts';
import { copy, read32, write32 } from './bytes.ts';
import { writeAttributeHead, writeNumber } from './canonical.ts';
import { writeOnlyToCustomer } from './only-to-customer.ts';
import { asTrans } from './open.ts';
import {
  canonicalAttributesBytesMax,
  type ExportContext,
  type ExportedAttributes,
  headerBytes,
  messageBytesMax,
} from './types.ts';
import { valueEnd, valueStart } from './update.ts';

const localPrefDefault = 100;
/** What stands beside the attributes at least: header, two length fields, NEXT_HOP, and a default route. */
const besideBytes = headerBytes + 4 + 7 + 1;
/** Room for the longest input and its AS4_PATH. */
const exportBufferBytes = 3 * canonicalAttributesBytesMax;

export function createExportedAttributes(): ExportedAttributes {
  return { bytes: new Uint8Array(exportBufferBytes), split: 0, length: 0 };
}

/** AS_PATH after prepending, before narrowing. One buffer will do: it is used within one call. */
const pathScratch = new Uint8Array(canonicalAttributesBytesMax + 8);

/**
 * Writes what a peer of `context` is told of the canonical attributes `bytes[start..end)` into `out`.
 *
 * @returns false when no message can carry them: do not announce, withdraw what was announced before.
 */
export function exportAttributes(
  bytes: Uint8Array,
  start: number,
  end: number,
  context: ExportContext,
  out: ExportedAttributes,
): boolean {
  const target = out.bytes;
  let to = 0;
  let localPrefDue = !context.ebgp;
  let onlyToCustomerDue = context.addOnlyToCustomer === true;
  const { reflection } = context;
  let originatorDue = reflection !== undefined;
  let clusterDue = originatorDue;
  let as4PathLength = -1;
  let aggregator = -1;
  out.split = 0;
  for (let at = start; at < end; ) {
    const flags = bytes[at]!;
    const type = bytes[at + 1]!;
    const value = valueStart(bytes, at);
    const next = valueEnd(bytes, at);
    if (localPrefDue && type >= attributeType.localPref) {
      if (type > attributeType.localPref) {
        to = writeNumber(target, to, attributeType.localPref, wellKnown, localPrefDefault);
      }
      localPrefDue = false;
    }
    if (originatorDue && type >= attributeType.originatorId) {
      if (type > attributeType.originatorId) to = writeOriginator(target, to, reflection!.originatorId);
      originatorDue = false;
    }
    if (clusterDue && type > attributeType.clusterList) {
      to = writeCluster(target, to, reflection!.clusterId);
      clusterDue = false;
    }
    if (onlyToCustomerDue && type >= attributeType.onlyToCustomer) {
      if (type > attributeType.onlyToCustomer) to = writeOnlyToCustomer(target, to, context.localAsn);
      onlyToCustomerDue = false;
    }
    if (type === attributeType.asPath) {
      const pathEnd = context.ebgp
        ? prependAsn(bytes, value, next, context.localAsn, pathScratch, 0)
        : copy(bytes, value, next, pathScratch, 0);
      if (context.asn4) {
        to = writeAttributeHead(target, to, wellKnown, type, pathEnd);
        to = copy(pathScratch, 0, pathEnd, target, to);
      } else {
        const narrow = writeNarrowPath(pathEnd, target, to);
        if (narrow.wide) as4PathLength = pathEnd;
        to = narrow.end;
      }
    } else if (type === attributeType.aggregator && !context.asn4) {
      const asn = read32(bytes, value);
      if (asn > 0xffff) aggregator = value;
      to = writeAttributeHead(target, to, flags, type, 6);
      target[to] = (asn > 0xffff ? asTrans : asn) >> 8;
      target[to + 1] = asn > 0xffff ? asTrans : asn;
      to = copy(bytes, value + 4, value + 8, target, to + 2);
    } else if (type === attributeType.clusterList && reflection) {
      to = writeCluster(target, to, reflection.clusterId, bytes, value, next);
      clusterDue = false;
    } else if (isCommunityList(type) && context.ebgp) {
      to = writeTransitiveCommunities(bytes, value, next, flags, type, target, to);
    } else if (!context.ebgp || crossesBorder(type, context)) {
      to = copy(bytes, at, next, target, to);
    }
    if (type <= attributeType.asPath) out.split = to;
    at = next;
  }
  if (localPrefDue) to = writeNumber(target, to, attributeType.localPref, wellKnown, localPrefDefault);
  if (originatorDue) to = writeOriginator(target, to, reflection!.originatorId);
  if (clusterDue) to = writeCluster(target, to, reflection!.clusterId);
  if (onlyToCustomerDue) to = writeOnlyToCustomer(target, to, context.localAsn);
  if (as4PathLength >= 0) {
    to = writeAttributeHead(target, to, optionalTransitive, attributeType.as4Path, as4PathLength);
    to = copy(pathScratch, 0, as4PathLength, target, to);
  }
  if (aggregator >= 0) {
    to = writeAttributeHead(target, to, optionalTransitive, attributeType.as4Aggregator, 8);
    to = copy(bytes, aggregator, aggregator + 8, target, to);
  }
  out.length = to;
  return to <= (context.messageBytesMax ?? messageBytesMax) - besideBytes;
}

function writeOriginator(target: Uint8Array, at: number, id: number): number {
  return writeNumber(target, at, attributeType.originatorId, optionalNonTransitive, id);
}

/** Writes CLUSTER_LIST with our cluster before `old[start..end)`. */
function writeCluster(target: Uint8Array, at: number, id: number, old?: Uint8Array, start = 0, end = 0): number {
  const length = 4 + end - start;
  const to = writeAttributeHead(target, at, optionalNonTransitive, attributeType.clusterList, length);
  write32(target, to, id);
  return old ? copy(old, start, end, target, to + 4) : to + 4;
}

/** Writes AS_PATH with 2-octet AS numbers from `pathScratch`. */
function writeNarrowPath(pathEnd: number, target: Uint8Array, at: number): { end: number; wide: boolean } {
  // Every AS shrinks by two octets; segment heads stay. The length is known after the first pass.
  const { end, wide } = narrowAsPath(pathScratch, 0, pathEnd, target, at + 4, asTrans);
  const length = end - at - 4;
  const value = writeAttributeHead(target, at, wellKnown, attributeType.asPath, length);
  target.copyWithin(value, at + 4, end);
  return { end: value + length, wide };
}

/** Whether an attribute other than AS_PATH may go to another AS. */
function crossesBorder(type: number, context: ExportContext): boolean {
  switch (type) {
    case attributeType.localPref:
    case attributeType.originatorId:
    case attributeType.clusterList:
      return false;
    case attributeType.multiExitDisc:
      return context.keepMed;
    default:
      return true;
  }
}

function isCommunityList(type: number): boolean {
  return type === attributeType.extendedCommunities || type === attributeType.ipv6ExtendedCommunities;
}

/** Bit of an extended community's first octet that keeps it within the AS (RFC 4360 2, RFC 5701 2). */
const nonTransitiveCommunity = 0x40;

function writeTransitiveCommunities(
  bytes: Uint8Array,
  start: number,
  end: number,
  flags: number,
  type: number,
  target: Uint8Array,
  at: number,
): number {
  const size = type === attributeType.extendedCommunities ? 8 : 20;
  let length = 0;
  for (let p = start; p < end; p += size) if ((bytes[p]! & nonTransitiveCommunity) === 0) length += size;
  if (length === 0) return at;
  let to = writeAttributeHead(target, at, flags & ~attributeFlag.extendedLength, type, length);
  for (let p = start; p < end; p += size) {
    if ((bytes[p]! & nonTransitiveCommunity) === 0) to = copy(bytes, p, p + size, target, to);
  }
  return to;
}
