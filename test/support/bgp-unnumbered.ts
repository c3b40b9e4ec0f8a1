/** A {@link BgpLink} without addresses, and both ends' configurations for it. */
import type { PeerConfig, SpeakerConfig } from '#bgp';
import { BgpLink, linkConfig } from './bgp.ts';

/** Only the link-local addresses that the kernel makes. */
export function unnumberedLink(): BgpLink {
  const link = new BgpLink();
  for (const [name, host] of [
    [link.a, 1],
    [link.b, 2],
  ] as const) {
    link.run(name, 'ip', 'addr', 'del', `10.9.0.${host}/24`, 'dev', 'e0');
    link.run(name, 'ip', 'addr', 'del', `fd09::${host}/64`, 'dev', 'e0');
    // The link-local address of a veth that is up is there at once, duplicate address detection aside.
    link.run(name, 'sysctl', '-qw', 'net.ipv6.conf.e0.keep_addr_on_down=1');
  }
  return link;
}

/** Next hops follow from the session alone. */
export function unnumberedConfig(peer: Partial<PeerConfig> = {}, more: Partial<SpeakerConfig> = {}): SpeakerConfig {
  const config = linkConfig(more, { name: 'tor', address: '', interface: 'e0', asn: 'external', ...peer });
  return { ...config, peers: config.peers.map(({ nextHop4: _, nextHop6: __, ...rest }) => rest) };
}

/** AS 64513, announces 10.60.1.0/24 and fd60:1::/64. */
export function frrUnnumbered(options: { remote?: string; neighbor?: string; bgp?: string } = {}): string {
  return `frr defaults datacenter
log stdout
ip route 10.60.1.0/24 blackhole
ipv6 route fd60:1::/64 blackhole
interface e0
 ipv6 nd ra-interval 10
router bgp 64513
 bgp router-id 10.9.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
${options.bgp ?? ''}
 neighbor e0 interface remote-as ${options.remote ?? 'external'}
 neighbor e0 timers 3 9
 neighbor e0 timers connect 1
${options.neighbor ?? ''}
 address-family ipv4 unicast
  network 10.60.1.0/24
 exit-address-family
 address-family ipv6 unicast
  network fd60:1::/64
  neighbor e0 activate
 exit-address-family
`;
}
