/** Our speaker against GoBGP 4. Restarts are in bgp-helper and bgp-restarting-peer, ADD-PATH in bgp-addpath. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BgpLink, linkConfig } from '../support/bgp.ts';
import { needsGobgp, startGobgp } from '../support/bgp-gobgp.ts';
import { gobgpConfig } from '../support/bgp-peers.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needsGobgp(needs({ root: true, commands: ['ip'] }));

/** Both of its routes, with communities. */
const announcements = [
  'global rib add 10.60.1.0/24 nexthop 10.9.0.2 community 64513:7 large-community 64513:1:2',
  'global rib add -a ipv6 fd60:1::/64 nexthop fd09::2 community 64513:7 large-community 64513:1:2',
];
const withPassword = (password: string): string =>
  gobgpConfig().replace('peer-as = 64512', `peer-as = 64512\nauth-password = "${password}"`);

test(
  'RFC 4271, RFC 4760, RFC 8092: both families on one session, routes and communities both ways',
  wants,
  async () => {
    await using link = new BgpLink();
    const gobgp = await startGobgp(link, gobgpConfig());
    const speaker = await link.speaker(linkConfig());
    const peer = await speaker.established('bird');
    assert.deepEqual(peer.negotiated?.families, ['ipv4-unicast', 'ipv6-unicast']);
    for (const command of announcements) gobgp.cli(command);
    await until(() => speaker.routes.size === 2, { what: 'its routes' });
    assert.deepEqual(speaker.routes.get('10.60.1.0/24'), ['10.9.0.2']);
    assert.deepEqual(speaker.routes.get('fd60:1::/64'), ['fd09::2']);
    const answer = JSON.stringify(await speaker.query({}));
    assert.equal(answer.match(/"largeCommunities":\["64513:1:2"\]/g)?.length, 2, answer);
    await until(() => /10\.50\.1\.0\/24 +10\.9\.0\.1 +64512/.test(gobgp.cli('global rib')), {
      what: 'our route there',
    });
    await until(() => /fd50:1::\/64 +fd09::1 +64512/.test(gobgp.cli('global rib -a ipv6')), { what: 'our IPv6 route' });
    speaker.configure({ ...linkConfig(), originate: ['10.50.1.0/24'] });
    await until(() => !gobgp.cli('global rib -a ipv6').includes('fd50:1::/64'), { what: 'our withdrawal' });
    gobgp.cli('global rib del 10.60.1.0/24');
    await until(() => !speaker.routes.has('10.60.1.0/24'), { what: 'its withdrawal' });
    assert.equal((await speaker.peer('bird')).establishedCount, 1);
  },
);

test('RFC 2918: it is asked for its routes again', wants, async () => {
  await using link = new BgpLink();
  const gobgp = await startGobgp(link, gobgpConfig());
  for (const command of announcements) gobgp.cli(command);
  const speaker = await link.speaker(linkConfig({}, { import: 'reject' }));
  await speaker.established('bird');
  await until(async () => (await speaker.peer('bird')).families.every((family) => family.endOfRibReceived), {
    what: 'End-of-RIB',
  });
  assert.equal(speaker.routes.size, 0);
  speaker.configure(linkConfig());
  await until(() => speaker.routes.size === 2, { what: 'routes after ROUTE-REFRESH' });
  assert.equal((await speaker.peer('bird')).establishedCount, 1);
});

test('RFC 2385: the right key makes a session, a wrong one none', wants, async () => {
  await using link = new BgpLink();
  await startGobgp(link, withPassword('s3cret'));
  const speaker = await link.speaker(linkConfig({}, { password: 'wrong' }));
  await until(() => link.md5Failures(link.a) + link.md5Failures(link.b) > 0, {
    what: 'a segment with a wrong key to be dropped',
    deadlineMs: 20_000,
  });
  assert.notEqual((await speaker.peer('bird')).state, 'Established');
  speaker.configure(linkConfig({}, { password: 's3cret' }));
  await until(async () => (await speaker.peer('bird')).state === 'Established', {
    what: 'a session',
    deadlineMs: 60_000,
  });
});

test('RFC 4486: an administrative shutdown from either side ends the session and is named', wants, async () => {
  await using link = new BgpLink();
  const gobgp = await startGobgp(link, gobgpConfig());
  const speaker = await link.speaker(linkConfig());
  await speaker.established('bird');
  gobgp.cli('neighbor 10.9.0.1 disable');
  const named = /received Cease.*Administrative Shutdown/;
  await until(() => speaker.peerEvents.some(({ lastError }) => named.test(lastError)), { what: 'its NOTIFICATION' });
  gobgp.cli('neighbor 10.9.0.1 enable');
  await until(async () => (await speaker.peer('bird')).state === 'Established', {
    what: 'a session',
    deadlineMs: 60_000,
  });
  await speaker.stop('drain');
  await until(() => !/Establ/.test(gobgp.cli('neighbor')), { what: 'the end of the session there' });
});
