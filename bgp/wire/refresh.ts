/** ROUTE-REFRESH: RFC 2918, and what RFC 7313 and 5291 made of it. */
import { afiOf, familyOfAfiSafi } from './capabilities.ts';
import { errorCode, protocolError, routeRefreshSubcode } from './errors.ts';
import { encodeMessage } from './message.ts';
import { type Decoded, type Family, headerBytes, messageType, type RouteRefresh } from './types.ts';

/** A whole ROUTE-REFRESH: a request, or RFC 7313's BoRR (1) and EoRR (2). */
export function encodeRouteRefresh(family: Family, subtype: 0 | 1 | 2 = 0): Uint8Array {
  return encodeMessage(messageType.routeRefresh, Uint8Array.of(0, afiOf(family), subtype, 1));
}

/**
 * Decodes a whole ROUTE-REFRESH. Anything but four octets after the header is 7/1 with the whole message as data
 * (RFC 7313 5); an ORF (RFC 5291), which we never negotiate, makes it longer. Subtypes over 2 are to be ignored whatever
 * their length.
 */
export function decodeRouteRefresh(bytes: Uint8Array, start: number, end: number): Decoded<RouteRefresh> {
  const at = start + headerBytes;
  const subtype = at + 2 < end ? bytes[at + 2]! : 0;
  if (end - at !== 4 && subtype <= 2) {
    const reason = `ROUTE-REFRESH of ${end - start} octets, must be 23`;
    const { routeRefreshMessage: code } = errorCode;
    return {
      ok: false,
      error: protocolError(code, routeRefreshSubcode.invalidMessageLength, reason, bytes.slice(start, end)),
    };
  }
  const family = end - at >= 4 ? familyOfAfiSafi((bytes[at]! << 8) | bytes[at + 1]!, bytes[at + 3]!) : undefined;
  return { ok: true, value: family ? { family, subtype } : { subtype } };
}
