/** Our speaker against FRR: routes, refresh, extended messages, roles, names, limits and texts. */
import assert from 'node:assert/strict';
import os from 'node:os';
import { test } from 'node:test';
import { BgpLink, linkConfig, type SpeakerProcess } from '../support/bgp.ts';
import { type Frr, startFrr } from '../support/bgp-frr.ts';
import { frrConfig } from '../support/bgp-peers.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip', 'unshare', 'nsenter'], provided: ['zebra', 'bgpd', 'vtysh'] });

async function pair(
  link: BgpLink,
  frrOptions: Parameters<typeof frrConfig>[0] = {},
  mine: Parameters<typeof linkConfig>[1] = {},
  speakerMore: Parameters<typeof linkConfig>[0] = {},
): Promise<{ frr: Frr; speaker: SpeakerProcess }> {
  const frr = await startFrr(link, frrConfig(frrOptions));
  const speaker = await link.speaker(linkConfig(speakerMore, mine));
  return { frr, speaker };
}
// biome-ignore lint/suspicious/noExplicitAny: FRR's own shape
const neighbor = (frr: Frr): any => JSON.parse(frr.vtysh('show bgp neighbors 10.9.0.1 json'))['10.9.0.1'];
const routes = (frr: Frr): string => frr.vtysh('show bgp ipv4 unicast', 'show bgp ipv6 unicast');
async function bothWays(frr: Frr, speaker: SpeakerProcess): Promise<void> {
  await speaker.established('bird');
  await until(() => speaker.routes.size === 2, { what: 'the routes of FRR' });
  await until(() => /10\.50\.1\.0\/24[\s\S]*fd50:1::\/64/.test(routes(frr)), { what: 'our routes at FRR' });
}

test('routes both ways, enhanced refresh, extended messages and names (RFC 7313, RFC 8654)', wants, async () => {
  await using link = new BgpLink();
  const names = { hostName: 'node1.example.org', softwareVersion: 'Poplin test' };
  const { frr, speaker } = await pair(link, {}, {}, names);
  await bothWays(frr, speaker);
  const { negotiated } = await speaker.peer('bird');
  assert.deepEqual([negotiated!.enhancedRouteRefresh, negotiated!.extendedMessages], [true, true]);
  assert.equal(negotiated!.peerHostName, os.hostname());
  const { neighborCapabilities, hostname, domainname } = neighbor(frr);
  assert.deepEqual([hostname, domainname], ['node1', 'example.org']);
  assert.equal(neighborCapabilities.enhancedRouteRefresh ?? neighborCapabilities.routeRefresh, 'advertisedAndReceived');

  const count = (what: 'routeRefreshSent' | 'routeRefreshRecv'): number => neighbor(frr).messageStats[what];
  const before = count('routeRefreshRecv');
  frr.vtysh('clear bgp ipv4 unicast 10.9.0.1 in');
  await until(() => count('routeRefreshRecv') >= before + 2, { what: 'BoRR and EoRR at FRR' });
  assert.match(routes(frr), /10\.50\.1\.0\/24/);
  const sent = count('routeRefreshSent');
  speaker.configure(linkConfig(names, { importFilter: { ipv4: [{ action: 'reject' }], ipv6: [] } }));
  await until(() => speaker.routes.size === 1, { what: 'the rejected route to go' });
  speaker.configure(linkConfig(names));
  await until(() => speaker.routes.size === 2, { what: 'it to come back' });
  await until(() => count('routeRefreshSent') >= sent + 4, { what: 'BoRR and EoRR of FRR' });
  assert.equal((await speaker.peer('bird')).establishedCount, 1);
});

test('a route of more than 4096 octets from FRR (RFC 8654)', wants, async () => {
  await using link = new BgpLink();
  // A line of FRR's configuration has its limit, too.
  const part = (n: number): string => {
    const list = Array.from({ length: 150 }, (_, i) => `64513:${150 * n + i + 1}`).join(' ');
    return `route-map big permit ${n + 1}\n set community ${list} additive\n on-match next\nexit\n`;
  };
  const more = Array.from({ length: 10 }, (_, n) => part(n)).join('');
  const { speaker } = await pair(link, { family4: 'neighbor 10.9.0.1 route-map big out', more });
  await until(() => speaker.routes.size === 2, { what: 'both routes' });
  const answer = JSON.stringify(await speaker.query({ prefix: '10.60.1.0/24' }));
  assert.match(answer, /64513:1500/);
});

test('roles with FRR: strict on both sides, and a mismatch (RFC 9234 4.2)', wants, async () => {
  await using link = new BgpLink();
  const { frr, speaker } = await pair(
    link,
    { neighbor: 'neighbor 10.9.0.1 local-role provider strict-mode' },
    { role: 'customer', strictRole: true },
  );
  await bothWays(frr, speaker);
  assert.equal((await speaker.peer('bird')).negotiated!.peerRole, 'provider');
  await until(
    async () => JSON.stringify(await speaker.query({ prefix: '10.60.1.0/24' })).includes('"onlyToCustomer":64513'),
    {
      what: 'OTC of our provider',
    },
  );
  speaker.configure(linkConfig({}, { role: 'peer' }));
  await until(async () => /Role Mismatch/i.test((await speaker.peer('bird')).lastError), { what: '2/11' });
  speaker.configure(linkConfig());
  await until(async () => /Role Mismatch/i.test((await speaker.peer('bird')).lastError), {
    what: '2/11 of strict mode at FRR',
  });
});

test('the limit of FRR ends our session with Cease/1, ours that of FRR (RFC 4486 4)', wants, async () => {
  await using link = new BgpLink();
  const { frr, speaker } = await pair(link, {}, { maxPrefixes: { 'ipv4-unicast': { limit: 2, restartSec: 1 } } });
  await bothWays(frr, speaker);
  frr.vtysh(
    'configure terminal',
    'router bgp 64513',
    'address-family ipv4 unicast',
    'network 10.61.0.0/16',
    'network 10.62.0.0/16',
  );
  await until(() => /Maximum Number of Prefixes Reached/i.test(neighbor(frr).lastNotificationReason ?? ''), {
    what: 'Cease/1 at FRR',
  });
  speaker.configure(linkConfig());
  await until(() => speaker.routes.size === 4, { what: 'all routes without a limit' });
  frr.vtysh(
    'configure terminal',
    'router bgp 64513',
    'address-family ipv4 unicast',
    'neighbor 10.9.0.1 maximum-prefix 1',
  );
  speaker.configure(linkConfig({ originate: [1, 2, 3, 4].map((n) => `10.50.${n}.0/24`) }));
  // FRR looks at its limit before it takes the next prefix. Not the state of the moment: it closes what we dial afterwards.
  const told = /Maximum Number of Prefixes Reached: ipv4-unicast, limit 1/;
  await until(() => speaker.peerEvents.some(({ lastError }) => told.test(lastError)), { what: 'Cease/1 of FRR' });
});

test('texts both ways when a session is shut down (RFC 9003 2)', wants, async () => {
  await using link = new BgpLink();
  const { frr, speaker } = await pair(link);
  await speaker.established('bird');
  frr.vtysh('configure terminal', 'router bgp 64513', 'neighbor 10.9.0.1 shutdown message the fan is changed');
  await until(
    async () => /Administrative Shutdown: "the fan is changed"/.test((await speaker.peer('bird')).lastError),
    {
      what: 'the text of FRR',
    },
  );
  frr.vtysh('configure terminal', 'router bgp 64513', 'no neighbor 10.9.0.1 shutdown');
  await speaker.established('bird');
  await speaker.stop('drain');
  await until(() => /Administrative Shutdown/i.test(neighbor(frr).lastNotificationReason ?? ''), {
    what: 'Cease/2 at FRR',
  });
});
