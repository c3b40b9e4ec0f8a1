/** Next hops from one peer to another, in a network in memory: what a link knows stays on it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerConfig } from './config.ts';
import { config, Network, peer } from './test-network.ts';

/**
 * AS 64513 at `outside` announces to us (AS 64512), we pass it on to 10.0.0.3 of our AS.
 *
 * @returns the next hops that 10.0.0.3 has, by prefix.
 */
function passedOn(
  outside: string,
  toOutside: Partial<PeerConfig>,
  toInside: Partial<PeerConfig>,
  insideOffers = false,
) {
  const network = new Network();
  const here = outside.includes('%') ? 'fe80::1%eth0' : 'fd00::1';
  const plain = ({ nextHop6: _, ...rest }: PeerConfig): PeerConfig => rest;
  network.add(here, {
    ...config('10.0.0.1', 64512, []),
    peers: [
      plain(peer(outside, 64513, { ...toOutside, extendedNextHop: true })),
      plain(peer('10.0.0.3', 64512, { nextHop4: '10.0.0.1', nextHop6: 'fd00::11', ...toInside })),
    ],
  });
  network.add(outside, {
    ...config('10.0.0.2', 64513, [], ['10.244.2.0/24', 'fd00:2::/64']),
    peers: [plain(peer(here, 64512, { passive: true, extendedNextHop: true }))],
  });
  const inside = peer(here, 64512, { passive: true, extendedNextHop: insideOffers });
  network.add('10.0.0.3', { ...config('10.0.0.3', 64512, []), peers: [inside] });
  network.advance(3000);
  const routes = network.routesOf('10.0.0.3');
  return [routes.get('10.244.2.0/24')?.join(), routes.get('fd00:2::/64')?.join()];
}

test('RFC 2545 3: a link-local next hop is not passed on to peers elsewhere: they get ours', () => {
  // fe80::1 is ours, on the session with that peer.
  assert.deepEqual(passedOn('fe80::2%eth0', {}, {}), ['10.0.0.1', 'fe80::1%eth0']);
});

test('RFC 4271 5.1.3: a global next hop is passed on to internal peers', () => {
  assert.equal(passedOn('fd00::2', {}, {})[1], 'fd00::2');
});

test('RFC 8950 4: an IPv6 next hop of an IPv4 route goes only to who has said that it takes one', () => {
  assert.equal(passedOn('fd00::2', {}, {})[0], '10.0.0.1');
  assert.equal(passedOn('fd00::2', {}, { extendedNextHop: true }, true)[0], 'fd00::2');
});

test('draft-ietf-idr-linklocal-capability: a link-local next hop from who is on no link of ours is not used', () => {
  const network = new Network();
  const single = { extendedNextHop: true, linkLocalNextHopFormat: 'single' as const };
  const { nextHop6: _, ...far } = peer('fd00::2', 64513, single);
  network.add('10.0.0.1', { ...config('10.0.0.1', 64512, []), peers: [{ ...far, nextHop6: 'fd00::1' }] });
  const { nextHop6: __, ...back } = peer('10.0.0.1', 64512, { ...single, passive: true, nextHop6: 'fe80::2' });
  network.add('fd00::2', {
    ...config('10.0.0.2', 64513, [], ['fd00:2::/64']),
    peers: [{ ...back, nextHop6: 'fe80::2' }],
  });
  network.advance(3000);
  assert.equal(network.routesOf('10.0.0.1').size, 0);
});
