/**
 * MP_REACH_NLRI and MP_UNREACH_NLRI: RFC 4760, RFC 2545, RFC 8950, RFC 7606 5.3 and 7.11. A family that was not negotiated is
 * ignored, whatever its octets. RFC 7606 would let us disable the family instead of the reset; a reset is plainer and
 * what the peer's operator will notice.
 */
import type { IpFamily } from '#kit';
import { read16 } from './bytes.ts';
import { familyOfAfiSafi, ipFamilyOf } from './capabilities.ts';
import { updateSubcode } from './errors.ts';
import { type Fault, reset, unwelcome, withdraw } from './fault.ts';
import { prefixesWellFormed } from './prefix.ts';
import type { UpdateContext, UpdateView } from './types.ts';

const optionalError = (reason: string): Fault => reset(updateSubcode.optionalAttributeError, reason);
const faults = {
  reachShort: optionalError('MP_REACH_NLRI is shorter than 5 octets (RFC 7606 7.11)'),
  unreachShort: optionalError('MP_UNREACH_NLRI is shorter than 3 octets (RFC 7606 7.12)'),
  nextHopLength: optionalError('MP_REACH_NLRI has a next hop of wrong length (RFC 7606 7.11)'),
  reachNlri: optionalError('MP_REACH_NLRI has a malformed prefix (RFC 7606 5.3)'),
  unreachNlri: optionalError('MP_UNREACH_NLRI has a malformed prefix (RFC 7606 5.3)'),
  ignored: unwelcome('family was not negotiated (RFC 4760 6)'),
};

function negotiatedFamily(context: UpdateContext, bytes: Uint8Array, at: number): IpFamily | 0 {
  const family = familyOfAfiSafi(read16(bytes, at), bytes[at + 2]!);
  if (family === undefined) return 0;
  const ipFamily = ipFamilyOf(family);
  return (ipFamily === 4 ? context.ipv4 : context.ipv6) ? ipFamily : 0;
}

function hasPathIds(context: UpdateContext, family: IpFamily): boolean {
  return (family === 4 ? context.addPath4 : context.addPath6) === true;
}

export function checkMpReach(
  view: UpdateView,
  context: UpdateContext,
  bytes: Uint8Array,
  start: number,
  end: number,
): Fault | undefined {
  if (end - start < 5) return faults.reachShort;
  const family = negotiatedFamily(context, bytes, start);
  if (family === 0) return faults.ignored;
  const nextHopLength = bytes[start + 3]!;
  const nlriStart = start + 5 + nextHopLength; // one reserved octet, ignored
  if (!nextHopLengthIsRight(family, context, nextHopLength) || nlriStart > end) return faults.nextHopLength;
  if (!prefixesWellFormed(family, bytes, nlriStart, end, hasPathIds(context, family))) return faults.reachNlri;
  view.mpReachFamily = family;
  view.mpReachNlriStart = nlriStart;
  view.mpReachNlriEnd = end;
  view.mpNextHopStart = start + 4;
  view.mpNextHopLength = nextHopLength;
  if (nextHopLength === 32) readPair(view, bytes, start + 4);
  return undefined;
}

/** RFC 4760 3, RFC 2545 3, RFC 8950 3. */
function nextHopLengthIsRight(family: IpFamily, context: UpdateContext, length: number): boolean {
  if (length === 4) return family === 4;
  return (length === 16 || length === 32) && (family === 6 || context.extendedNextHop === true);
}

/**
 * What two addresses say. RFC 2545 means a global and a link-local one. Peers without a global one on the link put `::` or the
 * link-local address in its place: it alone counts then. What is no link-local address in the second place is not looked at.
 */
function readPair(view: UpdateView, bytes: Uint8Array, at: number): void {
  if (!isLinkLocal6(bytes, at + 16) || isLinkLocal6(bytes, at)) view.mpNextHopLength = 16;
  else if (isUnspecified6(bytes, at)) {
    view.mpNextHopStart = at + 16;
    view.mpNextHopLength = 16;
  }
}

export function checkMpUnreach(
  view: UpdateView,
  context: UpdateContext,
  bytes: Uint8Array,
  start: number,
  end: number,
): Fault | undefined {
  if (end - start < 3) return faults.unreachShort;
  const family = negotiatedFamily(context, bytes, start);
  if (family === 0) return faults.ignored;
  if (!prefixesWellFormed(family, bytes, start + 3, end, hasPathIds(context, family))) return faults.unreachNlri;
  view.mpUnreachFamily = family;
  view.mpUnreachStart = start + 3;
  view.mpUnreachEnd = end;
  return undefined;
}

/** 0.0.0.0/8, 127/8, 224/4, 240/4: no router's address (RFC 4271 6.3, RFC 1122 3.2.1.3). */
export const badNextHop4 = withdraw(
  updateSubcode.invalidNextHopAttribute,
  'NEXT_HOP is not the address of a host (RFC 4271 6.3)',
);
export const badNextHop6 = withdraw(
  updateSubcode.optionalAttributeError,
  'MP_REACH_NLRI next hop is not the address of a host (RFC 7606 3e)',
);

export function isHost4(bytes: Uint8Array, at: number): boolean {
  const first = bytes[at]!;
  return first !== 0 && first !== 127 && first < 224;
}

/** Neither `::`, nor `::1`, nor multicast. */
export function isHost6(bytes: Uint8Array, at: number): boolean {
  if (bytes[at] === 0xff) return false;
  for (let i = 0; i < 15; i++) if (bytes[at + i] !== 0) return true;
  return bytes[at + 15]! > 1;
}

function isUnspecified6(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < 16; i++) if (bytes[at + i] !== 0) return false;
  return true;
}

function isLinkLocal6(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0xfe && (bytes[at + 1]! & 0xc0) === 0x80;
}
