/** Dynamic neighbours: who connects from a range becomes a peer. BIRD and GoBGP, both address families, TCP-MD5, TTL security. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerRange, SpeakerConfig } from '#bgp';
import { BgpLink, birdConfig, linkConfig } from '../support/bgp.ts';
import { needsGobgp, startGobgp } from '../support/bgp-gobgp.ts';
import { gobgpConfig } from '../support/bgp-peers.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc'] });
const wantsGobgp = needsGobgp(needs({ root: true, commands: ['ip'] }));

function range(more: Partial<PeerRange> = {}): PeerRange {
  return {
    prefix: '10.9.0.0/24',
    limit: 1,
    asn: [64513, 64514],
    families: ['ipv4-unicast', 'ipv6-unicast'],
    holdTimeSec: 9,
    import: 'accept',
    export: 'accept',
    nextHop6: 'fd09::1',
    ...more,
  };
}
function rangeConfig(...ranges: PeerRange[]): SpeakerConfig {
  return { ...linkConfig(), peers: [], ranges };
}

for (const [family, prefix, address, neighbor] of [
  ['IPv4', '10.9.0.0/24', '10.9.0.2', 'local 10.9.0.2 as 64513; neighbor 10.9.0.1 as 64512;'],
  ['IPv6', 'fd09::/64', 'fd09::2', 'local fd09::2 as 64513; neighbor fd09::1 as 64512;'],
] as const) {
  const channels = family === 'IPv4' ? 'ipv4 { import all; export all; };' : 'ipv6 { import all; export all; };';

  test(`RFC 2385: BIRD is a peer over ${family} with the key of its range, and none without`, wants, async () => {
    await using link = new BgpLink();
    const bird = await link.bird(birdConfig({ neighbor, channels, bgp: 'password "wrong";' }));
    const speaker = await link.speaker(rangeConfig(range({ prefix, password: 'secret' })));
    await until(() => link.md5Failures(link.a) > 0, { what: 'a segment with the wrong key' });
    assert.deepEqual((await speaker.status()).peers, []);
    bird.configure(birdConfig({ neighbor, channels, bgp: 'password "secret";' }));
    const peer = await speaker.established(address);
    assert.deepEqual([peer.asn, peer.range], [64513, prefix]);
    await until(() => speaker.routes.size === 1, { what: 'the route of BIRD' });
    await until(() => /10\.50\.1\.0|fd50:1::/.test(bird.birdc('show route')), { what: 'our route at BIRD' });
    // The key of the range is changed: BIRD has the old one until it is told, and the session stays.
    speaker.configure(rangeConfig(range({ prefix, password: 'other' })));
    bird.configure(birdConfig({ neighbor, channels, bgp: 'password "other";' }));
    await until(() => bird.established('peer'), { what: 'BIRD with the new key' });
    await speaker.established(address);
    bird.configure(birdConfig({ neighbor, channels }));
    await until(async () => (await speaker.peer(address)).state !== 'Established', {
      what: 'the end of the session',
      deadlineMs: 30_000,
    });
    assert.equal(bird.established('peer'), false);
  });
}

test('RFC 4271 6.2: an AS that the range does not name is refused', wants, async () => {
  await using link = new BgpLink();
  await link.bird(birdConfig());
  const speaker = await link.speaker(rangeConfig(range({ asn: [64515] })));
  await until(() => speaker.peerEvents.some(({ lastError }) => /peer says AS 64513/.test(lastError)), {
    what: 'Bad Peer AS',
  });
  speaker.configure(rangeConfig(range({ asn: 'internal' })));
  await until(() => speaker.peerEvents.some(({ lastError }) => /configured is internal/.test(lastError)), {
    what: 'Bad Peer AS for an internal range',
  });
  speaker.configure(rangeConfig(range({ asn: 'external' })));
  await speaker.established('10.9.0.2');
});

test('RFC 4486 4: beyond its limit a range refuses with Cease, connection rejected, and counts', wants, async () => {
  await using link = new BgpLink();
  link.run(link.b, 'ip', 'addr', 'add', '10.9.0.3/24', 'dev', 'e0');
  // BIRD wants another neighbour for another session.
  link.run(link.a, 'ip', 'addr', 'add', '10.9.0.11/24', 'dev', 'e0');
  const neighbor =
    'local 10.9.0.3 as 64514; neighbor 10.9.0.11 as 64512; connect delay time 1; connect retry time 1; error wait time 1, 2;';
  const bird = await link.bird(
    `${birdConfig()}protocol bgp late { disabled on; ${neighbor} ipv4 { import all; export all; }; }\n`,
  );
  const speaker = await link.speaker(rangeConfig(range()));
  await speaker.established('10.9.0.2');
  bird.birdc('enable late');
  await until(() => bird.birdc('show protocols all late').includes('Connection rejected'), {
    what: () => `the refusal at BIRD: ${bird.birdc('show protocols all late')}`,
  });
  const [status] = (await speaker.status()).ranges;
  assert.equal(status!.peers, 1);
  assert.ok(status!.refused > 0);
  speaker.configure(rangeConfig(range({ limit: 2 })));
  await speaker.established('10.9.0.3');
  assert.equal((await speaker.peer('10.9.0.2')).establishedCount, 1);
});

test('RFC 5082: TTL security of a range', wants, async () => {
  await using link = new BgpLink();
  const bird = await link.bird(birdConfig({ bgp: 'ttl security off; direct;' }));
  const speaker = await link.speaker(rangeConfig(range({ ttlSecurityHops: 1 })));
  await until(() => speaker.logs.some(({ message }) => /TTL security/.test(message)), { what: 'the refusal' });
  assert.deepEqual((await speaker.status()).peers, []);
  bird.configure(birdConfig({ bgp: 'ttl security on; direct;' }));
  await speaker.established('10.9.0.2');
});

test('GoBGP is a peer of a range, with a password, by number of AS', wantsGobgp, async () => {
  await using link = new BgpLink();
  const config = gobgpConfig().replace('[neighbors.config]', '[neighbors.config]\n    auth-password = "secret"');
  await startGobgp(link, config);
  const speaker = await link.speaker(rangeConfig(range({ password: 'secret', asn: 'auto' })));
  const peer = await speaker.established('10.9.0.2');
  assert.equal(peer.asn, 64513);
});
