/** What is lost while a path or a peer is away. Every part makes a world of its own. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { toolPath } from '#setup';
import { BgpLink, type Bird, birdConfig, linkConfig, linkPeer } from '../../support/bgp.ts';
import { tool } from '../../support/tools.ts';
import { until } from '../../support/wait.ts';
import { bundledProgram } from '../kubernetes/agent.ts';
import type { Run } from './parts.ts';

/** BIRD plays the peers. */
export const lostPathsCanRun = (): boolean => toolPath('bird') !== undefined;

/**
 * Our restart while two of three peers are dead, one without a host, of the other not even a refusal comes back: milliseconds from End-of-RIB of
 * the live one, a BIRD, to the end of selection deferral (RFC 4724 4.1).
 */
export async function* deadPeers(): Run {
  await using link = new BgpLink();
  await link.bird(birdConfig({ bgp: 'graceful restart on;' }));
  link.run(link.b, 'ip', 'addr', 'add', '10.9.0.4/24', 'dev', 'e0');
  link.run(
    link.b,
    'nft',
    'table inet dead { chain in { type filter hook input priority 0; ip daddr 10.9.0.4 drop; }; }',
  );
  const dead = ['10.9.0.3', '10.9.0.4'].map((address) => linkPeer({ name: address, address, asn: 64_999 }));
  const config = linkConfig({ peers: [linkPeer(), ...dead] });
  const forwardingPreserved = ['ipv4-unicast', 'ipv6-unicast'] as const;
  const speaker = await link.speaker({
    ...config,
    gracefulRestart: { ...config.gracefulRestart, restarting: true, forwardingPreserved },
  });
  let endedMs: number | undefined;
  speaker.onRoute = ({ type }) => {
    if (type === 'deferralEnded') endedMs = performance.now();
  };
  await until(async () => (await speaker.peer('bird')).families.every((family) => family.endOfRibReceived), {
    what: 'End-of-RIB of BIRD',
    intervalMs: 2,
  });
  const heardMs = performance.now();
  await until(() => endedMs, { what: 'the end of selection deferral', deadlineMs: 60_000 });
  yield { deferralMs: Math.max(0, endedMs! - heardMs), routes: speaker.routes.size };
}

/** Routers, the network of the node's link with each, and the AS numbers by which one way is the longer one. */
const routers = [
  { net: '10.9.0', asn: 64_513, hops: 0 },
  { net: '10.8.0', asn: 64_514, hops: 2 },
] as const;
const destination = '10.60.1.2';
const port = 20_000;
/** One after the other by the first path: nothing moves any more. */
const steadyPackets = 500;
export type LossySpeaker = 'poplin' | 'bird';

const bfdText = 'protocol bfd { interface "*" { interval 50 ms; multiplier 3; }; }';
const routerText = ({ net, asn, hops }: (typeof routers)[number]): string => `router id ${net}.2;
protocol device {}
${bfdText}
protocol static s4 { ipv4; route 10.60.1.0/24 blackhole; }
filter longer { ${'bgp_path.prepend(65000); '.repeat(hops)}accept; }
protocol bgp p { local ${net}.2 as ${asn}; neighbor ${net}.1 as 64512; bfd on; connect delay time 1; connect retry time 1; ipv4 { import none; export filter longer; }; }
`;

/** It installs what it learns. */
async function startSpeaker(name: LossySpeaker, link: BgpLink): Promise<void> {
  const file = path.join(link.folder, `${name}.conf`);
  if (name === 'bird') {
    const peers = routers.map(
      ({ net, asn }) =>
        `protocol bgp p${asn} { local ${net}.1 as 64512; neighbor ${net}.2 as ${asn}; bfd on; connect delay time 1; connect retry time 1; ipv4 { import all; export none; }; }\n`,
    );
    const kernel = 'protocol kernel { ipv4 { import none; export all; }; }';
    fs.writeFileSync(file, `router id 10.9.0.1;\nprotocol device {}\n${bfdText}\n${kernel}\n${peers.join('')}`);
    link.spawn(link.a, tool('bird'), ['-f', '-c', file, '-s', path.join(link.folder, 'speaker.ctl')]);
    return;
  }
  const peers = routers.map(
    ({ net, asn }) =>
      `- { address: ${net}.2, asn: ${asn}, import: accept, bfd: { minTx: 50ms, minRx: 50ms, multiplier: 3 } }\n`,
  );
  fs.writeFileSync(file, `asn: 64512\nrouterId: 10.9.0.1\nkernel: true\npeers:\n${peers.join('')}`);
  const [command, ...args] = await bundledProgram();
  const [socket, state] = [path.join(link.folder, 'speaker.sock'), path.join(link.folder, 'state')];
  link.spawn(link.a, command!, [...args, 'speaker', '--config', file, '--socket', socket, '--state-dir', state]);
}

/**
 * A node with two routers to one destination, BFD of 50 ms x 3 with both, routes in its kernel, and a packet a millisecond. The path that it
 * takes is lost: every packet is (`cut`), or the link goes down (`linkDown`). Milliseconds between what the one router had last and the other
 * first, by the sender's clock: what was sent into the dead path in between is lost.
 */
export async function* bfdCut(name: LossySpeaker): Run {
  for (const how of ['cut', 'linkDown'] as const) {
    await using world = await TwoPaths.start(name);
    yield { [`${how}Ms`]: await world.lose(how) };
  }
}

class TwoPaths {
  readonly #link: BgpLink;
  readonly #second: string;
  /** What arrived at each router, in order: when it was sent, milliseconds. */
  readonly #arrived: readonly [number[], number[]] = [[], []];

  private constructor(link: BgpLink, second: string) {
    this.#link = link;
    this.#second = second;
  }
  static async start(name: LossySpeaker): Promise<TwoPaths> {
    const link = new BgpLink();
    const second = `${link.b}2`;
    const world = new TwoPaths(link, second);
    try {
      await world.#start(name);
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
    return world;
  }

  async #start(name: LossySpeaker): Promise<void> {
    const link = this.#link;
    const ip = (...args: string[]): void => void execFileSync('ip', args);
    ip('netns', 'add', this.#second);
    ip('-n', link.a, 'link', 'add', 'e1', 'index', '9', 'type', 'veth', 'peer', 'name', 'e0', 'netns', this.#second);
    for (const [namespace, device, host] of [
      [link.a, 'e1', 1],
      [this.#second, 'e0', 2],
    ] as const) {
      ip('-n', namespace, 'addr', 'add', `10.8.0.${host}/24`, 'dev', device);
      ip('-n', namespace, 'link', 'set', device, 'up');
    }
    ip('-n', this.#second, 'link', 'set', 'lo', 'up');
    const file = path.join(import.meta.dirname, 'stamps.ts');
    const birds: Bird[] = [];
    for (const [index, namespace] of [link.b, this.#second].entries()) {
      ip('-n', namespace, 'addr', 'add', `${destination}/32`, 'dev', 'lo');
      birds.push(await link.bird(routerText(routers[index]!), namespace));
      const receiver = link.spawn(namespace, process.execPath, [file, 'receive', destination, String(port)]);
      receiver.stdout!.setEncoding('utf8').on('data', (text: string) => {
        for (const line of text.split('\n')) if (line !== '') this.#arrived[index]!.push(Number(line));
      });
    }
    await startSpeaker(name, link);
    for (const bird of birds)
      await until(() => /\bUp\b.*\b0\.150\b/.test(bird.birdc('show bfd sessions')), {
        what: () => `BFD at 50 ms; BIRD has ${bird.birdc('show bfd sessions')}`,
        deadlineMs: 60_000,
      });
    link.spawn(link.a, process.execPath, [file, 'send', destination, String(port)]);
    await until(
      () => {
        const [first, second] = this.#arrived;
        // By the longer path before the other was there.
        if (second.length > 0) for (const list of this.#arrived) list.length = 0;
        return first.length > steadyPackets;
      },
      { what: 'packets at the first router', deadlineMs: 60_000 },
    );
  }

  async lose(how: 'cut' | 'linkDown'): Promise<number> {
    const { b } = this.#link;
    if (how === 'cut') {
      const chain = (hook: string): string => `chain ${hook} { type filter hook ${hook} priority 0; policy drop; };`;
      this.#link.run(b, 'nft', `table inet cut { ${chain('input')} ${chain('output')} }`);
    } else execFileSync('ip', ['-n', b, 'link', 'set', 'e0', 'down']);
    const [first, second] = this.#arrived;
    await until(() => second.length > 0, { what: 'packets at the second router', deadlineMs: 60_000 });
    return second[0]! - first.at(-1)!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#link[Symbol.asyncDispose]();
    execFileSync('ip', ['netns', 'del', this.#second]);
  }
}
