/**
 * Graceful restart of our speaker with BIRD, FRR and GoBGP as helpers (RFC 4724): its process is killed and started again, twice, and at no
 * time does the peer lose a route.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BgpLink, birdConfig, linkConfig, type SpeakerProcess } from '../support/bgp.ts';
import { startFrr } from '../support/bgp-frr.ts';
import { needsGobgp, startGobgp } from '../support/bgp-gobgp.ts';
import { frrConfig, gobgpConfig } from '../support/bgp-peers.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc'] });
const wantsFrr = needs({ root: true, commands: ['ip', 'nsenter'], provided: ['zebra', 'bgpd', 'vtysh'] });

const ours = ['10.50.1.0/24', 'fd50:1::/64'];

interface Helper {
  /** Those of our routes that it has. */
  routes(): readonly string[];
  established(): boolean;
}

async function bird(link: BgpLink): Promise<Helper> {
  const daemon = await link.bird(birdConfig({ bgp: 'graceful restart on; graceful restart time 30;' }));
  return {
    routes: () => ours.filter((prefix) => daemon.birdc('show route protocol peer').includes(prefix)),
    established: () => daemon.established('peer'),
  };
}
async function frr(link: BgpLink): Promise<Helper> {
  const daemon = await startFrr(link, frrConfig());
  const has = (prefix: string): boolean => {
    const family = prefix.includes(':') ? 'ipv6' : 'ipv4';
    return daemon.vtysh(`show bgp ${family} unicast ${prefix} json`).includes('"paths"');
  };
  return {
    routes: () => ours.filter(has),
    established: () =>
      JSON.parse(daemon.vtysh('show bgp neighbor 10.9.0.1 json'))['10.9.0.1'].bgpState === 'Established',
  };
}
async function gobgp(link: BgpLink): Promise<Helper> {
  const daemon = await startGobgp(link, gobgpConfig());
  daemon.cli('global rib add 10.60.1.0/24 nexthop 10.9.0.2');
  daemon.cli('global rib add -a ipv6 fd60:1::/64 nexthop fd09::2');
  return {
    routes: () => {
      const tables = daemon.cli('global rib -a ipv4') + daemon.cli('global rib -a ipv6');
      return ours.filter((prefix) => tables.includes(prefix));
    },
    established: () => /BGP state = \w*ESTABLISHED/.test(daemon.cli('neighbor 10.9.0.1')),
  };
}

/** Asks again and again for what must always be so; `misses` says how often it was not. Ends with `stop`. */
class Watch {
  misses = 0;
  #going = true;
  readonly #done: Promise<void>;

  constructor(holds: () => boolean) {
    this.#done = this.#run(holds);
  }
  async #run(holds: () => boolean): Promise<void> {
    while (this.#going) {
      if (!holds()) this.misses++;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.#going = false;
    await this.#done;
  }
}

for (const [name, options, start] of [
  ['BIRD', wants, bird],
  ['FRR', wantsFrr, frr],
  ['GoBGP', needsGobgp(needs({ root: true, commands: ['ip'] })), gobgp],
] as const) {
  test(
    `RFC 4724 4.1: ${name} helps: killed and started again twice, no route is ever withdrawn there`,
    options,
    async () => {
      await using link = new BgpLink();
      const helper = await start(link);
      const config = linkConfig();
      const again = {
        ...config,
        gracefulRestart: {
          ...config.gracefulRestart,
          restarting: true,
          forwardingPreserved: ['ipv4-unicast', 'ipv6-unicast'] as const,
        },
      };
      let speaker: SpeakerProcess = await link.speaker(config);
      await speaker.established('bird');
      await until(() => helper.routes().length === 2, { what: `our routes at ${name}` });
      await using watcher = new Watch(() => helper.routes().length === 2);
      for (let round = 0; round < 2; round++) {
        await speaker.kill();
        await until(() => !helper.established(), { what: `${name} to notice` });
        speaker = await link.speaker(again);
        await speaker.established('bird');
        await until(() => speaker.deferralEnded, { what: 'the end of deferral', deadlineMs: 10_000 });
        await until(() => helper.established(), { what: `the session at ${name}` });
      }
      assert.equal((await speaker.peer('bird')).negotiated?.gracefulRestart !== undefined, true);
      await until(() => speaker.routes.size === 2, { what: `the routes of ${name}` });
      assert.equal(watcher.misses, 0);
    },
  );
}
