/** What is measured, each part on one speaker under test; every part makes a world of its own. */
import http from 'node:http';
import path from 'node:path';
import type { DutName, DutPeer } from './dut-starters.ts';
import { World } from './world.ts';

/** Figures of one run; wall time first, where there is one. */
export type Figures = Readonly<Record<string, number>>;

const octets4 = (address: string): number[] => address.split('.').map(Number);

/** IPv4 peers at 10.9.A.B, IPv6 ones at fd09::10:N. */
function peerAt(index: number, family: 4 | 6, direction: DutPeer['direction']): DutPeer {
  const address = family === 4 ? `10.9.${1 + (index >> 8)}.${index & 255}` : `fd09::10:${(index + 1).toString(16)}`;
  return { id: `p${index}`, address, asn: 64_600 + (index % 400), family, direction };
}
const nextHopOf = ({ address, family }: DutPeer): number[] => {
  if (family === 4) return octets4(address);
  const last = Number.parseInt(address.split(':').at(-1)!, 16);
  return [0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, last >> 8, last & 255];
};

const sender = (family: 4 | 6 = 4): DutPeer => peerAt(1, family, 'in');
const receiver = (family: 4 | 6 = 4): DutPeer => peerAt(2, family, 'out');

/** A sender, a receiver, a whole table through the speaker, and back out of it. */
export async function relay(name: DutName, prefixes: number, family: 4 | 6): Promise<Figures> {
  const [from, to] = [sender(family), receiver(family)];
  await using world = await World.start(name, [from, to]);
  await world.open([from, to]);
  const table = { family, prefixes, asn: from.asn, nextHop: nextHopOf(from) };
  await world.do({ op: 'prepare', id: from.id, table });
  const idle = world.dut.usage();
  const { seconds } = await world.do({
    op: 'send',
    ids: [from.id],
    what: 'announce',
    wanted: [{ id: to.id, announced: prefixes }],
  });
  const loaded = world.dut.usage();
  const withdraw = await world.do({
    op: 'send',
    ids: [from.id],
    what: 'withdraw',
    wanted: [{ id: to.id, withdrawn: prefixes }],
  });
  return {
    seconds,
    cpuSec: loaded.cpuSec - idle.cpuSec,
    idleMib: idle.rssMib,
    growthMib: loaded.rssMib - idle.rssMib,
    withdrawSeconds: withdraw.seconds,
  };
}

/** What each further peer with the same prefixes costs: with the attribute sets of the first, and with sets of its own. */
export async function furtherPeers(name: DutName, prefixes: number): Promise<Figures> {
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
    rss.push(await settledMib(world));
  }
  return { knownSetsMib: rss[1]! - rss[0]!, newSetsMib: rss[2]! - rss[1]! };
}

/** Resident memory once the processor has nothing to do any more. */
async function settledMib(world: World): Promise<number> {
  let before = world.dut.usage();
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const now = world.dut.usage();
    if (now.cpuSec - before.cpuSec < 0.03) return now.rssMib;
    before = now;
  }
}

/** Three peers announce the same table, each a hop farther; then the best one is lost. */
export async function threePeers(name: DutName, prefixes: number): Promise<Figures> {
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
  const before = world.dut.usage();
  const [best, second] = peers as [DutPeer, DutPeer, DutPeer];
  const ids = peers.map(({ id }) => id);
  const load = await world.do({
    op: 'send',
    ids,
    what: 'announce',
    wanted: [{ id: to.id, announced: prefixes, from: best.asn }],
  });
  await settledMib(world);
  const lost = await world.do({
    op: 'cut',
    id: best.id,
    wanted: [{ id: to.id, announced: prefixes, from: second.asn }],
  });
  return { seconds: load.seconds, lostSeconds: lost.seconds, cpuSec: world.dut.usage().cpuSec - before.cpuSec };
}

/** One sender, the same table to many. */
export async function fanOut(name: DutName, prefixes: number, receivers: number): Promise<Figures> {
  const from = sender();
  const to = Array.from({ length: receivers }, (_, index) => peerAt(10 + index, 4, 'out'));
  await using world = await World.start(name, [from, ...to]);
  await world.open([from, ...to]);
  await world.do({
    op: 'prepare',
    id: from.id,
    table: { family: 4, prefixes, asn: from.asn, nextHop: nextHopOf(from) },
  });
  const before = world.dut.usage();
  const wanted = to.map(({ id }) => ({ id, announced: prefixes }));
  const { seconds } = await world.do({ op: 'send', ids: [from.id], what: 'announce', wanted });
  return { seconds, cpuSec: world.dut.usage().cpuSec - before.cpuSec };
}

/** One prefix through an idle speaker, and through one with a table and a steady stream of changes. */
export async function latency(name: DutName, count: number, prefixes: number): Promise<Figures> {
  const [from, to] = [sender(), receiver()];
  await using world = await World.start(name, [from, to]);
  await world.open([from, to]);
  const ask = { op: 'latency' as const, from: from.id, to: to.id, count, nextHop: nextHopOf(from) };
  type Latency = { announce: { p50: number; p99: number }; withdraw: { p50: number; p99: number } };
  const idle = (await world.do(ask)) as unknown as Latency;
  await world.do({
    op: 'prepare',
    id: from.id,
    table: { family: 4, prefixes, asn: from.asn, nextHop: nextHopOf(from) },
  });
  await world.do({ op: 'send', ids: [from.id], what: 'announce', wanted: [{ id: to.id, announced: prefixes }] });
  await settledMib(world);
  const busy = (await world.do({ ...ask, perSecond: 200 })) as unknown as Latency;
  return {
    announceP50Ms: idle.announce.p50,
    announceP99Ms: idle.announce.p99,
    withdrawP50Ms: idle.withdraw.p50,
    withdrawP99Ms: idle.withdraw.p99,
    churnAnnounceP50Ms: busy.announce.p50,
    churnAnnounceP99Ms: busy.announce.p99,
    churnWithdrawP50Ms: busy.withdraw.p50,
    churnWithdrawP99Ms: busy.withdraw.p99,
  };
}

/** A full mesh's node: everybody dials at once and announces a prefix; an observer has them all. */
export async function manySessions(name: DutName, count: number): Promise<Figures> {
  const observer = peerAt(2, 4, 'out');
  const nodes = Array.from({ length: count }, (_, index) => peerAt(16 + index, 4, 'in'));
  await using world = await World.start(name, [observer, ...nodes]);
  await world.open([observer]);
  const idle = world.dut.usage();
  const started = performance.now();
  await world.open(nodes, { announceOwn: true });
  await world.do({ op: 'await', wanted: [{ id: observer.id, announced: count }] });
  const seconds = (performance.now() - started) / 1000;
  const loaded = world.dut.usage();
  return { seconds, cpuSec: loaded.cpuSec - idle.cpuSec, growthMib: loaded.rssMib - idle.rssMib };
}

/** Two sessions and nothing to do. */
export async function idle(name: DutName, watchSec: number): Promise<Figures> {
  const [from, to] = [sender(), receiver()];
  await using world = await World.start(name, [from, to]);
  await world.open([from, to]);
  await settledMib(world);
  const before = world.dut.usage();
  await new Promise((resolve) => setTimeout(resolve, watchSec * 1000));
  const after = world.dut.usage();
  return { cpuPercent: (100 * (after.cpuSec - before.cpuSec)) / watchSec, rssMib: after.rssMib };
}

/**
 * A whole table through a speaker whose sessions have a hold time of 3 s, while its API is asked for the status again and again:
 * how long an answer takes, of which the longest is more than the longest stall of its loop. A session that is lost fails.
 */
export async function underLoad(name: DutName, prefixes: number): Promise<Figures> {
  const [from, to] = [sender(), receiver()];
  await using world = await World.start(name, [from, to]);
  await world.open([from, to], { holdTimeSec: 3 });
  const table = { family: 4 as const, prefixes, asn: from.asn, nextHop: nextHopOf(from) };
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
  const times = (await asking).toSorted((a, b) => a - b);
  const { peers } = JSON.parse(await ask(socketPath, '/v1/bgp/peers')) as { peers: { timesEstablished: number }[] };
  if (peers.some((peer) => peer.timesEstablished !== 1))
    throw new Error(`a session was lost: ${JSON.stringify(peers)}`);
  return {
    answers: times.length,
    statusP99Ms: times[Math.floor(times.length * 0.99)]!,
    longestMs: times.at(-1)!,
  };
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
