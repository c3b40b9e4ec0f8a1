/** BIRD, FRR and GoBGP are killed and come back while we help (RFC 4724 4.2), and stay away for longer (RFC 9494). */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import type { RouteAnswer } from '#bgp';
import { BgpLink, birdConfig, linkConfig, type SpeakerProcess } from '../support/bgp.ts';
import { startFrr } from '../support/bgp-frr.ts';
import { needsGobgp, startGobgp } from '../support/bgp-gobgp.ts';
import { frrConfig, gobgpConfig } from '../support/bgp-peers.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc'] });
const wantsFrr = needs({ root: true, commands: ['ip', 'nsenter'], provided: ['zebra', 'bgpd', 'vtysh'] });
const wantsGobgp = needsGobgp(needs({ root: true, commands: ['ip'] }));

const kept = ['10.60.1.0/24', 'fd60:1::/64'];
/** It has no more of it after its restart. */
const lost = '10.61.0.0/16';

interface Restarter {
  kill(): Promise<void>;
  /** Without `lost`. */
  restart(): Promise<void>;
}

async function bird(link: BgpLink, longLived = false): Promise<Restarter> {
  const bgp = longLived
    ? 'graceful restart on; graceful restart time 1; long lived graceful restart on; long lived stale time 60;'
    : 'graceful restart on; graceful restart time 30;';
  const daemon = await link.bird(birdConfig({ bgp, routes4: `route ${lost} blackhole;` }));
  return { kill: () => daemon.kill(), restart: () => daemon.restart(birdConfig({ bgp })) };
}
async function frr(link: BgpLink, longLived = false): Promise<Restarter> {
  const times = longLived ? { restartSec: 1, bgp: ' bgp long-lived-graceful-restart stale-time 60' } : {};
  const daemon = await startFrr(link, frrConfig({ ...times, networks4: [lost] }));
  return {
    kill: () => daemon.kill(),
    async restart() {
      // A bgpd that does not know zebra yet answers our IPv6 routes with a NOTIFICATION, which ends what was stale.
      away(link, 'add');
      await startFrr(link, frrConfig(times));
      away(link, 'del');
    },
  };
}
/** Keeps a daemon that starts from answering us before it is ready. */
function away(link: BgpLink, what: 'add' | 'del'): void {
  execFileSync('ip', ['-n', link.b, 'route', what, 'blackhole', '10.9.0.1/32']);
}
async function gobgp(link: BgpLink, longLived = false): Promise<Restarter> {
  const config = longLived
    ? gobgpConfig({
        restartSec: 1,
        restart: 'long-lived-enabled = true',
        family: '[neighbors.afi-safis.long-lived-graceful-restart.config]\nenabled = true\nrestart-time = 60',
      })
    : gobgpConfig();
  // It has its routes from its command line: the session must wait until they are there.
  const start = async (extra: string[], routes: string[]): ReturnType<typeof startGobgp> => {
    away(link, 'add');
    const daemon = await startGobgp(link, config, link.b, extra);
    for (const prefix of routes) {
      const six = prefix.includes(':');
      daemon.cli(`global rib add ${six ? '-a ipv6 ' : ''}${prefix} nexthop ${six ? 'fd09::2' : '10.9.0.2'}`);
    }
    away(link, 'del');
    return daemon;
  };
  const daemon = await start([], [...kept, lost]);
  return { kill: () => daemon.kill(), restart: async () => void (await start(['-r'], kept)) };
}

const stale = async (speaker: SpeakerProcess, phase: 'restart' | 'longLived' | undefined): Promise<boolean> =>
  (await speaker.peer('bird')).families.every(({ stalePhase }) => stalePhase === phase);
async function restarted(speaker: SpeakerProcess, before: number): Promise<void> {
  await until(
    async () => {
      const { establishedCount, families } = await speaker.peer('bird');
      return establishedCount > before && families.every((family) => family.endOfRibReceived && family.stale === 0);
    },
    { what: 'the session back and End-of-RIB', deadlineMs: 60_000 },
  );
}
const withdrawn = (speaker: SpeakerProcess): string[] =>
  speaker.changes.flatMap((change) => (change.type === 'withdraw' ? [change.prefix] : []));

for (const [name, options, start] of [
  ['BIRD', wants, bird],
  ['FRR', wantsFrr, frr],
  ['GoBGP', wantsGobgp, gobgp],
] as const) {
  test(
    `RFC 4724 4.2: ${name} restarts: its routes stay, stale; End-of-RIB sweeps what it has no more of, and nothing else goes`,
    options,
    async () => {
      await using link = new BgpLink();
      const daemon = await start(link);
      const speaker = await link.speaker(linkConfig());
      await until(() => speaker.routes.size === 3, { what: 'its routes', deadlineMs: 20_000 });
      const { establishedCount } = await speaker.established('bird');
      await daemon.kill();
      await until(() => stale(speaker, 'restart'), { what: 'its routes to be stale' });
      assert.equal(speaker.routes.size, 3);
      await daemon.restart();
      await restarted(speaker, establishedCount);
      await until(() => speaker.routes.size === 2, { what: `${lost} to be swept` });
      assert.deepEqual(withdrawn(speaker), [lost]);
      assert.deepEqual([...speaker.routes.keys()].sort(), kept);
    },
  );
}

for (const [name, options, start] of [
  ['BIRD', wants, bird],
  ['FRR', wantsFrr, frr],
  ['GoBGP', wantsGobgp, gobgp],
] as const) {
  test(
    `RFC 9494 4.2: ${name} stays away for longer than its restart time: its routes stay, with LLGR_STALE, until it is back`,
    options,
    async () => {
      await using link = new BgpLink();
      const daemon = await start(link, true);
      const speaker = await link.speaker(linkConfig({}, { longLivedStaleTimeSec: 60 }));
      await until(() => speaker.routes.size === 3, { what: 'its routes', deadlineMs: 20_000 });
      const { establishedCount, negotiated } = await speaker.established('bird');
      assert.deepEqual(
        negotiated?.longLived?.map(({ family, staleTimeSec }) => [family, staleTimeSec]),
        [
          ['ipv4-unicast', 60],
          ['ipv6-unicast', 60],
        ],
      );
      const communities = async (): Promise<readonly string[]> => {
        const answer = (await speaker.query({ prefix: kept[0]! })) as RouteAnswer;
        return answer.routes[0]!.paths[0]!.attributes.communities ?? [];
      };
      await daemon.kill();
      await until(() => stale(speaker, 'longLived'), { what: 'its routes to be those of last resort' });
      assert.deepEqual(await communities(), ['llgr-stale']);
      assert.equal(speaker.routes.size, 3);
      await daemon.restart();
      await restarted(speaker, establishedCount);
      await until(() => speaker.routes.size === 2, { what: `${lost} to be swept` });
      assert.deepEqual(withdrawn(speaker), [lost]);
      assert.deepEqual(await communities(), []);
    },
  );
}
