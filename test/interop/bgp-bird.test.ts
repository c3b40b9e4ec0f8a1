/** Our speaker, in its own process and thread, against BIRD 2 in another namespace. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BgpLink, birdConfig, linkConfig } from '../support/bgp.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc'] });

test('both families on one session, routes both ways', wants, async () => {
  await using link = new BgpLink();
  const bird = await link.bird(birdConfig());
  const speaker = await link.speaker(linkConfig());
  const peer = await speaker.established('bird');
  assert.deepEqual(peer.negotiated?.families, ['ipv4-unicast', 'ipv6-unicast']);
  await until(() => speaker.routes.size === 2, { what: 'both routes of BIRD' });
  assert.deepEqual(speaker.routes.get('10.60.1.0/24'), ['10.9.0.2']);
  assert.deepEqual(speaker.routes.get('fd60:1::/64'), ['fd09::2']);
  await until(() => bird.birdc('show route protocol peer').includes('fd50:1::/64'), { what: 'our IPv6 route at BIRD' });
  const at = bird.birdc('show route protocol peer all');
  assert.match(at, /10\.50\.1\.0\/24[\s\S]*?BGP\.next_hop: 10\.9\.0\.1/);
  assert.match(at, /fd50:1::\/64[\s\S]*?BGP\.next_hop: fd09::1/);
  assert.match(at, /BGP\.as_path: 64512/);

  speaker.configure({ ...linkConfig(), originate: ['10.50.2.0/24'] });
  await until(() => bird.birdc('show route protocol peer').includes('10.50.2.0/24'), { what: 'the new prefix' });
  await until(() => !bird.birdc('show route protocol peer').includes('10.50.1.0/24'), { what: 'the old one to go' });
  bird.birdc('disable s4');
  await until(() => speaker.routes.size === 1, { what: 'the withdrawal' });
  assert.equal((await speaker.peer('bird')).establishedCount, 1);
});

test('policies change on a live session: ROUTE-REFRESH in, announcements and withdrawals out', wants, async () => {
  await using link = new BgpLink();
  const bird = await link.bird(birdConfig());
  const speaker = await link.speaker(linkConfig({}, { import: 'reject', export: 'reject' }));
  await speaker.established('bird');
  await until(async () => (await speaker.peer('bird')).families.every((f) => f.endOfRibReceived), {
    what: 'End-of-RIB',
  });
  assert.equal(speaker.routes.size, 0);
  const ours = (): boolean => bird.birdc('show route protocol peer').includes('10.50.1.0/24');
  assert.equal(ours(), false);
  speaker.configure(linkConfig({}, { import: 'accept', export: 'originated' }));
  await until(() => speaker.routes.size === 2, { what: 'routes after ROUTE-REFRESH' });
  await until(ours, { what: 'our route at BIRD' });
  speaker.configure(linkConfig({}, { import: 'reject', export: 'reject' }));
  await until(() => speaker.routes.size === 0, { what: 'its routes to go' });
  await until(() => !ours(), { what: 'our route to go' });
  assert.equal((await speaker.peer('bird')).establishedCount, 1, 'on one and the same session');
});

test('an IPv6 session carries IPv6 routes', wants, async () => {
  await using link = new BgpLink();
  const bird = await link.bird(
    birdConfig({
      neighbor: 'local fd09::2 as 64513; neighbor fd09::1 as 64512;',
      channels: 'ipv6 { import all; export all; };',
    }),
  );
  const speaker = await link.speaker(linkConfig({}, { address: 'fd09::2', families: ['ipv6-unicast'] }));
  await speaker.established('bird');
  await until(() => speaker.routes.has('fd60:1::/64'), { what: 'the route of BIRD' });
  await until(() => bird.birdc('show route protocol peer').includes('fd50:1::/64'), { what: 'our route at BIRD' });
});

test('TCP-MD5: the right password makes a session from either side, a wrong one none', wants, async () => {
  for (const passive of [true, false]) {
    await using link = new BgpLink();
    const bird = await link.bird(birdConfig({ bgp: `password "s3cret"; ${passive ? '' : 'passive on;'}` }));
    const speaker = await link.speaker(linkConfig({}, { password: 'wrong', passive }));
    // A SYN with a wrong key is dropped by the kernel of whoever got it, and counted there.
    await until(() => link.md5Failures(passive ? link.a : link.b) > 0, {
      what: 'a segment with a wrong key to be dropped',
      deadlineMs: 20_000,
    });
    assert.notEqual((await speaker.peer('bird')).state, 'Established');
    speaker.configure(linkConfig({}, { password: 's3cret', passive }));
    await until(() => bird.established('peer'), { what: 'a session with the right key', deadlineMs: 60_000 });
    speaker.configure(linkConfig({ peers: [] }));
    await until(() => !bird.established('peer'), { what: 'the session to end with the peer' });
  }
});

test('TCP-MD5: a key that the kernel does not take shuts the peer out, it does not open the door', wants, async () => {
  await using link = new BgpLink();
  // No room for socket options: setting a key fails with ENOMEM.
  link.run(link.a, 'sh', '-c', 'echo 1 > /proc/sys/net/core/optmem_max');
  const speaker = await link.speaker(linkConfig({}, { password: 's3cret', passive: true }));
  const bird = await link.bird(birdConfig());
  const refused = (): boolean => speaker.logs.some(({ message }) => message.includes('TCP-MD5'));
  await until(refused, { what: 'the failure in the log' });
  await until(() => /Connection (closed|reset)|Socket: /i.test(bird.birdc('show protocols all peer')), {
    what: 'BIRD to be turned away',
    deadlineMs: 20_000,
  });
  assert.equal((await speaker.peer('bird')).establishedCount, 0);
});

test('the restart time told to a peer is its own where it has one', wants, async () => {
  await using link = new BgpLink();
  const bird = await link.bird(birdConfig({ bgp: 'graceful restart on;' }));
  const speaker = await link.speaker(linkConfig({}, { restartTimeSec: 77 }));
  await speaker.established('bird');
  const neighbor = bird.birdc('show protocols all peer').split('Neighbor capabilities')[1]!;
  assert.match(neighbor, /Graceful restart\s+Restart time: 77/);
});

const graceful = 'graceful restart on; graceful restart time 30;';

test('graceful restart: BIRD is killed and comes back; its routes stay', wants, async () => {
  await using link = new BgpLink();
  const bird = await link.bird(birdConfig({ bgp: graceful }));
  const speaker = await link.speaker(linkConfig());
  await until(() => speaker.routes.size === 2, { what: 'routes of BIRD' });
  await until(async () => (await speaker.peer('bird')).families.every((f) => f.endOfRibReceived), {
    what: 'End-of-RIB',
  });
  await bird.kill();
  await until(async () => (await speaker.peer('bird')).families.every((f) => f.stale === 1), { what: 'stale routes' });
  await bird.restart();
  await speaker.established('bird');
  await until(async () => (await speaker.peer('bird')).families.every((f) => f.stale === 0 && f.endOfRibReceived), {
    what: 'the sweep after End-of-RIB',
  });
  assert.equal(speaker.routes.size, 2);
  assert.ok(!speaker.changes.some((change) => change.type === 'withdraw'), 'no route was ever withdrawn');
});

test(
  'graceful restart: we are killed and come back; BIRD keeps our routes, and we select only after End-of-RIB',
  wants,
  async () => {
    await using link = new BgpLink();
    const bird = await link.bird(birdConfig({ bgp: graceful }));
    const first = await link.speaker(linkConfig());
    await first.established('bird');
    const ours = (): boolean => /10\.50\.1\.0\/24/.test(bird.birdc('show route protocol peer'));
    await until(ours, { what: 'our route at BIRD' });
    await until(() => first.routes.size === 2, { what: 'routes of BIRD' });
    await first.kill();
    await until(() => !bird.established('peer'), { what: 'BIRD to notice' });
    assert.ok(ours(), 'BIRD keeps the route of a speaker that died');

    const again = {
      ...linkConfig(),
      gracefulRestart: {
        restarting: true,
        forwardingPreserved: ['ipv4-unicast', 'ipv6-unicast'] as const,
        restartTimeSec: 30,
        deferralTimeSec: 20,
      },
    };
    const second = await link.speaker(again);
    await until(() => second.deferralEnded, { what: 'the end of deferral', deadlineMs: 10_000 });
    assert.ok(ours());
    assert.deepEqual([...second.routes.keys()].sort(), ['10.60.1.0/24', 'fd60:1::/64']);
    assert.equal(second.changes.at(-1)?.type, 'deferralEnded');

    // SIGTERM: no NOTIFICATION, BIRD helps again.
    await second.stop('graceful');
    await until(() => !bird.established('peer'), { what: 'BIRD to notice' });
    assert.ok(ours(), 'BIRD keeps the route after a graceful stop');
  },
);

test('a drain sends Cease: BIRD drops our routes in spite of graceful restart', wants, async () => {
  await using link = new BgpLink();
  const bird = await link.bird(birdConfig({ bgp: graceful }));
  const speaker = await link.speaker(linkConfig());
  await until(() => bird.birdc('show route protocol peer').includes('10.50.1.0/24'), { what: 'our route at BIRD' });
  await speaker.stop('drain');
  await until(() => !bird.birdc('show route').includes('10.50.1.0/24'), { what: 'our route to go' });
  assert.match(bird.output + bird.birdc('show protocols all peer'), /Administrative shutdown/i);
});

test('a link that is lost takes the routes at once, graceful restart or not', wants, async () => {
  await using link = new BgpLink();
  await link.bird(birdConfig({ bgp: graceful }));
  const speaker = await link.speaker(linkConfig());
  await until(() => speaker.routes.size === 2, { what: 'routes of BIRD' });
  speaker.pathLost('bird');
  await until(() => speaker.changes.filter((change) => change.type === 'withdraw').length >= 2, {
    what: 'withdrawals',
  });
  await speaker.established('bird');
  await until(() => speaker.routes.size === 2, { what: 'the routes back on the new session' });
});

test('main blocked for 5 s at hold time 3 s: the session stays', wants, async () => {
  await using link = new BgpLink();
  const bird = await link.bird(birdConfig({ holdSec: 3 }));
  const speaker = await link.speaker(linkConfig({}, { holdTimeSec: 3 }));
  const before = await speaker.established('bird');
  assert.equal(before.negotiated?.holdTimeSec, 3);
  speaker.block(5_000);
  await until(() => speaker.unblocked, { what: 'main to be free again', deadlineMs: 20_000 });
  const after = await speaker.peer('bird');
  assert.equal(after.state, 'Established');
  assert.equal(after.establishedCount, 1);
  assert.ok(after.messagesIn > before.messagesIn + 3, 'keepalives went on');
  assert.ok(bird.established('peer'));
});

test('hold time: a peer that falls silent is dropped with code 4, on either side', wants, async () => {
  await using link = new BgpLink();
  const bird = await link.bird(birdConfig({ holdSec: 3 }));
  const speaker = await link.speaker(linkConfig({}, { holdTimeSec: 3 }));
  await speaker.established('bird');
  link.cut();
  await until(() => speaker.peerEvents.some((peer) => /hold/i.test(peer.lastError)), {
    what: 'our hold timer',
    deadlineMs: 20_000,
  });
  await until(() => /hold timer expired/i.test(bird.output + bird.birdc('show protocols all peer')), {
    what: 'the hold timer of BIRD',
    deadlineMs: 20_000,
  });
  await until(() => speaker.routes.size === 0, { what: 'its routes to go' });
});
