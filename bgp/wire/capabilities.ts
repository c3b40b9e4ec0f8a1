/**
 * Capabilities of OPEN (RFC 5492): one table row per capability that is understood. An unknown capability is ignored, and
 * a known one of odd length is as if it were not there: neither may keep a session down.
 */
import type { IpFamily } from '#kit';
import type { Family, GracefulRestartCapability, OpenMessage } from './types.ts';

const capabilityCode = { multiprotocol: 1, routeRefresh: 2, gracefulRestart: 64, asn4: 65 } as const;

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
}

type Reader = (set: CapabilitySet, value: Uint8Array) => void;

function word(value: Uint8Array, at: number): number {
  return (value[at]! << 8) | value[at + 1]!;
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
};

export function emptyCapabilitySet(): CapabilitySet {
  return {
    multiprotocolSeen: false,
    families: new Set(),
    routeRefresh: false,
    asn: undefined,
    gracefulRestart: undefined,
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
  return Uint8Array.from(out);
}
