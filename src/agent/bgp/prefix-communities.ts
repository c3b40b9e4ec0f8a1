/**
 * Communities of the node's own prefixes, from `prefixAdvertisements` of BGPConfiguration. As Calico has it, each entry counts whose
 * prefix holds the route, and BGPFilters see what was added. What others originate keeps what they gave it.
 */
import type { FilterTerm, PeerConfig, PeerRange } from '#bgp';
import { familyOf, type IpFamily } from '#kit';
import type { PrefixAdvertisement } from '#model';

export function withCommunities(
  advertisements: readonly PrefixAdvertisement[],
): <T extends PeerConfig | PeerRange>(peer: T) => T {
  const terms = (family: IpFamily): FilterTerm[] =>
    advertisements
      .filter(({ cidr, communities }) => familyOf(cidr) === family && communities.length > 0)
      .map(({ cidr, communities }) => ({
        action: 'next',
        source: ['own'],
        prefix: { operator: 'in', cidr },
        changes: communities.map((value) => ({ type: 'addCommunity', value })),
      }));
  const [ipv4, ipv6] = [terms(4), terms(6)];
  if (ipv4.length + ipv6.length === 0) return (peer) => peer;
  return (peer) => {
    const filter = peer.exportFilter;
    return {
      ...peer,
      exportFilter: { ipv4: [...ipv4, ...(filter?.ipv4 ?? [])], ipv6: [...ipv6, ...(filter?.ipv6 ?? [])] },
    };
  };
}
