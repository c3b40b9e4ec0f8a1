/** Router solicitations and advertisements, RFC 4861 4.1 and 4.2, as far as unnumbered BGP needs them. Pure. */
import { isLinkLocal } from '#kit';

const icmp = { routerSolicitation: 133, routerAdvertisement: 134 } as const;
const sourceLinkLayerAddress = 1;
/** What came over a router has less (RFC 4861 6.1). */
const hopLimitOnLink = 255;

/** The sender's MAC address spares the other side a question before its answer. */
function linkLayerOption(mac: Uint8Array): Uint8Array {
  return mac.length === 6 ? Uint8Array.of(sourceLinkLayerAddress, 1, ...mac) : new Uint8Array(0);
}

/** Checksums are the kernel's. */
export function encodeSolicitation(mac: Uint8Array): Uint8Array {
  return Uint8Array.of(icmp.routerSolicitation, 0, 0, 0, 0, 0, 0, 0, ...linkLayerOption(mac));
}

/**
 * Says that we are a router, and nothing else: a router lifetime of 0 makes nobody on the link take us as its default gateway (RFC 4861 4.2), and
 * every other field says "unspecified". BGP peers look at the sender only.
 */
export function encodeAdvertisement(mac: Uint8Array): Uint8Array {
  const [hopLimit, flags, lifetimeHigh, lifetimeLow] = [0, 0, 0, 0];
  const reachableTime = [0, 0, 0, 0];
  const retransTimer = [0, 0, 0, 0];
  const head = [icmp.routerAdvertisement, 0, 0, 0, hopLimit, flags, lifetimeHigh, lifetimeLow];
  return Uint8Array.of(...head, ...reachableTime, ...retransTimer, ...linkLayerOption(mac));
}

export type RouterMessageKind = 'advertisement' | 'solicitation';

/** What a message is, if it is valid by RFC 4861 6.1.1 and 6.1.2 (the checksum is the kernel's). */
export function routerMessageKind(source: string, hopLimit: number, bytes: Uint8Array): RouterMessageKind | undefined {
  if (hopLimit !== hopLimitOnLink || bytes.length < 8 || bytes[1] !== 0) return undefined;
  if (bytes[0] === icmp.routerAdvertisement) {
    const valid = bytes.length >= 16 && isLinkLocal(source) && optionsWellFormed(bytes, 16);
    return valid ? 'advertisement' : undefined;
  }
  if (bytes[0] !== icmp.routerSolicitation || !optionsWellFormed(bytes, 8)) return undefined;
  if (source === '::' && hasOption(bytes, 8, sourceLinkLayerAddress)) return undefined;
  return 'solicitation';
}

/** Type, length in units of 8 octets (never 0), data. */
function optionsWellFormed(bytes: Uint8Array, start: number): boolean {
  let at = start;
  while (at + 2 <= bytes.length) {
    if (bytes[at + 1] === 0) return false;
    at += 8 * bytes[at + 1]!;
  }
  return at === bytes.length;
}

function hasOption(bytes: Uint8Array, start: number, type: number): boolean {
  for (let at = start; at < bytes.length; at += 8 * bytes[at + 1]!) if (bytes[at] === type) return true;
  return false;
}
