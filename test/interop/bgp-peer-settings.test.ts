/** Settings of a peer against BIRD 2: AS numbers, TTL security, keepalives, filters, passwords that change. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BgpLink, type Bird, birdConfig, linkConfig, linkPeer } from '../support/bgp.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc'] });

const routesAt = (bird: Bird): string => bird.birdc('show route protocol peer all');
async function reaches(bird: Bird, what: RegExp): Promise<void> {
  await until(() => what.test(routesAt(bird)), { what: `${what} at BIRD, which has ${routesAt(bird)}` });
}

test('localASNumber: BIRD sees that AS in OPEN and in AS_PATH, and another one not at all', wants, async () => {
  await using link = new BgpLink();
  const bird = await link.bird(birdConfig({ neighbor: 'local 10.9.0.2 as 64513; neighbor 10.9.0.1 as 64999;' }));
  const speaker = await link.speaker(linkConfig());
  await until(() => speaker.peerEvents.some(({ lastError }) => /Bad peer AS/i.test(lastError)), {
    what: 'Bad Peer AS',
  });
  speaker.configure(linkConfig({}, { localAsn: 64999 }));
  await speaker.established('bird');
  await reaches(bird, /10\.50\.1\.0\/24[\s\S]*?BGP\.as_path: 64999\n/);
  await until(() => speaker.routes.has('10.60.1.0/24'), { what: 'the route of BIRD' });
});

test('TTL security: with that of BIRD, from either side; without it at BIRD no session', wants, async () => {
  for (const passive of [true, false]) {
    await using link = new BgpLink();
    const guard = 'ttl security on; direct;';
    await link.bird(birdConfig({ bgp: `${guard} ${passive ? '' : 'passive on;'}` }));
    const speaker = await link.speaker(linkConfig({}, { ttlSecurityHops: 1, passive }));
    await speaker.established('bird');
    await until(() => speaker.routes.has('10.60.1.0/24'), { what: `the route of BIRD, passive ${passive}` });
  }
  // BIRD sends TTL 1 to a direct eBGP neighbour: as if from 255 hops away.
  await using link = new BgpLink();
  await link.bird(birdConfig({ bgp: 'ttl security off; direct;' }));
  const speaker = await link.speaker(linkConfig({}, { ttlSecurityHops: 1, passive: true }));
  await until(() => speaker.logs.some(({ message }) => /TTL security/.test(message)), {
    what: 'the refusal in the log',
  });
  assert.equal((await speaker.peer('bird')).establishedCount, 0);
  speaker.configure(linkConfig({}, { ttlSecurityHops: 255, passive: true }));
  await speaker.established('bird');
});

test('TTL security over IPv6', wants, async () => {
  await using link = new BgpLink();
  const neighbor = 'local fd09::2 as 64513; neighbor fd09::1 as 64512;';
  const channels = 'ipv6 { import all; export all; };';
  const far = birdConfig({ neighbor, channels, bgp: 'ttl security off; direct;' });
  const bird = await link.bird(far);
  const guarded = linkConfig({}, { address: 'fd09::2', families: ['ipv6-unicast'], ttlSecurityHops: 1, passive: true });
  const speaker = await link.speaker(guarded);
  await until(() => speaker.logs.some(({ message }) => /TTL security/.test(message)), {
    what: 'the refusal in the log',
  });
  await bird.kill();
  await link.bird(birdConfig({ neighbor, channels, bgp: 'ttl security on; direct;' }));
  await speaker.established('bird');
});

test('keepaliveTime: that often, whatever the hold time', wants, async () => {
  await using link = new BgpLink();
  await link.bird(birdConfig({ holdSec: 90 }));
  const speaker = await link.speaker(linkConfig({}, { holdTimeSec: 90, keepaliveSec: 1 }));
  const before = await speaker.established('bird');
  assert.deepEqual([before.negotiated?.holdTimeSec, before.negotiated?.keepaliveSec], [90, 1]);
  await until(async () => (await speaker.peer('bird')).messagesOut >= before.messagesOut + 4, {
    what: 'keepalives long before a third of the hold time',
    deadlineMs: 15_000,
  });
});

test('numAllowedLocalASNumbers: what BIRD passes on from our own AS', wants, async () => {
  await using link = new BgpLink();
  const looped = `filter looped { if net = 10.60.1.0/24 then bgp_path.prepend(64512); accept; }
${birdConfig({ channels: 'ipv4 { import all; export filter looped; };' })}`;
  await link.bird(looped);
  const speaker = await link.speaker(linkConfig());
  await speaker.established('bird');
  await until(async () => (await speaker.peer('bird')).families[0]!.endOfRibReceived, { what: 'End-of-RIB' });
  assert.ok(!speaker.routes.has('10.60.1.0/24'));
  speaker.configure(linkConfig({}, { allowOwnAsn: 1 }));
  await until(() => speaker.routes.has('10.60.1.0/24'), { what: 'the route with our AS in its path' });
  assert.equal((await speaker.peer('bird')).establishedCount, 1);
});

test('filters: prefixes, communities and paths in, communities and prepending out, live', wants, async () => {
  await using link = new BgpLink();
  const bird = await link.bird(
    `filter marked { if net = 10.61.0.0/16 then { bgp_community.add((64513, 7)); bgp_large_community.add((64513, 1, 2)); } accept; }
${birdConfig({ channels: 'ipv4 { import all; export filter marked; };', routes4: 'route 10.61.0.0/16 blackhole; route 10.62.0.0/16 blackhole;' })}`,
  );
  const originate = ['10.50.1.0/24', '10.50.2.0/24'];
  const speaker = await link.speaker(linkConfig({ originate }));
  await until(() => speaker.routes.size === 3, { what: 'all routes' });
  const filtered = async (terms: object[], expected: string[]): Promise<void> => {
    const importFilter = { ipv4: terms, ipv6: [] } as never;
    speaker.configure(linkConfig({ originate }, { importFilter }));
    await until(() => [...speaker.routes.keys()].sort().join() === expected.join(), {
      what: `${expected} of ${[...speaker.routes.keys()]}`,
    });
  };
  await filtered([{ action: 'reject', community: '64513:7' }], ['10.60.1.0/24', '10.62.0.0/16']);
  await filtered([{ action: 'reject', community: '64513:1:2' }], ['10.60.1.0/24', '10.62.0.0/16']);
  await filtered([{ action: 'reject', asPathPrefix: [64513] }], []);
  const wide = { operator: 'in', cidr: '10.0.0.0/8', maxLength: 16 };
  await filtered([{ action: 'accept', prefix: wide }, { action: 'reject' }], ['10.61.0.0/16', '10.62.0.0/16']);
  await filtered([], ['10.60.1.0/24', '10.61.0.0/16', '10.62.0.0/16']);

  const changes = [
    { type: 'addCommunity', value: '64512:99' },
    { type: 'addCommunity', value: '64512:3:4' },
    { type: 'prepend', asns: [64512, 64512] },
  ] as const;
  const exportFilter = {
    ipv4: [{ action: 'accept', prefix: { operator: 'equal', cidr: '10.50.1.0/24' }, changes }, { action: 'reject' }],
    ipv6: [],
  } as const;
  speaker.configure(linkConfig({ originate }, { exportFilter }));
  await reaches(bird, /10\.50\.1\.0\/24[\s\S]*?as_path: 64512 64512 64512\n/);
  await until(() => !routesAt(bird).includes('10.50.2.0/24'), { what: 'the other prefix to go' });
  assert.match(routesAt(bird), /BGP\.community: \(64512,99\)[\s\S]*BGP\.large_community: \(64512, 3, 4\)/);
  assert.equal((await speaker.peer('bird')).establishedCount, 1, 'all of it on one session');
});

test('a password that changes at both ends, one after the other, costs no session and no route', wants, async () => {
  await using link = new BgpLink();
  const config = (end: 'a' | 'b', password: string) => {
    const [own, other] = end === 'a' ? [1, 2] : [2, 1];
    const peer = linkPeer({
      name: 'other',
      address: `10.9.0.${other}`,
      asn: 64512,
      nextHop4: `10.9.0.${own}`,
      nextHop6: `fd09::${own}`,
      holdTimeSec: 9,
      password,
    });
    return linkConfig({ routerId: `10.9.0.${own}`, originate: [`10.5${own}.0.0/16`], peers: [peer] });
  };
  const a = await link.speaker(config('a', 'first'), link.a);
  const b = await link.speaker(config('b', 'first'), link.b);
  await until(() => a.routes.has('10.52.0.0/16') && b.routes.has('10.51.0.0/16'), { what: 'routes both ways' });
  a.configure(config('a', 'second'));
  // Ends differ for a while: what is sent meanwhile is dropped, and sent again.
  await until(() => link.md5Failures(link.b) > 0, { what: 'segments with the new key at the old end' });
  b.configure(config('b', 'second'));
  const more = { ...config('a', 'second'), originate: ['10.51.0.0/16', '10.53.0.0/16'] };
  a.configure(more);
  await until(() => b.routes.has('10.53.0.0/16'), { what: 'a route under the new key' });
  for (const speaker of [a, b]) assert.equal((await speaker.peer('other')).establishedCount, 1);
  // And the new key it is: a session from scratch takes no other.
  await b.kill();
  const again = await link.speaker(config('b', 'first'), link.b);
  const failures = link.md5Failures(link.a);
  await until(() => link.md5Failures(link.a) > failures, { what: 'the old key to be refused' });
  assert.equal((await again.peer('other')).establishedCount, 0);
  again.configure(config('b', 'second'));
  await again.established('other');
});

test('a peer that is held down refuses BIRD and says why, and is there when it may be', wants, async () => {
  await using link = new BgpLink();
  const bird = await link.bird(birdConfig());
  const heldDown = 'Secret poplin-system/bgp is not there';
  const speaker = await link.speaker(linkConfig({}, { heldDown }));
  await until(() => /Connection rejected|Administrative shutdown/i.test(bird.birdc('show protocols all peer')), {
    what: 'the refusal at BIRD',
  });
  const { state, lastError, establishedCount } = await speaker.peer('bird');
  assert.deepEqual([state, lastError, establishedCount], ['Idle', heldDown, 0]);
  speaker.configure(linkConfig());
  await speaker.established('bird');
});
