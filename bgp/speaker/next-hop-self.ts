/** Our address as the next hop of what a peer is told: RFC 4271 5.1.3, RFC 2545 3, RFC 8950 4. Pure. */
import { type IpFamily, isLinkLocal, parseIp, splitZone } from '#kit';
import type { Negotiated } from '../wire/types.ts';
import type { PeerConfig } from './config.ts';
import type { LocalLink } from './types.ts';

type NextHopConfig = Pick<PeerConfig, 'nextHop4' | 'nextHop6' | 'linkLocalNextHopFormat'>;

/**
 * @param localAddress our end of the session; link-local with its zone.
 * @param link what the two ends share; undefined when the peer is farther away.
 * @returns 4 bytes; 16 (one IPv6 address); 32 (a global and a link-local one); undefined: we have none for this family.
 */
export function nextHopSelf(
  family: IpFamily,
  config: NextHopConfig,
  negotiated: Pick<Negotiated, 'extendedNextHop' | 'linkLocalNextHop'>,
  localAddress: string,
  link: LocalLink | undefined,
): Uint8Array | undefined {
  const { address } = splitZone(localAddress);
  if (family === 4) {
    const four = parseIp(config.nextHop4 ?? address);
    if (four?.length === 4) return four;
    if (!negotiated.extendedNextHop) return undefined;
  }
  const linkLocal = linkLocalOf(address, link);
  const global = config.nextHop6 ?? (address.includes(':') && !isLinkLocal(address) ? address : link?.global[0]);
  if (global !== undefined) {
    // RFC 2545 3: the link-local address only where the peer shares the link that the global one is on.
    const shared = isLinkLocal(address) || link?.global.includes(global) === true;
    return joined(global, shared ? linkLocal : undefined);
  }
  if (linkLocal === undefined) return undefined;
  switch (config.linkLocalNextHopFormat ?? (negotiated.linkLocalNextHop ? 'single' : 'double')) {
    case 'single':
      return parseIp(linkLocal);
    case 'double':
      return joined(linkLocal, linkLocal);
    case 'native':
      return joined('::', linkLocal);
  }
}

function linkLocalOf(address: string, link: LocalLink | undefined): string | undefined {
  return isLinkLocal(address) ? address : link?.linkLocal;
}

function joined(first: string, second: string | undefined): Uint8Array | undefined {
  const [a, b] = [parseIp(first), second === undefined ? undefined : parseIp(second)];
  if (a?.length !== 16 || !b) return a?.length === 16 ? a : undefined;
  const out = new Uint8Array(32);
  out.set(a, 0);
  out.set(b, 16);
  return out;
}
