/** Next hops of another family or of the link alone, against BIRD 2: RFC 8950, RFC 2545, link-local sessions. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerConfig } from '#bgp';
import { BgpLink, type Bird, birdConfig, linkConfig } from '../support/bgp.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc'] });

const routesAt = (bird: Bird): string => bird.birdc('show route protocol peer all');
async function reaches(bird: Bird, what: RegExp): Promise<void> {
  await until(() => what.test(routesAt(bird)), { what: `${what} at BIRD, which has ${routesAt(bird)}` });
}

/** Leaves nothing but fe80::1 and fe80::2 on the link. */
function withoutGlobalAddresses(link: BgpLink): void {
  for (const [name, host] of [
    [link.a, 1],
    [link.b, 2],
  ] as const) {
    link.run(name, 'ip', 'addr', 'flush', 'dev', 'e0');
    link.run(name, 'ip', 'addr', 'add', `fe80::${host}/64`, 'dev', 'e0', 'nodad');
  }
}

const overSix: Partial<PeerConfig> = { address: 'fd09::2', extendedNextHop: true };
/** A peer whose next hops follow from the session alone. */
function peerConfig(more: Partial<PeerConfig>) {
  const config = linkConfig({}, more);
  return { ...config, peers: config.peers.map(({ nextHop4: _, nextHop6: __, ...peer }) => peer) };
}
const six = 'local fd09::2 as 64513; neighbor fd09::1 as 64512;';
const linkLocal = 'local fe80::2 as 64513; neighbor fe80::1 as 64512; interface "e0";';
const both = 'ipv4 { import all; export all; extended next hop on; }; ipv6 { import all; export all; };';

test(
  'RFC 8950 4: IPv4 routes over an IPv6 session have IPv6 next hops, both ways, and are withdrawn',
  wants,
  async () => {
    await using link = new BgpLink();
    const bird = await link.bird(birdConfig({ neighbor: six, channels: both }));
    const speaker = await link.speaker(peerConfig(overSix));
    const peer = await speaker.established('bird');
    assert.equal(peer.negotiated?.extendedNextHop, true);
    await until(() => speaker.routes.size === 2, { what: 'both routes of BIRD' });
    assert.deepEqual(speaker.routes.get('10.60.1.0/24'), ['fd09::2']);
    await reaches(bird, /10\.50\.1\.0\/24[\s\S]*BGP\.next_hop: fd09::1 fe80::/);
    bird.birdc('disable s4');
    await until(() => !speaker.routes.has('10.60.1.0/24'), { what: 'the withdrawal of BIRD' });
    speaker.configure({ ...peerConfig(overSix), originate: [] });
    await until(() => !routesAt(bird).includes('10.50.1.0/24'), { what: 'our withdrawal at BIRD' });
  },
);

test('RFC 8950 4: without the capability of the peer no IPv4 route goes over an IPv6 session', wants, async () => {
  await using link = new BgpLink();
  const channels = 'ipv4 { import all; export all; next hop address 10.9.0.2; }; ipv6 { import all; export all; };';
  const bird = await link.bird(birdConfig({ neighbor: six, channels }));
  const speaker = await link.speaker(peerConfig(overSix));
  const peer = await speaker.established('bird');
  assert.equal(peer.negotiated?.extendedNextHop, false);
  await reaches(bird, /fd50:1::\/64/);
  await until(() => speaker.routes.size === 2, { what: 'both routes of BIRD' });
  assert.deepEqual(speaker.routes.get('10.60.1.0/24'), ['10.9.0.2']);
  assert.doesNotMatch(routesAt(bird), /10\.50\.1\.0/);
});

for (const passive of [false, true]) {
  test(
    `RFC 2545 3: a link-local session, ${passive ? 'accepted' : 'dialled'}, next hops with their interface`,
    wants,
    async () => {
      await using link = new BgpLink();
      withoutGlobalAddresses(link);
      const config = birdConfig({ neighbor: linkLocal, channels: both, bgp: passive ? '' : 'passive on;' });
      const bird = await link.bird(config);
      const speaker = await link.speaker(peerConfig({ address: 'fe80::2%e0', extendedNextHop: true, passive }));
      await speaker.established('bird');
      await until(() => speaker.routes.size === 2, { what: 'both routes of BIRD' });
      assert.deepEqual(speaker.routes.get('10.60.1.0/24'), ['fe80::2%e0']);
      assert.deepEqual(speaker.routes.get('fd60:1::/64'), ['fe80::2%e0']);
      await reaches(bird, /10\.50\.1\.0\/24[\s\S]*via fe80::1 on e0/);
      await reaches(bird, /fd50:1::\/64[\s\S]*via fe80::1 on e0/);
    },
  );
}

test('RFC 2385, RFC 5082: TCP-MD5 and TTL security between link-local addresses, from either side', wants, async () => {
  for (const passive of [false, true]) {
    await using link = new BgpLink();
    withoutGlobalAddresses(link);
    const guard = 'password "secret"; ttl security on; direct;';
    const bird = await link.bird(
      birdConfig({ neighbor: linkLocal, channels: both, bgp: `${guard} ${passive ? '' : 'passive on;'}` }),
    );
    const peer = { address: 'fe80::2%e0', extendedNextHop: true, passive, ttlSecurityHops: 1 } as const;
    const speaker = await link.speaker(peerConfig({ ...peer, password: 'wrong' }));
    await until(() => link.md5Failures(link.a) + link.md5Failures(link.b) > 0, {
      what: 'a segment with the wrong key',
    });
    assert.equal((await speaker.peer('bird')).establishedCount, 0);
    speaker.configure(peerConfig({ ...peer, password: 'secret' }));
    await speaker.established('bird');
    speaker.configure(peerConfig({ ...peer, password: 'third' }));
    bird.configure(
      birdConfig({
        neighbor: linkLocal,
        channels: both,
        bgp: `${guard.replace('secret', 'third')} ${passive ? '' : 'passive on;'}`,
      }),
    );
    // Whose last words carry the old key is not heard: the other one waits for its hold time, 9 s.
    await until(() => bird.established('peer'), { what: 'BIRD with the third key', deadlineMs: 30_000 });
  }
});

test('RFC 2545 3: each form of a link-local next hop is taken by BIRD', wants, async () => {
  await using link = new BgpLink();
  withoutGlobalAddresses(link);
  const bird = await link.bird(birdConfig({ neighbor: linkLocal, channels: both }));
  const config = (linkLocalNextHopFormat: 'native' | 'single' | 'double') =>
    peerConfig({ address: 'fe80::2%e0', extendedNextHop: true, linkLocalNextHopFormat });
  const speaker = await link.speaker(config('native'));
  for (const [index, format] of (['native', 'single', 'double'] as const).entries()) {
    speaker.configure(config(format));
    const before = (await speaker.established('bird')).updatesOut;
    speaker.configure({ ...config(format), originate: [`10.50.${index}.0/24`] });
    await reaches(bird, new RegExp(`10\\.50\\.${index}\\.0/24[\\s\\S]*via fe80::1 on e0`));
    assert.ok((await speaker.peer('bird')).updatesOut > before);
  }
  assert.equal((await speaker.peer('bird')).establishedCount, 1);
});
