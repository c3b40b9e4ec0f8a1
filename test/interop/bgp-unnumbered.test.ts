/** Peers by interface (unnumbered): found by router advertisements, with FRR at the other end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { birdConfig } from '../support/bgp.ts';
import { startFrr } from '../support/bgp-frr.ts';
import { needsGobgp, startGobgp } from '../support/bgp-gobgp.ts';
import { gobgpConfig } from '../support/bgp-peers.ts';
import { frrUnnumbered, unnumberedConfig, unnumberedLink } from '../support/bgp-unnumbered.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip', 'unshare', 'nsenter'], provided: ['zebra', 'bgpd', 'vtysh'] });
const wantsBird = needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc'] });

for (const [title, peer, options] of [
  ['both dial, the AS is external', {}, {}],
  ['FRR waits, the AS is a number', { asn: 64513 }, { remote: '64512', neighbor: ' neighbor e0 passive' }],
  ['we wait, whatever the AS', { asn: 'auto', passive: true }, { remote: '64512' }],
] as const) {
  test(`RFC 4861, RFC 8950: FRR and we find each other; ${title}`, wants, async () => {
    await using link = unnumberedLink();
    const frr = await startFrr(link, frrUnnumbered(options));
    const speaker = await link.speaker(unnumberedConfig(peer));
    const { address, asn, localAddress, negotiated } = await speaker.established('tor');
    assert.match(address, /^fe80::.*%e0$/);
    assert.equal(asn, 64513);
    assert.equal(negotiated?.extendedNextHop, true);
    await until(() => speaker.routes.size === 2, { what: 'both routes of FRR' });
    assert.deepEqual(speaker.routes.get('10.60.1.0/24'), [address]);
    assert.deepEqual(speaker.routes.get('fd60:1::/64'), [address]);
    const own = localAddress!.split('%')[0];
    await until(() => frr.vtysh('show ip route bgp').includes(`10.50.1.0/24 [20/0] via ${own}, e0`), {
      what: () => `our IPv4 route in FRR: ${frr.vtysh('show ip route')}`,
    });
    await until(() => frr.vtysh('show ipv6 route bgp').includes(`fd50:1::/64 [20/0] via ${own}, e0`), {
      what: 'our IPv6 route in FRR',
    });
    assert.doesNotMatch(
      link.run(link.b, 'ip', '-6', 'route'),
      /default/,
      'RFC 4861 4.2: nobody takes us as default router',
    );
  });
}

test(
  'RFC 4271 6.2: FRR of another AS than the rule says is refused, and taken when the rule is another',
  wants,
  async () => {
    await using link = unnumberedLink();
    await startFrr(link, frrUnnumbered());
    const speaker = await link.speaker(unnumberedConfig({ asn: 'internal' }));
    await until(
      () => speaker.peerEvents.some(({ lastError }) => /peer says AS 64513, configured is internal/.test(lastError)),
      {
        what: 'Bad Peer AS',
      },
    );
    speaker.configure(unnumberedConfig({ asn: 'external' }));
    await speaker.established('tor');
  },
);

test('RFC 4861: FRR comes back with another link-local address, after a loss of carrier', wants, async () => {
  await using link = unnumberedLink();
  const frr = await startFrr(link, frrUnnumbered());
  const speaker = await link.speaker(unnumberedConfig());
  const before = await speaker.established('tor');
  link.run(link.b, 'ip', 'link', 'set', 'e0', 'down');
  await until(async () => (await speaker.peer('tor')).state !== 'Established', { what: 'the end of the session' });
  assert.equal(speaker.routes.size, 0);
  assert.ok(
    speaker.logs.some(({ message }) => message === 'path to the peer is gone'),
    'by the link, not by the hold time',
  );
  // The kernel would make the old address again, some time after the link is up.
  link.run(link.b, 'ip', 'link', 'set', 'e0', 'addrgenmode', 'none');
  link.run(link.b, 'ip', '-6', 'addr', 'flush', 'dev', 'e0', 'scope', 'link');
  // FRR 8.4's bgpd is told all twice, and forgets us for good when "down" comes the second time after our advertisement the first
  // time. So its interface is up well before there is a carrier, which our side holds back.
  link.run(link.a, 'ip', 'link', 'set', 'e0', 'down');
  link.run(link.b, 'ip', 'link', 'set', 'e0', 'up');
  link.run(link.b, 'ip', 'addr', 'add', 'fe80::99/64', 'dev', 'e0', 'nodad');
  await until(() => frr.vtysh('show interface e0').includes('e0 is up, line protocol is down'), {
    what: 'FRR to know of its interface',
  });
  link.run(link.a, 'ip', 'link', 'set', 'e0', 'up');
  const after = await until(
    async () => {
      const peer = await speaker.peer('tor');
      return peer.state === 'Established' && peer.address !== before.address && peer;
    },
    {
      what: () =>
        `a session with the new address; we: ${JSON.stringify([speaker.logs.slice(-9), speaker.peerEvents.at(-1)])}; FRR: ${frr.vtysh('show bgp neighbors e0')}${frr.vtysh('show interface e0')}`,
      deadlineMs: 60_000,
    },
  );
  assert.equal(after.address, 'fe80::99%e0');
});

test('RFC 4724 4.2: FRR is killed and comes back on the same link: no route leaves', wants, async () => {
  await using link = unnumberedLink();
  const config = frrUnnumbered({ bgp: ' bgp graceful-restart\n bgp graceful-restart preserve-fw-state' });
  const first = await startFrr(link, config);
  const speaker = await link.speaker(unnumberedConfig());
  await speaker.established('tor');
  await until(() => speaker.routes.size === 2, { what: 'both routes of FRR' });
  await first.kill();
  await until(async () => (await speaker.peer('tor')).families.every(({ stale }) => stale === 1), {
    what: 'stale routes',
  });
  await startFrr(link, config);
  await until(async () => (await speaker.peer('tor')).establishedCount === 2, {
    what: 'FRR again',
    deadlineMs: 30_000,
  });
  await until(async () => (await speaker.peer('tor')).families.every(({ stale }) => stale === 0), {
    what: 'fresh routes',
  });
  assert.equal(speaker.routes.size, 2);
  assert.ok(speaker.changes.every(({ type }) => type !== 'withdraw'));
});

test('RFC 2545 3: a global address that comes to the link is announced without a new session', wants, async () => {
  await using link = unnumberedLink();
  const frr = await startFrr(link, frrUnnumbered());
  const speaker = await link.speaker(unnumberedConfig());
  await speaker.established('tor');
  const next = (): string => frr.vtysh('show bgp ipv6 unicast fd50:1::/64');
  await until(() => next().includes('fd50:1::/64'), { what: 'our route at FRR' });
  assert.doesNotMatch(next(), /fd09::/);
  link.run(link.a, 'ip', 'addr', 'add', 'fd09::1/64', 'dev', 'e0', 'nodad');
  await until(() => /fd09::1 from/.test(next()), { what: `the global next hop: ${next()}` });
  link.run(link.a, 'ip', 'addr', 'del', 'fd09::1/64', 'dev', 'e0');
  await until(() => !/fd09::1 from/.test(next()), { what: `the link-local next hop: ${next()}` });
  assert.equal((await speaker.peer('tor')).establishedCount, 1);
});

/** BIRD at fe80::2, which sends no router advertisements. */
const silentBird = (bgp: string): string =>
  birdConfig({
    neighbor: 'local fe80::2 as 64513; neighbor fe80::1 as 64512; interface "e0";',
    channels: 'ipv4 { import all; export all; extended next hop on; }; ipv6 { import all; export all; };',
    bgp,
  });
function fixedLinkLocal(): ReturnType<typeof unnumberedLink> {
  const link = unnumberedLink();
  for (const [name, host] of [
    [link.a, 1],
    [link.b, 2],
  ] as const) {
    link.run(name, 'ip', '-6', 'addr', 'flush', 'dev', 'e0');
    link.run(name, 'ip', 'addr', 'add', `fe80::${host}/64`, 'dev', 'e0', 'nodad');
  }
  return link;
}

test('a peer that sends no router advertisements is found when it connects', wantsBird, async () => {
  await using link = fixedLinkLocal();
  await link.bird(silentBird(''));
  const speaker = await link.speaker(unnumberedConfig({ passive: true }));
  assert.equal((await speaker.established('tor')).address, 'fe80::2%e0');
  await until(() => speaker.routes.size === 2, { what: 'both routes of BIRD' });
});

test('a peer that does not even connect is found as a neighbour that the kernel knows', wantsBird, async () => {
  await using link = fixedLinkLocal();
  await link.bird(silentBird('passive on;'));
  const speaker = await link.speaker(unnumberedConfig());
  assert.match((await speaker.peer('tor')).lastError, /no router was heard of on e0/);
  const greet = "require('node:dgram').createSocket('udp6').send('x', 9, 'fe80::1%e0', () => process.exit())";
  link.run(link.b, process.execPath, '-e', greet);
  assert.equal((await speaker.established('tor')).address, 'fe80::2%e0');
});

const wantsGobgp = needsGobgp(needs({ root: true, commands: ['ip'] }));

test(
  'RFC 8950: GoBGP on an unnumbered link, which looks for us among the neighbours of its kernel',
  wantsGobgp,
  async () => {
    await using link = fixedLinkLocal();
    const speaker = await link.speaker(unnumberedConfig());
    await until(() => link.run(link.b, 'ip', '-6', 'neigh').includes('fe80::1'), { what: 'our advertisement there' });
    const gobgp = await startGobgp(
      link,
      gobgpConfig().replace('neighbor-address = "10.9.0.1"', 'neighbor-interface = "e0"'),
    );
    await speaker.established('tor');
    gobgp.cli('global rib add 10.60.1.0/24');
    gobgp.cli('global rib add -a ipv6 fd60:1::/64');
    await until(() => speaker.routes.size === 2, { what: `both routes of GoBGP: ${gobgp.cli('neighbor')}` });
    assert.deepEqual(speaker.routes.get('10.60.1.0/24'), ['fe80::2%e0']);
    assert.deepEqual(speaker.routes.get('fd60:1::/64'), ['fe80::2%e0']);
    await until(() => gobgp.cli('global rib').includes('10.50.1.0/24'), { what: 'our IPv4 route at GoBGP' });
    await until(() => gobgp.cli('global rib -a ipv6').includes('fd50:1::/64'), { what: 'our IPv6 route at GoBGP' });
  },
);
