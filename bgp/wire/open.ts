/** OPEN: RFC 4271 4.2 and 6.2, RFC 5492, RFC 6793, RFC 7607, RFC 9072. */
import { type CapabilitySet, emptyCapabilitySet, encodeCapabilities, readCapabilities } from './capabilities.ts';
import { errorCode, openSubcode, protocolError } from './errors.ts';
import { encodeMessage } from './message.ts';
import {
  type AddPathCapability,
  type Decoded,
  headerBytes,
  messageType,
  type Negotiated,
  type OpenMessage,
} from './types.ts';

/** Stands in 2-octet fields for an AS that needs four (RFC 6793 9). */
export const asTrans = 23456;

const bgpVersion = 4;
const parameterCapabilities = 2;
const extendedParameters = 255;

function fail(
  subcode: number,
  reason: string,
  data?: Uint8Array,
): { ok: false; error: ReturnType<typeof protocolError> } {
  return { ok: false, error: protocolError(errorCode.openMessage, subcode, reason, data) };
}

/**
 * Decodes a whole OPEN at `bytes[start..end)`, header included. Whether the AS and the router id are the ones expected of
 * this peer is for the state machine to say.
 */
export function decodeOpen(bytes: Uint8Array, start: number, end: number): Decoded<OpenMessage> {
  const at = start + headerBytes;
  if (end - at < 10) return fail(openSubcode.unspecific, 'OPEN is shorter than its fixed fields');
  if (bytes[at] !== bgpVersion) {
    return fail(
      openSubcode.unsupportedVersionNumber,
      `peer speaks BGP version ${bytes[at]}, we speak 4`,
      Uint8Array.of(0, bgpVersion),
    );
  }
  const asn2 = (bytes[at + 1]! << 8) | bytes[at + 2]!;
  const holdTimeSec = (bytes[at + 3]! << 8) | bytes[at + 4]!;
  const routerId = ((bytes[at + 5]! << 24) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 8) | bytes[at + 8]!) >>> 0;
  const set = emptyCapabilitySet();
  const parameterFault = readParameters(set, bytes, at + 9, end);
  if (parameterFault) return parameterFault;
  const asn = set.asn ?? asn2;
  if (asn2 === 0 || asn === 0) return fail(openSubcode.badPeerAs, 'AS 0 is reserved (RFC 7607)');
  if (holdTimeSec === 1 || holdTimeSec === 2) {
    return fail(openSubcode.unacceptableHoldTime, `hold time ${holdTimeSec} s: must be 0 or at least 3`);
  }
  if (routerId === 0) return fail(openSubcode.badBgpIdentifier, 'BGP identifier is 0.0.0.0 (RFC 6286)');
  const open: OpenMessage = {
    asn,
    holdTimeSec,
    routerId,
    families: set.multiprotocolSeen ? [...set.families] : ['ipv4-unicast'],
    asn4: set.asn !== undefined,
    routeRefresh: set.routeRefresh,
    ...(set.gracefulRestart ? { gracefulRestart: set.gracefulRestart } : {}),
    ...(set.enhancedRouteRefresh ? { enhancedRouteRefresh: true } : {}),
    ...(set.extendedMessages ? { extendedMessages: true } : {}),
    ...(set.extendedNextHop ? { extendedNextHop: true } : {}),
    ...(set.linkLocalNextHop ? { linkLocalNextHop: true } : {}),
    ...(set.longLived ? { longLived: set.longLived } : {}),
    ...(set.addPath.length > 0 ? { addPath: withLimits(set) } : {}),
    ...(set.roles.size > 0 ? { roles: [...set.roles] } : {}),
    ...(set.hostName ? { hostName: set.hostName } : {}),
    ...(set.softwareVersion === undefined ? {} : { softwareVersion: set.softwareVersion }),
  };
  return { ok: true, value: open };
}

/** A limit without ADD-PATH, or of who takes one path only, says nothing. */
function withLimits({ addPath, pathsLimits }: CapabilitySet): AddPathCapability[] {
  return addPath.map((entry) => {
    const limit = entry.receive ? pathsLimits.get(entry.family) : undefined;
    return limit === undefined ? entry : { ...entry, limit };
  });
}

/** Reads optional parameters, whose length field is at `at`, in either form (RFC 9072 2). */
function readParameters(
  set: CapabilitySet,
  bytes: Uint8Array,
  at: number,
  end: number,
): ReturnType<typeof fail> | undefined {
  let length = bytes[at]!;
  let next = at + 1;
  let lengthBytes = 1;
  if (length !== 0 && next < end && bytes[next] === extendedParameters) {
    if (next + 3 > end) return fail(openSubcode.unspecific, 'extended optional parameters are cut short');
    length = (bytes[next + 1]! << 8) | bytes[next + 2]!;
    next += 3;
    lengthBytes = 2;
  }
  if (next + length !== end) {
    return fail(openSubcode.unspecific, `optional parameters of ${length} octets do not fill the ${end - next} left`);
  }
  while (next < end) {
    const value = next + 1 + lengthBytes;
    if (value > end) return fail(openSubcode.unspecific, 'optional parameter is cut short');
    const size = lengthBytes === 1 ? bytes[next + 1]! : (bytes[next + 1]! << 8) | bytes[next + 2]!;
    if (value + size > end) return fail(openSubcode.unspecific, 'optional parameter overruns the message');
    if (bytes[next] !== parameterCapabilities) {
      return fail(openSubcode.unsupportedOptionalParameter, `optional parameter type ${bytes[next]} is unknown`);
    }
    if (!readCapabilities(set, bytes, value, value + size)) {
      return fail(openSubcode.unspecific, 'capability overruns its optional parameter');
    }
    next = value + size;
  }
  return undefined;
}

/** Optional parameters with their length field: one capabilities parameter, RFC 9072 form only where it must be. */
export function encodeParameters(capabilities: Uint8Array): Uint8Array {
  const size = capabilities.length;
  if (size === 0) return Uint8Array.of(0);
  if (size + 2 <= 254) return Uint8Array.of(size + 2, parameterCapabilities, size, ...capabilities);
  const total = size + 3;
  const head = [extendedParameters, extendedParameters, total >> 8, total & 0xff];
  return Uint8Array.of(...head, parameterCapabilities, size >> 8, size & 0xff, ...capabilities);
}

/** A whole OPEN. */
export function encodeOpen(open: OpenMessage): Uint8Array {
  const asn2 = open.asn > 0xffff ? asTrans : open.asn;
  const id = open.routerId;
  return encodeMessage(
    messageType.open,
    Uint8Array.of(
      bgpVersion,
      asn2 >> 8,
      asn2 & 0xff,
      open.holdTimeSec >> 8,
      open.holdTimeSec & 0xff,
      id >>> 24,
      (id >>> 16) & 0xff,
      (id >>> 8) & 0xff,
      id & 0xff,
      ...encodeParameters(open.plain ? new Uint8Array(0) : encodeCapabilities(open)),
    ),
  );
}

/** What two OPENs agree on; both are taken as acceptable. */
export function negotiate(local: OpenMessage, remote: OpenMessage): Negotiated {
  const holdTimeSec = Math.min(local.holdTimeSec, remote.holdTimeSec);
  const restart = local.gracefulRestart && remote.gracefulRestart;
  return {
    localAsn: local.asn,
    peerAsn: remote.asn,
    ebgp: local.asn !== remote.asn,
    localRouterId: local.routerId,
    peerRouterId: remote.routerId,
    asn4: local.asn4 && remote.asn4,
    families: local.families.filter((family) => remote.families.includes(family)),
    routeRefresh: local.routeRefresh && remote.routeRefresh,
    holdTimeSec,
    keepaliveSec: Math.floor(holdTimeSec / 3),
    ...(restart ? { gracefulRestart: { ...restart, notification: agreedNotification(local, remote) } } : {}),
    longLived: restart && local.longLived ? (remote.longLived ?? []) : [],
    longLivedAware: restart !== undefined && remote.longLived !== undefined,
    enhancedRouteRefresh: both(local.enhancedRouteRefresh, remote.enhancedRouteRefresh),
    extendedMessages: both(local.extendedMessages, remote.extendedMessages),
    extendedNextHop: both(local.extendedNextHop, remote.extendedNextHop),
    linkLocalNextHop: both(local.linkLocalNextHop, remote.linkLocalNextHop),
    addPath: agreedAddPath(local.addPath ?? [], remote.addPath ?? []),
    ...(remote.roles?.length === 1 ? { peerRole: remote.roles[0]! } : {}),
    ...(remote.hostName
      ? { peerHostName: [remote.hostName.host, remote.hostName.domain].filter(Boolean).join('.') }
      : {}),
    ...(remote.softwareVersion ? { peerSoftwareVersion: remote.softwareVersion } : {}),
  };
}

/** RFC 8538 4: N counts when both sides set it. */
function agreedNotification(local: OpenMessage, remote: OpenMessage): boolean {
  return both(local.gracefulRestart?.notification, remote.gracefulRestart?.notification);
}

const both = (local: boolean | undefined, remote: boolean | undefined): boolean => local === true && remote === true;

/** RFC 7911 4: one side says that it sends, the other that it receives. */
function agreedAddPath(
  local: readonly AddPathCapability[],
  remote: readonly AddPathCapability[],
): readonly AddPathCapability[] {
  return local.flatMap(({ family, receive, send }) => {
    const other = remote.find((entry) => entry.family === family);
    const agreed = { family, receive: receive && other?.send === true, send: send && other?.receive === true };
    const limit = agreed.send && other?.limit !== undefined ? { limit: other.limit } : {};
    return agreed.receive || agreed.send ? [{ ...agreed, ...limit }] : [];
  });
}
