/**
 * UPDATE: RFC 4271 4.3 and 6.3 with the error handling of RFC 7606.
 *
 *   withdrawn length -> attributes, each through its table row -> mandatory attributes -> next hops -> NLRI syntax
 *
 * The decoder is total: any octets give a disposition, none throws. The most severe fault of a message decides; a reset
 * ends the walk. Cost: about 0.2 us a message and some ns a prefix (test/bench).
 */
import { scanAsPath, widenAsPath } from './as-path.ts';
import { attributeTable } from './attribute-table.ts';
import { attributeFlag, attributeType, optionalTransitive } from './attribute-types.ts';
import { read16 } from './bytes.ts';
import { errorCode, protocolError, updateSubcode } from './errors.ts';
import { type Fault, reset, withdraw } from './fault.ts';
import { badNextHop4, badNextHop6, isHost4, isHost6 } from './multiprotocol.ts';
import { asTrans } from './open.ts';
import { prefixesWellFormed } from './prefix.ts';
import {
  canonicalAttributesBytesMax,
  type Disposition,
  headerBytes,
  type Negotiated,
  type UpdateContext,
  type UpdateView,
} from './types.ts';
import { clearAttributeValues, emptyAttributeValues } from './values.ts';

/** Types of discarded attributes kept for the log. */
const discardedTypesMax = 16;
/** Shortest UPDATE, RFC 4271 4.3. */
const updateBytesMin = headerBytes + 4;

const { updateMessage } = errorCode;
const faults = {
  lengths: reset(updateSubcode.malformedAttributeList, 'lengths inside UPDATE exceed the message (RFC 7606 3b)'),
  leftOver: withdraw(updateSubcode.malformedAttributeList, 'octets left over after the last attribute (RFC 7606 4)'),
  overrun: withdraw(updateSubcode.attributeLengthError, 'attribute overruns the attribute list (RFC 7606 4)'),
  mpTwice: reset(updateSubcode.malformedAttributeList, 'MP_REACH_NLRI or MP_UNREACH_NLRI twice (RFC 7606 3g)'),
  flags: withdraw(updateSubcode.attributeFlagsError, 'attribute has wrong flags (RFC 7606 3c)'),
  unknownWellKnown: reset(
    updateSubcode.unrecognizedWellKnownAttribute,
    'well-known attribute of unknown type (RFC 4271 6.3)',
  ),
  widePath: withdraw(
    updateSubcode.malformedAsPath,
    'AS_PATH is longer than any attribute when widened (RFC 6793 4.2.3)',
  ),
  noOrigin: withdraw(updateSubcode.missingWellKnownAttribute, 'ORIGIN is missing (RFC 7606 3d)'),
  noAsPath: withdraw(updateSubcode.missingWellKnownAttribute, 'AS_PATH is missing (RFC 7606 3d)'),
  noNextHop: withdraw(updateSubcode.missingWellKnownAttribute, 'NEXT_HOP is missing (RFC 7606 3d)'),
  nlri: reset(updateSubcode.invalidNetworkField, 'malformed prefix in NLRI (RFC 7606 5.3)'),
  withdrawn: reset(updateSubcode.invalidNetworkField, 'malformed prefix in withdrawn routes (RFC 7606 5.3)'),
};

/** What decoding depends on, from what the OPENs agreed on. */
export function updateContext(negotiated: Negotiated, localClusterId = negotiated.localRouterId): UpdateContext {
  return {
    asn4: negotiated.asn4,
    ipv4: negotiated.families.includes('ipv4-unicast'),
    ipv6: negotiated.families.includes('ipv6-unicast'),
    addPath4: negotiated.addPath.some(({ family, receive }) => receive && family === 'ipv4-unicast'),
    addPath6: negotiated.addPath.some(({ family, receive }) => receive && family === 'ipv6-unicast'),
    ebgp: negotiated.ebgp,
    localAsn: negotiated.localAsn,
    peerAsn: negotiated.peerAsn,
    localRouterId: negotiated.localRouterId,
    localClusterId,
    extendedNextHop: negotiated.extendedNextHop,
  };
}

export function createUpdateView(): UpdateView {
  return {
    ...emptyAttributeValues(),
    bytes: new Uint8Array(0),
    disposition: 'accept',
    error: undefined,
    discardedCount: 0,
    discardedTypes: new Uint8Array(discardedTypesMax),
    withdrawnStart: 0,
    withdrawnEnd: 0,
    nlriStart: 0,
    nlriEnd: 0,
    nextHopStart: -1,
    mpReachFamily: 0,
    mpReachNlriStart: 0,
    mpReachNlriEnd: 0,
    mpNextHopStart: 0,
    mpNextHopLength: 0,
    mpUnreachFamily: 0,
    mpUnreachStart: 0,
    mpUnreachEnd: 0,
    endOfRib: 0,
    attributesStart: 0,
    attributesEnd: 0,
    communitiesStart: 0,
    communitiesEnd: 0,
    asPathStart: 0,
    asPathEnd: 0,
    slots: new Int32Array(256),
    slotTypes: new Uint8Array(256),
    slotCount: 0,
    widePath: new Uint8Array(canonicalAttributesBytesMax),
    widePathLength: -1,
  };
}

function clear(view: UpdateView, bytes: Uint8Array): void {
  clearAttributeValues(view);
  for (let i = 0; i < view.slotCount; i++) view.slots[view.slotTypes[i]!] = 0;
  view.slotCount = 0;
  view.bytes = bytes;
  view.disposition = 'accept';
  view.error = undefined;
  view.discardedCount = 0;
  view.withdrawnStart = view.withdrawnEnd = 0;
  view.nlriStart = view.nlriEnd = 0;
  view.nextHopStart = -1;
  view.mpReachFamily = 0;
  view.mpReachNlriStart = view.mpReachNlriEnd = 0;
  view.mpNextHopStart = view.mpNextHopLength = 0;
  view.mpUnreachFamily = 0;
  view.mpUnreachStart = view.mpUnreachEnd = 0;
  view.endOfRib = 0;
  view.attributesStart = view.attributesEnd = 0;
  view.communitiesStart = view.communitiesEnd = 0;
  view.asPathStart = view.asPathEnd = 0;
  view.widePathLength = -1;
}

/**
 * Decodes the whole UPDATE at `bytes[start..end)` into `view`.
 *
 * Of an accepted message apply first `withdrawn` and MP_UNREACH, then the announcements: a prefix that stands in both is
 * announced (RFC 4271 4.3). Routes with `ownAsnCount` over what is allowed, or with `reflectionLoop`, are accepted here
 * and unusable to the decision process: the peer's older route must go (RFC 4271 9.1.2, RFC 4456 8).
 */
export function decodeUpdate(
  view: UpdateView,
  context: UpdateContext,
  bytes: Uint8Array,
  start: number,
  end: number,
): Disposition {
  clear(view, bytes);
  const body = start + headerBytes;
  if (end - start < updateBytesMin) return fail(view, faults.lengths);
  const withdrawnEnd = body + 2 + read16(bytes, body);
  if (withdrawnEnd + 2 > end) return fail(view, faults.lengths);
  const attributesStart = withdrawnEnd + 2;
  const attributesEnd = attributesStart + read16(bytes, withdrawnEnd);
  if (attributesEnd > end) return fail(view, faults.lengths);
  view.attributesStart = attributesStart;
  view.attributesEnd = attributesEnd;
  if (end - start === updateBytesMin) {
    view.endOfRib = context.ipv4 ? 4 : 0;
    return 'accept';
  }
  if (context.ipv4) {
    view.withdrawnStart = body + 2;
    view.withdrawnEnd = withdrawnEnd;
    view.nlriStart = attributesEnd;
    view.nlriEnd = end;
    // Before the attributes: prefixes that cannot be told from one another leave nothing to withdraw (RFC 7606 3j).
    const withIds = context.addPath4 === true;
    if (!prefixesWellFormed(4, bytes, view.withdrawnStart, withdrawnEnd, withIds)) return fail(view, faults.withdrawn);
    if (!prefixesWellFormed(4, bytes, attributesEnd, end, withIds)) return fail(view, faults.nlri);
  }
  if (walkAttributes(view, context, bytes) === 'reset') return 'reset';
  if (attributesEnd > attributesStart || attributesEnd < end) checkWhole(view, context, bytes, end);
  return view.disposition;
}

/** Records `fault` of the attribute at `bytes[at..to)` if it is worse than what was found before. */
function fail(view: UpdateView, fault: Fault, at = 0, to = 0): Disposition {
  if (fault.verb === 'discard' || view.disposition === 'reset') return view.disposition;
  if (view.disposition === 'accept' || fault.verb === 'reset') {
    const data = to > at ? view.bytes.slice(at, to) : undefined;
    view.error = protocolError(updateMessage, fault.subcode, fault.reason, data);
    view.disposition = fault.verb;
  }
  return view.disposition;
}

function walkAttributes(view: UpdateView, context: UpdateContext, bytes: Uint8Array): Disposition {
  const end = view.attributesEnd;
  const slots = view.slots;
  let at = view.attributesStart;
  while (at < end) {
    const flags = bytes[at]!;
    const extended = (flags & attributeFlag.extendedLength) !== 0;
    const value = at + (extended ? 4 : 3);
    if (value > end) return fail(view, faults.leftOver);
    const type = bytes[at + 1]!;
    const next = value + (extended ? read16(bytes, at + 2) : bytes[at + 2]!);
    if (next > end) return fail(view, faults.overrun, at, end);
    if (slots[type] !== 0) {
      if (type === attributeType.mpReach || type === attributeType.mpUnreach) return fail(view, faults.mpTwice);
      noteDiscarded(view, type);
    } else {
      view.slotTypes[view.slotCount++] = type;
      const fault = judge(view, context, bytes, type, flags, value, next);
      // -1 also for a fault: a later copy must not take the place of the first (RFC 7606 3g).
      slots[type] = fault === undefined ? at : -1;
      if (fault !== undefined && fault !== unknownDropped) {
        if (fault.verb === 'discard') noteDiscarded(view, type);
        else if (fail(view, fault, at, next) === 'reset') return 'reset';
      }
    }
    at = next;
  }
  return view.disposition;
}

/** An optional non-transitive attribute that is not understood: dropped quietly (RFC 4271 5). */
const unknownDropped: Fault = { verb: 'discard', subcode: 0, reason: 'unknown optional non-transitive attribute' };

function judge(
  view: UpdateView,
  context: UpdateContext,
  bytes: Uint8Array,
  type: number,
  flags: number,
  value: number,
  next: number,
): Fault | undefined {
  const descriptor = attributeTable[type];
  if (descriptor === undefined) {
    if ((flags & attributeFlag.optional) === 0) return faults.unknownWellKnown;
    return (flags & attributeFlag.transitive) === 0 ? unknownDropped : undefined;
  }
  const fault = descriptor.check(view, context, bytes, value, next);
  if (((flags ^ descriptor.flags) & optionalTransitive) === 0) return fault;
  return fault?.verb === 'reset' || fault?.whateverTheFlags ? fault : faults.flags;
}

function noteDiscarded(view: UpdateView, type: number): void {
  if (view.discardedCount < discardedTypesMax) view.discardedTypes[view.discardedCount] = type;
  view.discardedCount++;
}

/** What can only be said of the message as a whole. */
function checkWhole(view: UpdateView, context: UpdateContext, bytes: Uint8Array, end: number): void {
  const { slots } = view;
  const classic = view.nlriEnd > view.nlriStart;
  const multiprotocol = view.mpReachFamily !== 0 && view.mpReachNlriEnd > view.mpReachNlriStart;
  if (classic || multiprotocol) {
    if (slots[attributeType.origin] === 0) fail(view, faults.noOrigin);
    if (slots[attributeType.asPath] === 0) fail(view, faults.noAsPath);
  }
  if (classic) {
    if (slots[attributeType.nextHop] === 0) fail(view, faults.noNextHop);
    else if (view.nextHopStart >= 0 && !isHost4(bytes, view.nextHopStart)) fail(view, badNextHop4);
  }
  if (multiprotocol) {
    const isHost = view.mpNextHopLength === 4 ? isHost4 : isHost6;
    if (!isHost(bytes, view.mpNextHopStart)) fail(view, badNextHop6);
  }
  const { asPath } = attributeType;
  if (view.disposition === 'accept' && !context.asn4 && slots[asPath]! > 0) widen(view, context, bytes);
  // RFC 7606 5.2: with no reachable prefix there is nothing to treat as withdrawn; what was hidden cannot be known.
  // An MP_REACH of a family that is not ours (slot -1 and no fault of its own) counts as reachable, and is ignored.
  if (view.disposition === 'withdraw' && !multiprotocol && view.attributesEnd === end) {
    if (slots[attributeType.mpReach] !== -1 && view.error) {
      view.disposition = 'reset';
      view.error = { ...view.error, reason: `${view.error.reason}, and no route to withdraw (RFC 7606 5.2)` };
    }
  }
  if (view.disposition !== 'accept') return;
  if (view.mpUnreachFamily !== 0 && view.mpUnreachStart === view.mpUnreachEnd && view.slotCount === 1) {
    // RFC 4724 2: MP_UNREACH_NLRI without routes as the only content.
    if (view.withdrawnStart === view.withdrawnEnd && view.attributesEnd === end) view.endOfRib = view.mpUnreachFamily;
  }
}

/** AS_PATH of a 2-octet peer in 4-octet form, and the numbers that follow from it (RFC 6793 4.2.3). */
function widen(view: UpdateView, context: UpdateContext, bytes: Uint8Array): void {
  const { slots } = view;
  const aggregator = slots[attributeType.aggregator]!;
  // RFC 6793 4.2.3: with both aggregators there, one that is not AS_TRANS was set by a router that knew nothing of the
  // AS4 attributes, and all of them are stale.
  const both = aggregator > 0 && slots[attributeType.as4Aggregator]! > 0;
  const stale = both && read16(bytes, valueStart(bytes, aggregator)) !== asTrans;
  const as4 = stale ? 0 : slots[attributeType.as4Path]!;
  const as4Start = as4 > 0 ? valueStart(bytes, as4) : 0;
  const as4End = as4 > 0 ? valueEnd(bytes, as4) : 0;
  view.widePathLength = widenAsPath(bytes, view.asPathStart, view.asPathEnd, as4Start, as4End, view.widePath);
  if (view.widePathLength > 0xffff) {
    fail(view, faults.widePath);
    return;
  }
  const fault = scanAsPath(
    view.widePath,
    0,
    view.widePathLength,
    4,
    context.localAsn,
    context.acceptAsSet === true,
    view,
  );
  if (fault) fail(view, fault);
}

/** Offset of the value of the attribute at `at`. */
export function valueStart(bytes: Uint8Array, at: number): number {
  return at + ((bytes[at]! & attributeFlag.extendedLength) !== 0 ? 4 : 3);
}

/** Offset after the value of the attribute at `at`. */
export function valueEnd(bytes: Uint8Array, at: number): number {
  return (bytes[at]! & attributeFlag.extendedLength) !== 0 ? at + 4 + read16(bytes, at + 2) : at + 3 + bytes[at + 2]!;
}
