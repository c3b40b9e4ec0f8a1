/**
 * Our speaker, with its routes in the kernel, is killed (SIGKILL) and started again while flows pass its node; the router at the other end is a
 * helper of its graceful restart (RFC 4724), whose kernel forwards by what it keeps.
 */
import type { ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { kubeAsset, toolPath } from '#setup';
import type { BgpLink } from '../../support/bgp.ts';
import { startFrr } from '../../support/bgp-frr.ts';
import { startGobgp } from '../../support/bgp-gobgp.ts';
import { frrConfig, gobgpConfig } from '../../support/bgp-peers.ts';
import { until } from '../../support/wait.ts';
import { bundledProgram } from '../kubernetes/agent.ts';
import { FlowWorld, outsidePrefixes, podPrefixes } from './flows.ts';
import type { Run } from './parts.ts';

export type HelperName = 'bird' | 'frr' | 'gobgp';

interface Helper {
  established(): boolean;
  /** It has had End-of-RIB of every family in the session in force. */
  endOfRib(): boolean;
  /** Times that it withdrew one of our prefixes; absent: its kernel shows in packets what it withdrew. */
  readonly withdrawn?: () => number;
}

interface HelperStarter {
  readonly installed: () => boolean;
  readonly start: (link: BgpLink) => Promise<Helper>;
}

const birdText = `router id 10.9.0.2;
log stderr all;
protocol device {}
protocol kernel k4 { ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel k6 { ipv6 { import none; export where source = RTS_BGP; }; }
protocol direct { ipv4; ipv6; interface "e1"; }
protocol bgp p { local 10.9.0.2 as 64513; neighbor 10.9.0.1 as 64512; graceful restart on; connect delay time 1; connect retry time 1;
  ipv4 { import all; export where source = RTS_DEVICE; };
  ipv6 { import all; export where source = RTS_DEVICE; next hop address fd09::2; };
}
`;

export const helpers: Readonly<Record<HelperName, HelperStarter>> = {
  bird: {
    installed: () => toolPath('bird') !== undefined,
    async start(link) {
      const bird = await link.bird(birdText);
      return {
        established: () => bird.established('p'),
        endOfRib: () => !/Neighbor graceful restart active/.test(bird.birdc('show protocols all p')),
      };
    },
  },
  frr: {
    installed: () => (['zebra', 'bgpd', 'vtysh'] as const).every((name) => toolPath(name) !== undefined),
    async start(link) {
      const frr = await startFrr(link, frrConfig());
      const neighbor = () => JSON.parse(frr.vtysh('show bgp neighbor 10.9.0.1 json'))['10.9.0.1'];
      return {
        established: () => neighbor().bgpState === 'Established',
        endOfRib: () => {
          const { ipv4Unicast, ipv6Unicast } = neighbor().gracefulRestartInfo?.endOfRibRecv ?? {};
          return ipv4Unicast === true && ipv6Unicast === true;
        },
      };
    },
  },
  gobgp: {
    installed: () => kubeAsset('gobgpd') !== undefined && kubeAsset('gobgp') !== undefined,
    start: gobgpHelper,
  },
};

/** It installs nothing: static routes carry the packets, and what it would have withdrawn is read off its RIB. */
async function gobgpHelper(link: BgpLink): Promise<Helper> {
  const daemon = await startGobgp(link, gobgpConfig());
  const nextHops = ['10.9.0.2', 'fd09::2'];
  for (const [index, prefix] of outsidePrefixes.entries()) {
    const family = index === 0 ? 'ipv4' : 'ipv6';
    daemon.cli(`global rib add -a ${family} ${prefix} nexthop ${nextHops[index]}`);
  }
  link.run(link.b, 'ip', 'route', 'add', podPrefixes[0], 'via', '10.9.0.1');
  link.run(link.b, 'ip', '-6', 'route', 'add', podPrefixes[1], 'via', 'fd09::1');
  let withdrawn = 0;
  for (const family of ['ipv4', 'ipv6']) {
    const monitor = link.spawn(link.b, kubeAsset('gobgp')!, ['monitor', 'global', 'rib', '-a', family]);
    monitor.stdout!.on('data', (chunk) => (withdrawn += String(chunk).split('[DELROUTE]').length - 1));
  }
  const neighbor = () => JSON.parse(daemon.cli('neighbor 10.9.0.1 -j'));
  return {
    established: () => neighbor().state.session_state === 6,
    endOfRib: () => {
      const families: { mp_graceful_restart?: { state?: { end_of_rib_received?: boolean } } }[] = neighbor().afi_safis;
      return families.every((family) => family.mp_graceful_restart?.state?.end_of_rib_received === true);
    },
    withdrawn: () => withdrawn,
  };
}

const speakerText = `asn: 64512
routerId: 10.9.0.1
kernel: true
originate: ["${podPrefixes[0]}", "${podPrefixes[1]}"]
peers:
- { address: 10.9.0.2, asn: 64513, families: [ipv4, ipv6], nextHop6: "fd09::1", import: accept, export: accept }
`;

/** How long flows go on after the last event. */
const watchMs = 2_000;
const backMs = 60_000;

class Speaker {
  readonly #world: FlowWorld;
  readonly #helper: Helper;
  readonly #args: readonly string[];
  #child: ChildProcess;

  private constructor(world: FlowWorld, helper: Helper, args: readonly string[]) {
    this.#world = world;
    this.#helper = helper;
    this.#args = args;
    this.#child = this.#start();
  }
  static async start(world: FlowWorld, helper: Helper): Promise<Speaker> {
    const { folder } = world.link;
    const file = path.join(folder, 'speaker.yaml');
    fs.writeFileSync(file, speakerText);
    const [socket, state] = [path.join(folder, 'speaker.sock'), path.join(folder, 'state')];
    const args = [...(await bundledProgram()), 'speaker', '--config', file, '--socket', socket, '--state-dir', state];
    return new Speaker(world, helper, args);
  }
  #start(): ChildProcess {
    const [command, ...args] = this.#args;
    return this.#world.link.spawn(this.#world.link.a, command!, args);
  }
  async kill(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await gone;
    await until(() => !this.#helper.established(), { what: 'the helper to notice', deadlineMs: backMs });
    this.#child = this.#start();
  }
  /** The helper has a session with it. */
  async established(): Promise<void> {
    await until(() => this.#helper.established(), { what: 'a session', deadlineMs: backMs });
  }
  /** The helper has had all of its routes. */
  async back(): Promise<void> {
    await until(() => this.#helper.established() && this.#helper.endOfRib(), {
      what: 'End-of-RIB',
      deadlineMs: backMs,
    });
  }
  /** Both kernels have the routes. */
  async routesAreIn(): Promise<void> {
    const { link } = this.#world;
    const has = (namespace: string, prefixes: readonly string[]): boolean =>
      prefixes.every((prefix) =>
        link.run(namespace, 'ip', prefix.includes(':') ? '-6' : '-4', 'route', 'show', prefix),
      );
    await until(() => has(link.a, outsidePrefixes) && has(link.b, podPrefixes), { what: 'routes', deadlineMs: backMs });
  }
}

/**
 * Killed, and again as soon as the helper has had End-of-RIB: `lost` packets, and what a helper without a kernel withdrew. Then killed before
 * End-of-RIB, when RFC 4724 4.2 has the helper drop what has not come again: `earlyLost`.
 */
export async function* killNine(name: HelperName, flows: number): Run {
  await using world = new FlowWorld();
  const helper = await helpers[name].start(world.link);
  const speaker = await Speaker.start(world, helper);
  await speaker.routesAreIn();
  await speaker.back();
  await world.start(flows);
  const started = performance.now();
  await speaker.kill();
  await speaker.back();
  const seconds = (performance.now() - started) / 1000;
  await speaker.kill();
  await speaker.back();
  await new Promise((resolve) => setTimeout(resolve, watchMs));
  const { lost, sent, flows: seen } = await world.stop();
  yield {
    lost,
    ...(helper.withdrawn ? { withdrawn: helper.withdrawn() } : {}),
    sent,
    flows: seen,
    backSeconds: seconds,
  };
  await speaker.routesAreIn();
  await world.start(flows);
  await speaker.kill();
  await speaker.established();
  await speaker.kill();
  await speaker.back();
  await new Promise((resolve) => setTimeout(resolve, watchMs));
  yield { earlyLost: (await world.stop()).lost };
}
