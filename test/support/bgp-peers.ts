/** Configurations of FRR and GoBGP at the other end of a {@link BgpLink}, like BIRD's in bgp.ts: AS 64513, graceful restart on. */

/**
 * Announces 10.60.1.0/24 and fd60:1::/64, and what `networks4` adds. `bgp` goes into `router bgp`, `neighbor` behind the neighbour,
 * `family4` into its IPv4, `more` after it.
 */
export function frrConfig(
  options: {
    bgp?: string;
    networks4?: readonly string[];
    restartSec?: number;
    neighbor?: string;
    family4?: string;
    more?: string;
  } = {},
): string {
  const networks = ['10.60.1.0/24', ...(options.networks4 ?? [])];
  return `frr defaults datacenter
log stdout
router bgp 64513
 bgp router-id 10.9.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 bgp graceful-restart restart-time ${options.restartSec ?? 30}
${options.bgp ?? ''}
 neighbor 10.9.0.1 remote-as 64512
 neighbor 10.9.0.1 timers 3 9
 neighbor 10.9.0.1 timers connect 1
 ${options.neighbor ?? ''}
 address-family ipv4 unicast
${networks.map((prefix) => `  network ${prefix}`).join('\n')}
  ${options.family4 ?? ''}
 exit-address-family
 address-family ipv6 unicast
  network fd60:1::/64
  neighbor 10.9.0.1 activate
  neighbor 10.9.0.1 route-map hop6 out
 exit-address-family
route-map hop6 permit 10
 set ipv6 next-hop global fd09::2
exit
${options.more ?? ''}
`;
}

/** Announces nothing by itself: `gobgp global rib add ...`. `restart` goes into the neighbour's graceful-restart, `family` into each family. */
export function gobgpConfig(options: { restartSec?: number; restart?: string; family?: string } = {}): string {
  const family = (name: string): string => `[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "${name}"
[neighbors.afi-safis.mp-graceful-restart.config]
enabled = true
${options.family ?? ''}
`;
  return `[global.config]
as = 64513
router-id = "10.9.0.2"
[[neighbors]]
[neighbors.config]
neighbor-address = "10.9.0.1"
peer-as = 64512
[neighbors.timers.config]
connect-retry = 1
hold-time = 9
keepalive-interval = 3
idle-hold-time-after-reset = 1
[neighbors.graceful-restart.config]
enabled = true
restart-time = ${options.restartSec ?? 30}
${options.restart ?? ''}
${family('ipv4-unicast')}${family('ipv6-unicast')}`;
}
