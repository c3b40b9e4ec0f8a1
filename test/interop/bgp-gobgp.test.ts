/** Our speaker against GoBGP: routes, refresh, a shutdown. Its part in graceful restart is in bgp-helper.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BgpLink, linkConfig } from '../support/bgp.ts';
import { needsGobgp, startGobgp } from '../support/bgp-gobgp.ts';
import { gobgpConfig } from '../support/bgp-peers.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needsGobgp(needs({ root: true, commands: ['ip'] }));

test('routes both ways, our refresh (RFC 2918), a shutdown (RFC 4486 4)', wants, async () => {
  await using link = new BgpLink();
  const gobgp = await startGobgp(link, gobgpConfig());
  const speaker = await link.speaker(linkConfig());
  await speaker.established('bird');
  gobgp.cli('global rib add 10.60.1.0/24 nexthop 10.9.0.2');
  gobgp.cli('global rib -a ipv6 add fd60:1::/64 nexthop fd09::2');
  await until(() => speaker.routes.size === 2, { what: 'the routes of GoBGP' });
  const theirs = (): string => gobgp.cli('global rib') + gobgp.cli('global rib -a ipv6');
  await until(() => /10\.50\.1\.0\/24[\s\S]*fd50:1::\/64/.test(theirs()), { what: 'our routes at GoBGP' });

  speaker.configure(linkConfig({}, { importFilter: { ipv4: [{ action: 'reject' }], ipv6: [] } }));
  await until(() => speaker.routes.size === 1, { what: 'the rejected route to go' });
  speaker.configure(linkConfig());
  await until(() => speaker.routes.size === 2, { what: 'it to come back' });
  assert.equal((await speaker.peer('bird')).establishedCount, 1);

  gobgp.cli('neighbor 10.9.0.1 disable');
  const told = /Administrative Shutdown/;
  await until(() => speaker.peerEvents.some(({ lastError }) => told.test(lastError)), { what: 'Cease/2 of GoBGP' });
});
