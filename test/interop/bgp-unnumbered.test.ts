/** Peers by interface (unnumbered): found by router advertisements, with FRR at the other end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerConfig, SpeakerConfig } from '#bgp';
import { BgpLink, linkConfig } from '../support/bgp.ts';
import { startFrr } from '../support/bgp-frr.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip', 'unshare', 'nsenter'], provided: ['zebra', 'bgpd', 'vtysh'] });

/** No addresses but the link-local ones that the kernel makes. */
function unnumberedLink(): BgpLink {
  const link = new BgpLink();
  for (const name of [link.a, link.b]) {
    for (const address of ['10.9.0.1/24', '10.9.0.2/24', 'fd09::1/64', 'fd09::2/64']) {
      try {
        link.run(name, 'ip', 'addr', 'del', address, 'dev', 'e0');
      } catch {
        // the other end's
      }
    }
    link.run(name, 'ip', 'link', 'set', 'e0', 'addrgenmode', 'eui64');
  }
  return link;
}

function unnumbered(more: Partial<PeerConfig> = {}): SpeakerConfig {
  const config = linkConfig({}, { name: 'tor', address: '', interface: 'e0', asn: 'external', ...more });
  return { ...config, peers: config.peers.map(({ nextHop4: _, nextHop6: __, ...peer }) => peer) };
}

const frrConfig = (remote = 'external'): string => `
hostname tor
ip route 10.60.1.0/24 blackhole
ipv6 route fd60:1::/64 blackhole
interface e0
 ipv6 nd ra-interval 10
router bgp 64513
 bgp router-id 10.9.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor e0 interface remote-as ${remote}
 neighbor e0 timers connect 1
 neighbor e0 timers 3 9
 address-family ipv4 unicast
  network 10.60.1.0/24
 exit-address-family
 address-family ipv6 unicast
  network fd60:1::/64
  neighbor e0 activate
 exit-address-family
`;

test(
  'RFC 4861, RFC 8950: FRR and we find each other, IPv4 and IPv6 routes go by the link-local address',
  wants,
  async () => {
    await using link = unnumberedLink();
    const frr = await startFrr(link, frrConfig());
    const speaker = await link.speaker(unnumbered());
    const peer = await speaker.established('tor');
    assert.match(peer.address, /^fe80::.*%e0$/);
    assert.equal(peer.asn, 64513);
    assert.equal(peer.negotiated?.extendedNextHop, true);
    await until(() => speaker.routes.size === 2, { what: 'both routes of FRR' });
    assert.deepEqual(speaker.routes.get('10.60.1.0/24'), [peer.address]);
    assert.deepEqual(speaker.routes.get('fd60:1::/64'), [peer.address]);
    const own = peer.localAddress!.split('%')[0];
    await until(() => frr.vtysh('show ip route bgp').includes(`10.50.1.0/24 [20/0] via ${own}, e0`), {
      what: `our IPv4 route in FRR: ${frr.vtysh('show ip route')}`,
    });
    await until(() => frr.vtysh('show ipv6 route bgp').includes(`fd50:1::/64 [20/0] via ${own}, e0`), {
      what: 'our IPv6 route in FRR',
    });
  },
);
