/**
 * BIRD, FRR and GoBGP dial us while we dial them, graceful restart on both sides: one session, counted at both ends. The daemon is
 * halted while our connection reaches its kernel, so that when it goes on it finds that one and its own timer due.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BgpLink, birdConfig, linkConfig } from '../support/bgp.ts';
import { startFrr } from '../support/bgp-frr.ts';
import { needsGobgp, startGobgp } from '../support/bgp-gobgp.ts';
import { frrConfig, gobgpConfig } from '../support/bgp-peers.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

/** Of each order of router ids. */
const rounds = Number(process.env['BOTH_DIAL_ROUNDS'] ?? 3);

interface Dialler {
  /** SIGSTOP, SIGCONT. */
  pause(paused: boolean): void;
  established(): boolean;
  /** Grows with each session that comes up, or went down, as the daemon counts it. */
  count(): number;
  /** What it said, for the error. */
  output?(): string;
}

async function bird(link: BgpLink): Promise<Dialler> {
  const bgp = 'graceful restart on; graceful restart time 30; debug { events };';
  const daemon = await link.bird(birdConfig({ bgp }));
  return {
    pause: (paused) => void daemon.process.kill(paused ? 'SIGSTOP' : 'SIGCONT'),
    established: () => daemon.established('peer'),
    // Not those that it closed: the line about the end of the round before may come late.
    count: () => daemon.output.split('BGP session established').length,
    output: () => daemon.output.slice(-3000),
  };
}
async function frr(link: BgpLink): Promise<Dialler> {
  const daemon = await startFrr(link, frrConfig());
  const state = () => JSON.parse(daemon.vtysh('show bgp neighbor 10.9.0.1 json'))['10.9.0.1'];
  return {
    pause: daemon.pause,
    established: () => state().bgpState === 'Established',
    count: () => state().connectionsEstablished + state().connectionsDropped,
  };
}
async function gobgp(link: BgpLink): Promise<Dialler> {
  const daemon = await startGobgp(link, gobgpConfig());
  return {
    pause: daemon.pause,
    established: () => /BGP state = \w*ESTABLISHED/.test(daemon.cli('neighbor 10.9.0.1')),
    count: () => {
      const { state } = JSON.parse(daemon.cli('neighbor 10.9.0.1 -j'));
      return state.flops ?? 0;
    },
  };
}

for (const [name, options, start, upCounts] of [
  ['BIRD', needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc'] }), bird, 1],
  ['FRR', needs({ root: true, commands: ['ip', 'nsenter'], provided: ['zebra', 'bgpd', 'vtysh'] }), frr, 1],
  ['GoBGP', needsGobgp(needs({ root: true, commands: ['ip'] })), gobgp, 0],
] as const) {
  for (const [which, routerId] of [
    ['it has the higher router id', '10.9.0.1'],
    ['we have the higher router id', '10.9.0.9'],
  ] as const) {
    test(
      `RFC 4271 6.8, RFC 4724 5: ${name} and we dial at once ${rounds} times, ${which}: one session each time`,
      options,
      async () => {
        await using link = new BgpLink();
        const daemon = await start(link);
        for (let round = 0; round < rounds; round++) {
          const before = daemon.count();
          daemon.pause(true);
          const speaker = await link.speaker(linkConfig({ routerId }));
          await until(async () => (await speaker.peer('bird')).state === 'OpenSent', { what: 'our connection' });
          daemon.pause(false);
          // GoBGP refuses everybody for 5 s after a session.
          await speaker.established('bird');
          await until(async () => (await speaker.peer('bird')).families.every((family) => family.endOfRibReceived), {
            what: 'End-of-RIB',
          });
          await until(() => daemon.established() && daemon.count() >= before + upCounts, {
            what: `the session at ${name}`,
          });
          const { establishedCount } = await speaker.peer('bird');
          assert.deepEqual(
            [establishedCount, daemon.count() - before],
            [1, upCounts],
            `round ${round}: ${JSON.stringify(speaker.logs)} ${daemon.output?.()}`,
          );
          await speaker.kill();
          await until(() => !daemon.established(), { what: `${name} to notice` });
        }
      },
    );
  }
}
