/**
 * Capabilities of OPEN (RFC 5492): one table row per capability that is understood. An unknown capability is ignored, and
 * a known one of odd length is as if it were not there: neither may keep a session down.
 */
import type { IpFamily } from '#kit';
import { utf8AtMost } from './people-text.ts';
import type {
  AddPathCapability,
  Family,
  GracefulRestartCapability,
  LongLivedCapability,
  OpenMessage,
} from './types.ts';

const capabilityCode = {
  multiprotocol: 1,
  routeRefresh: 2,
  extendedNextHop: 5,
  extendedMessages: 6,
  role: 9,
  gracefulRestart: 64,
  asn4: 65,
  addPath: 69,
  enhancedRouteRefresh: 70,
  longLived: 71,
  hostName: 73,
  softwareVersion: 75,
  pathsLimit: 76,
  linkLocalNextHop: 77,
} as const;

const safiUnicast = 1;

export function familyOfAfiSafi(afi: number, safi: number): Family | undefined {
  if (safi !== safiUnicast) return undefined;
  return afi === 1 ? 'ipv4-unicast' : afi === 2 ? 'ipv6-unicast' : undefined;
}

export function afiOf(family: Family): number {
  return family === 'ipv4-unicast' ? 1 : 2;
}

export function ipFamilyOf(family: Family): IpFamily {
  return family === 'ipv4-unicast' ? 4 : 6;
}

/** What the capabilities of one OPEN add up to. */
export interface CapabilitySet {
  multiprotocolSeen: boolean;
  readonly families: Set<Family>;
  routeRefresh: boolean;
  asn: number | undefined;
  gracefulRestart: GracefulRestartCapability | undefined;
  enhancedRouteRefresh: boolean;
  extendedMessages: boolean;
  extendedNextHop: boolean;
  linkLocalNextHop: boolean;
  longLived: LongLivedCapability[] | undefined;
  readonly addPath: AddPathCapability[];
  readonly pathsLimits: Map<Family, number>;
  readonly roles: Set<number>;
  hostName: OpenMessage['hostName'];
  softwareVersion: string | undefined;
}

type Reader = (set: CapabilitySet, value: Uint8Array) => void;

function word(value: Uint8Array, at: number): number {
  return (value[at]! << 8) | value[at + 1]!;
}

/** A string behind its length octet; undefined when it overruns. What is no UTF-8 is replaced: it is for people only. */
function text(value: Uint8Array, at: number): string | undefined {
  const length = value[at];
  if (length === undefined || at + 1 + length > value.length) return undefined;
  return new TextDecoder().decode(value.subarray(at + 1, at + 1 + length));
}

const readers: Readonly<Record<number, Reader>> = {
  [capabilityCode.multiprotocol](set, value) {
    if (value.length !== 4) return;
    set.multiprotocolSeen = true;
    const family = familyOfAfiSafi(word(value, 0), value[3]!);
    if (family) set.families.add(family);
  },
  [capabilityCode.routeRefresh](set, value) {
    if (value.length === 0) set.routeRefresh = true;
  },
  [capabilityCode.asn4](set, value) {
    if (value.length === 4) set.asn = word(value, 0) * 0x10000 + word(value, 2);
  },
  // RFC 4724 3: of several instances the last one counts.
  [capabilityCode.gracefulRestart](set, value) {
    if (value.length % 4 !== 2) return;
    const families: { family: Family; forwarding: boolean }[] = [];
    for (let at = 2; at < value.length; at += 4) {
      const family = familyOfAfiSafi(word(value, at), value[at + 2]!);
      if (family && !families.some((f) => f.family === family)) {
        families.push({ family, forwarding: (value[at + 3]! & 0x80) !== 0 });
      }
    }
    set.gracefulRestart = {
      restarting: (value[0]! & 0x80) !== 0,
      notification: (value[0]! & 0x40) !== 0,
      restartTimeSec: word(value, 0) & 0x0fff,
      families,
    };
  },
  [capabilityCode.enhancedRouteRefresh](set, value) {
    if (value.length === 0) set.enhancedRouteRefresh = true;
  },
  [capabilityCode.extendedMessages](set, value) {
    if (value.length === 0) set.extendedMessages = true;
  },
  [capabilityCode.linkLocalNextHop](set, value) {
    if (value.length === 0) set.linkLocalNextHop = true;
  },
  // RFC 8950 4: (NLRI AFI, NLRI SAFI, next hop AFI), two octets each.
  [capabilityCode.extendedNextHop](set, value) {
    if (value.length % 6 !== 0) return;
    for (let at = 0; at < value.length; at += 6) {
      if (word(value, at) === 1 && word(value, at + 2) === safiUnicast && word(value, at + 4) === 2) {
        set.extendedNextHop = true;
      }
    }
  },
  // RFC 7911 4: of several entries of a family the last one counts; other modes than 1 to 3 are ignored.
  [capabilityCode.addPath](set, value) {
    if (value.length % 4 !== 0) return;
    for (let at = 0; at < value.length; at += 4) {
      const family = familyOfAfiSafi(word(value, at), value[at + 2]!);
      const mode = value[at + 3]!;
      if (!family || mode < 1 || mode > 3) continue;
      replace(set.addPath, { family, receive: (mode & addPathReceive) !== 0, send: (mode & addPathSend) !== 0 });
    }
  },
  // draft-abraitis-idr-addpath-paths-limit 3: of several entries of a family the first one counts, 0 says nothing.
  [capabilityCode.pathsLimit](set, value) {
    if (value.length % 5 !== 0) return;
    for (let at = 0; at < value.length; at += 5) {
      const family = familyOfAfiSafi(word(value, at), value[at + 2]!);
      const limit = word(value, at + 3);
      if (family && limit > 0 && !set.pathsLimits.has(family)) set.pathsLimits.set(family, limit);
    }
  },
  [capabilityCode.role](set, value) {
    if (value.length === 1) set.roles.add(value[0]!);
  },
  [capabilityCode.longLived](set, value) {
    if (value.length % 7 !== 0) return;
    set.longLived ??= [];
    for (let at = 0; at < value.length; at += 7) {
      const family = familyOfAfiSafi(word(value, at), value[at + 2]!);
      const staleTimeSec = (value[at + 4]! << 16) | word(value, at + 5);
      if (family) replace(set.longLived, { family, forwarding: (value[at + 3]! & 0x80) !== 0, staleTimeSec });
    }
  },
  [capabilityCode.hostName](set, value) {
    const host = text(value, 0);
    const domain = host === undefined ? undefined : text(value, 1 + value[0]!);
    if (host !== undefined && domain !== undefined) set.hostName = { host, domain };
  },
  [capabilityCode.softwareVersion](set, value) {
    set.softwareVersion = text(value, 0) || undefined;
  },
};

const addPathReceive = 1;
const addPathSend = 2;

function replace<E extends { readonly family: Family }>(entries: E[], entry: E): void {
  const known = entries.findIndex(({ family }) => family === entry.family);
  if (known < 0) entries.push(entry);
  else entries[known] = entry;
}

export function emptyCapabilitySet(): CapabilitySet {
  return {
    multiprotocolSeen: false,
    families: new Set(),
    routeRefresh: false,
    asn: undefined,
    gracefulRestart: undefined,
    enhancedRouteRefresh: false,
    extendedMessages: false,
    extendedNextHop: false,
    linkLocalNextHop: false,
    longLived: undefined,
    addPath: [],
    pathsLimits: new Map(),
    roles: new Set(),
    hostName: undefined,
    softwareVersion: undefined,
  };
}

/** Reads the capabilities in `bytes[start..end)` into `set`; false when one overruns the parameter. */
export function readCapabilities(set: CapabilitySet, bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at < end) {
    if (at + 2 > end || at + 2 + bytes[at + 1]! > end) return false;
    const next = at + 2 + bytes[at + 1]!;
    readers[bytes[at]!]?.(set, bytes.subarray(at + 2, next));
    at = next;
  }
  return true;
}

/** One multiprotocol capability, also the data of a 2/7 NOTIFICATION (RFC 5492 5). */
export function multiprotocolCapability(family: Family): number[] {
  return [capabilityCode.multiprotocol, 4, 0, afiOf(family), 0, safiUnicast];
}

/** Capabilities of `open`, back to back. */
export function encodeCapabilities(open: OpenMessage): Uint8Array {
  const out: number[] = open.families.flatMap(multiprotocolCapability);
  if (open.routeRefresh) out.push(capabilityCode.routeRefresh, 0);
  if (open.extendedNextHop) out.push(capabilityCode.extendedNextHop, 6, 0, 1, 0, safiUnicast, 0, 2);
  if (open.extendedMessages) out.push(capabilityCode.extendedMessages, 0);
  for (const role of open.roles ?? []) out.push(capabilityCode.role, 1, role);
  const restart = open.gracefulRestart;
  if (restart) {
    const flags = (restart.restarting ? 0x8 : 0) | (restart.notification ? 0x4 : 0);
    out.push(capabilityCode.gracefulRestart, 2 + 4 * restart.families.length);
    out.push((flags << 4) | ((restart.restartTimeSec >> 8) & 0xf), restart.restartTimeSec & 0xff);
    for (const { family, forwarding } of restart.families)
      out.push(0, afiOf(family), safiUnicast, forwarding ? 0x80 : 0);
  }
  if (open.asn4) {
    const asn = open.asn;
    out.push(capabilityCode.asn4, 4, asn >>> 24, (asn >>> 16) & 0xff, (asn >>> 8) & 0xff, asn & 0xff);
  }
  const { addPath = [], longLived } = open;
  if (addPath.length > 0) {
    out.push(capabilityCode.addPath, 4 * addPath.length);
    for (const { family, receive, send } of addPath) {
      out.push(0, afiOf(family), safiUnicast, (receive ? addPathReceive : 0) | (send ? addPathSend : 0));
    }
  }
  const limited = addPath.filter(({ receive, limit }) => receive && limit !== undefined);
  if (limited.length > 0) {
    out.push(capabilityCode.pathsLimit, 5 * limited.length);
    for (const { family, limit = 0 } of limited) out.push(0, afiOf(family), safiUnicast, limit >> 8, limit & 0xff);
  }
  if (open.enhancedRouteRefresh) out.push(capabilityCode.enhancedRouteRefresh, 0);
  if (longLived) {
    out.push(capabilityCode.longLived, 7 * longLived.length);
    for (const { family, forwarding, staleTimeSec: time } of longLived) {
      out.push(0, afiOf(family), safiUnicast, forwarding ? 0x80 : 0, time >> 16, (time >> 8) & 0xff, time & 0xff);
    }
  }
  if (open.hostName) {
    const value = [...octets(open.hostName.host), ...octets(open.hostName.domain)];
    out.push(capabilityCode.hostName, value.length, ...value);
  }
  if (open.softwareVersion) {
    const value = octets(open.softwareVersion);
    out.push(capabilityCode.softwareVersion, value.length, ...value);
  }
  if (open.linkLocalNextHop) out.push(capabilityCode.linkLocalNextHop, 0);
  return Uint8Array.from(out);
}

/** As both drafts bound it. */
const textBytesMax = 64;

/** A length octet and UTF-8, cut. */
function octets(value: string): number[] {
  const encoded = utf8AtMost(value, textBytesMax);
  return [encoded.length, ...encoded];
}
