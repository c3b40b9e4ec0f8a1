/**
 * What is measured, each part on one speaker under test; every part makes a world of its own, and yields figures as it has them, so that those
 * are kept that come before a limit is passed.
 */
import http from 'node:http';
import path from 'node:path';
import { BfdProcess, bfdSessionTo } from '../../support/bfd.ts';
import type { LoopTurns } from '../../support/loop-turns.ts';
import { until } from '../../support/wait.ts';
import { bfdIntervalMs, type DutName, type DutPeer, dutAddress } from './dut-starters.ts';
import { type Cost, World } from './world.ts';

/** Figures of one run; wall time first, where there is one. Names end with their unit. */
export type Figures = Readonly<Record<string, number>>;
export type Run = AsyncGenerator<Figures, void>;

/** `seconds` of `lost` is `lostSeconds`. */
export function figures(of: Cost | Figures, what = ''): Figures {
  const named = (name: string): string => (what === '' ? name : what + name[0]!.toUpperCase() + name.slice(1));
  return Object.fromEntries(Object.entries(of).map(([name, value]) => [named(name), value]));
}

const octets4 = (address: string): number[] => address.split('.').map(Number);

/** IPv4 peers at 10.9.A.B, IPv6 ones at fd09::10:N. */
function peerAt(index: number, family: 4 | 6, direction: DutPeer['direction']): DutPeer {
  const address = family === 4 ? `10.9.${1 + (index >> 8)}.${index & 255}` : `fd09::10:${(index + 1).toString(16)}`;
  return { id: `p${index}`, address, asn: 64_600 + (index % 400), family, direction };
}
export const nextHopOf = ({ address, family }: DutPeer): number[] => {
  if (family === 4) return octets4(address);
  const last = Number.parseInt(address.split(':').at(-1)!, 16);
  return [0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, last >> 8, last & 255];
};

export const sender = (family: 4 | 6 = 4): DutPeer => peerAt(1, family, 'in');
export const receiver = (family: 4 | 6 = 4): DutPeer => peerAt(2, family, 'out');

/** GoBGP takes 149 s for a million. */
const relayLimitSec = 180;

/** A sender, a receiver, a whole table through the speaker, and back out of it. */
export async function* relay(name: DutName, prefixes: number, family: 4 | 6): Run {
  const [from, to] = [sender(family), receiver(family)];
  await using world = await World.start(name, [from, to], { limitSec: relayLimitSec });
  await world.open([from, to]);
  const table = { family, prefixes, asn: from.asn, nextHop: nextHopOf(from) };
  await world.do({ op: 'prepare', id: from.id, table });
  const idle = world.dut.usage();
  const send = (what: 'announce' | 'withdraw', wanted: object): Promise<Cost> =>
    world.cost({ op: 'send', ids: [from.id], what, wanted: [{ id: to.id, ...wanted }] });
  const announced = await send('announce', { announced: prefixes });
  yield { ...figures(announced), idleMib: idle.rssMib, growthMib: announced.rssMib - idle.rssMib };
  yield figures(await send('withdraw', { withdrawn: prefixes }), 'withdraw');
}

/** What each further peer with the same prefixes costs: with the attribute sets of the first, and with sets of its own. */
export async function* furtherPeers(name: DutName, prefixes: number): Run {
  // One AS: with another first AS in their paths no two peers would ever send the same set.
  const peers = [0, 1, 2].map((index): DutPeer => ({ ...peerAt(10 + index, 4, 'in'), asn: 64_610 }));
  const to = receiver();
  await using world = await World.start(name, [...peers, to]);
  await world.open([...peers, to]);
  const rss: number[] = [];
  for (const [index, peer] of peers.entries()) {
    const table = {
      family: 4 as const,
      prefixes,
      asn: peer.asn,
      nextHop: nextHopOf(peers[0]!),
      flavour: index === 2 ? 1 : 0,
    };
    await world.do({ op: 'prepare', id: peer.id, table });
    const wanted = index === 0 ? [{ id: to.id, announced: prefixes }] : [];
    await world.do({ op: 'send', ids: [peer.id], what: 'announce', wanted });
    rss.push(await world.settledMib());
    if (index > 0) yield { [index === 1 ? 'knownSetsMib' : 'newSetsMib']: rss[index]! - rss[index - 1]! };
  }
}

/** Three peers announce the same table, each a hop farther; then the best one is lost. */
export async function* threePeers(name: DutName, prefixes: number): Run {
  const peers = [0, 1, 2].map((index) => peerAt(10 + index, 4, 'in'));
  const to = receiver();
  await using world = await World.start(name, [...peers, to]);
  await world.open([...peers, to]);
  for (const [index, peer] of peers.entries()) {
    const table = {
      family: 4 as const,
      prefixes,
      asn: peer.asn,
      nextHop: nextHopOf(peer),
      extraHops: index,
      flavour: 0,
    };
    await world.do({ op: 'prepare', id: peer.id, table });
  }
  const [best, second] = peers as [DutPeer, DutPeer, DutPeer];
  const ids = peers.map(({ id }) => id);
  const from = (asn: number) => [{ id: to.id, announced: prefixes, from: asn }];
  yield figures(await world.cost({ op: 'send', ids, what: 'announce', wanted: from(best.asn) }));
  await world.settledMib();
  yield figures(await world.cost({ op: 'cut', id: best.id, wanted: from(second.asn) }), 'lost');
}

/** One sender, the same table to many. */
export async function* fanOut(name: DutName, prefixes: number, receivers: number): Run {
  const from = sender();
  const to = Array.from({ length: receivers }, (_, index) => peerAt(10 + index, 4, 'out'));
  await using world = await World.start(name, [from, ...to]);
  await world.open([from, ...to]);
  await world.do({
    op: 'prepare',
    id: from.id,
    table: { family: 4, prefixes, asn: from.asn, nextHop: nextHopOf(from) },
  });
  const wanted = to.map(({ id }) => ({ id, announced: prefixes }));
  yield figures(await world.cost({ op: 'send', ids: [from.id], what: 'announce', wanted }));
}

/** A full mesh's node: everybody dials at once and announces a prefix; an observer has them all. */
export async function* manySessions(name: DutName, count: number): Run {
  // GoBGP does not tell a peer of paths that have its own AS.
  const observer = { ...peerAt(2, 4, 'out'), asn: 64_599 };
  const nodes = Array.from({ length: count }, (_, index) => peerAt(16 + index, 4, 'in'));
  await using world = await World.start(name, [observer, ...nodes]);
  await world.open([observer]);
  const idle = world.dut.usage();
  const started = performance.now();
  await world.open(nodes, { announceOwn: true });
  await world.do({ op: 'await', wanted: [{ id: observer.id, announced: count }] });
  const seconds = (performance.now() - started) / 1000;
  const loaded = world.dut.usage();
  yield { seconds, cpuSec: loaded.cpuSec - idle.cpuSec, growthMib: loaded.rssMib - idle.rssMib };
}

/** Two sessions and nothing to do, with BFD of 300 ms x 3 for both when `bfd` says so. */
export async function* idle(name: DutName, watchSec: number, bfd: boolean): Run {
  const peers = [sender(), receiver()].map((peer): DutPeer => ({ ...peer, bfd }));
  await using world = await World.start(name, peers);
  await world.open(peers);
  if (bfd) await startBfd(world, peers);
  await world.settledMib();
  const before = world.dut.usage();
  await new Promise((resolve) => setTimeout(resolve, watchSec * 1000));
  const { cpuSec, rssMib } = world.dut.usage();
  yield { cpuPercent: (100 * (cpuSec - before.cpuSec)) / watchSec, rssMb: (rssMib * 1024 * 1024) / 1e6 };
}

/** The other end of the speaker's BFD; resolves when both sessions are Up with their intervals. */
async function startBfd(world: World, peers: readonly DutPeer[]): Promise<void> {
  const there = new BfdProcess(world.link, world.link.b);
  const intervalUs = bfdIntervalMs * 1000;
  const timing = { minTxUs: intervalUs, minRxUs: intervalUs, multiplier: 3 };
  there.configure(
    ...peers.map(({ id, address, family }) =>
      bfdSessionTo(id, { peerAddress: dutAddress[family], localAddress: address, ...timing }),
    ),
  );
  for (const { id } of peers)
    await until(() => there.status(id)?.state === 'Up' && there.status(id)?.detectionTimeUs === 3 * intervalUs, {
      what: `BFD of ${id}; it is ${JSON.stringify(there.status(id))} ${there.errors}`,
      deadlineMs: 20_000,
    });
}

/**
 * A whole table through a speaker whose sessions have a hold time of 3 s, while its API is asked for the status again and again: how long an answer
 * takes. Then the same once more, and how long its loop was busy without a pause: in a run of its own, since to mark each turn takes time.
 * A session that is lost fails.
 */
export async function* underLoad(name: DutName, prefixes: number): Run {
  const times = await loaded(name, prefixes, false, async (_, asked) => asked.toSorted((a, b) => a - b));
  yield {
    answers: times.length,
    statusP99Ms: times[Math.floor(times.length * 0.99)]!,
    longestMs: times.at(-1)!,
  };
  yield turnFigures(await loaded(name, prefixes, true, (world) => world.turns()));
}

/** @param then is given how long each answer took, ms. */
async function loaded<T>(
  name: DutName,
  prefixes: number,
  turns: boolean,
  then: (world: World, times: readonly number[]) => Promise<T>,
): Promise<T> {
  const [from, to] = [sender(), receiver()];
  await using world = await World.start(name, [from, to], { turns });
  await world.open([from, to], { holdTimeSec: 3 });
  const table = { family: 4 as const, prefixes, asn: from.asn, nextHop: nextHopOf(from) };
  if (turns) world.forgetTurns();
  await world.do({ op: 'prepare', id: from.id, table });
  const socketPath = path.join(world.link.folder, 'speaker.sock');
  let over = false;
  const asking = (async () => {
    const times: number[] = [];
    while (!over) {
      const started = performance.now();
      await ask(socketPath, '/v1/bgp/peers');
      times.push(performance.now() - started);
    }
    return times;
  })();
  for (const what of ['announce', 'withdraw'] as const) {
    const wanted = [{ id: to.id, [what === 'announce' ? 'announced' : 'withdrawn']: prefixes }];
    await world.do({ op: 'send', ids: [from.id], what, wanted });
  }
  over = true;
  const times = await asking;
  const { peers } = JSON.parse(await ask(socketPath, '/v1/bgp/peers')) as { peers: { timesEstablished: number }[] };
  if (peers.some((peer) => peer.timesEstablished !== 1))
    throw new Error(`a session was lost: ${JSON.stringify(peers)}`);
  return await then(world, times);
}

/** Upper bounds of the histogram's bars, ms; the last bar has none. */
const turnEdgesMs = [1, 2, 5, 10, 20, 50];

/** How many turns of the loop took how long by the clock, and the longest; of that also the processor time, which another process cannot lengthen. */
function turnFigures({ wallMs, longestWallMs, longestCpuMs }: LoopTurns): Figures {
  const bars = [...turnEdgesMs, Number.POSITIVE_INFINITY].map((end, i): [string, number] => {
    const from = turnEdgesMs[i - 1] ?? 0;
    const count = wallMs.slice(from, end).reduce((sum, turns) => sum + turns, 0);
    return [end === Number.POSITIVE_INFINITY ? `turnsOver${from}Ms` : `turns${from}To${end}Ms`, count];
  });
  return { longestTurnMs: longestWallMs, longestTurnCpuMs: longestCpuMs, ...Object.fromEntries(bars) };
}

function ask(socketPath: string, url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    http
      .get({ socketPath, path: url, agent: false }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (chunk) => (body += chunk));
        response.on('end', () => resolve(body));
      })
      .on('error', reject);
  });
}
