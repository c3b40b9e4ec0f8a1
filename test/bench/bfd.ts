/**
 * BFD in its process: what many sessions cost, and whether quick ones hold on a busy machine. Prints one JSON object.
 *
 *   sessions   SESSIONS (default 500) of 300 ms x 3 with another of our processes: CPU and memory, gaps between packets, flaps in
 *              CALM_SEC (default 20)
 *   cut        50 ms x 3, CUTS times (default 10): from the cut of the path (its command included) to the end of the BGP session
 *   busy       3 sessions of 50 ms x 3 in a process whose speaker takes in PREFIXES routes (default 1,000,000) over and over in its thread, and
 *              whose main thread calculates 10,000 policies over and over, while a process that never sleeps has the other core: flaps and
 *              gaps in BUSY_SEC (default 600)
 *
 * `npm run bench -- bfd [NAME]` runs one of them.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import type { BfdTiming } from '#bfd';
import type { BfdSessionConfig } from '#bgp';
import { BfdProcess, bfdSessionTo } from '../support/bfd.ts';
import { BgpLink, linkConfig } from '../support/bgp.ts';
import { until } from '../support/wait.ts';

const sessionCount = Number(process.env['SESSIONS'] ?? 500);
const calmSec = Number(process.env['CALM_SEC'] ?? 20);
const busySec = Number(process.env['BUSY_SEC'] ?? 600);
const prefixes = Number(process.env['PREFIXES'] ?? 1_000_000);
const cuts = Number(process.env['CUTS'] ?? 10);

const sleep = (sec: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, sec * 1000));

/** Buckets that are not empty, by their upper bound. */
function histogram({ edgesMs }: BfdTiming, counts: readonly number[]): Record<string, number> {
  const named = counts.map((count, i) => [`<=${edgesMs[i] ?? 'more'}`, count] as const);
  return Object.fromEntries(named.filter(([, count]) => count > 0));
}
/** What happened between two looks. */
function between(before: BfdTiming, after: BfdTiming): object {
  const minus = (name: 'lateness' | 'gaps') => after[name].map((count, i) => count - before[name][i]!);
  return {
    realtime: after.realtime,
    sent: after.sent - before.sent,
    received: after.received - before.received,
    sendFailures: after.sendFailures - before.sendFailures,
    latenessMs: histogram(after, minus('lateness')),
    gapsMs: histogram(after, minus('gaps')),
    longestGapMs: round(after.longestGapMs),
    latestMs: round(after.latestMs),
    longestTurnMs: round(after.longestTurnMs),
    collections: after.collections - before.collections,
    longestCollectionMs: round(after.longestCollectionMs),
  };
}
const round = (value: number): number => Number(value.toFixed(2));

/** Proportional: what it shares counts in part. And what is its alone. */
function memoryMb(pid: number): object {
  const text = fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const mb = (name: string): number => {
    const sum = [...text.matchAll(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'gm'))].reduce(
      (kb, [, value]) => kb + Number(value),
      0,
    );
    return Math.round(sum / 1024);
  };
  return { pss: mb('Pss'), own: mb('Private_(?:Clean|Dirty)') };
}

function addresses(end: 1 | 2): string[] {
  return Array.from({ length: sessionCount }, (_, n) => `10.${100 + (n >> 8)}.${n & 255}.${end}`);
}

async function many(): Promise<object> {
  await using link = new BgpLink();
  const mac = (name: string): string =>
    /link\/ether (\S+)/.exec(link.run(name, 'ip', 'link', 'show', 'dev', 'e0'))![1]!;
  for (const [name, end, other] of [
    [link.a, 1, link.b],
    [link.b, 2, link.a],
  ] as const) {
    const there = addresses(end === 1 ? 2 : 1);
    // Neighbours that are found by themselves count against a limit of the whole machine (gc_thresh3, 1024).
    const neighbours = there.map((address) => `neigh add ${address} lladdr ${mac(other)} dev e0 nud permanent`);
    const commands = [...addresses(end).map((address) => `addr add ${address}/30 dev e0`), ...neighbours];
    execFileSync('ip', ['-n', name, '-batch', '-'], { input: commands.join('\n') });
  }
  const sessions = (own: 1 | 2): BfdSessionConfig[] =>
    addresses(own === 1 ? 2 : 1).map((peerAddress, n) => ({
      ...bfdSessionTo(`s${n}`, { peerAddress, localAddress: addresses(own)[n]! }),
      minTxUs: 300_000,
      minRxUs: 300_000,
    }));
  const [a, b] = [new BfdProcess(link, link.a), new BfdProcess(link, link.b)];
  const startedMs = performance.now();
  a.configure(...sessions(1));
  b.configure(...sessions(2));
  const upCount = (): number => new Set(a.statuses.filter(({ state }) => state === 'Up').map(({ key }) => key)).size;
  await until(() => upCount() === sessionCount, { what: 'all sessions', deadlineMs: 30_000 });
  const upAfterMs = Math.round(performance.now() - startedMs);
  await sleep(3);
  const before = await a.timing();
  await sleep(calmSec);
  const after = await a.timing();
  const flaps = new Map([...a.statuses, ...b.statuses].map(({ key, flaps: count }) => [key, count]));
  return {
    sessions: sessionCount,
    upAfterMs,
    seconds: calmSec,
    flaps: [...flaps.values()].reduce((sum, count) => sum + count, 0),
    memoryMb: memoryMb(a.pid),
    cpuPercentOfCore: round((after.cpuMs - before.cpuMs) / calmSec / 10),
    ...between(before, after),
  };
}

const quick = { minTxMs: 50, minRxMs: 50, multiplier: 3 };
const detectionMs = quick.multiplier * quick.minTxMs;

/** See test/support/bfd-load.ts. */
async function busy(): Promise<object> {
  await using link = new BgpLink();
  const b = new BfdProcess(link, link.b);
  const addressesB = ['10.9.0.2', '10.9.0.3', '10.9.0.4'];
  for (const n of [3, 4]) execFileSync('ip', ['-n', link.b, 'addr', 'add', `10.9.0.${n}/24`, 'dev', 'e0']);
  b.configure(...addressesB.map((localAddress, n) => bfdSessionTo(`s${n}`, { peerAddress: '10.9.0.1', localAddress })));
  const burner = spawn('/bin/sh', ['-c', `while kill -0 ${process.pid} 2>/dev/null; do :; done`], { stdio: 'ignore' });
  const load = link.spawn(link.a, process.execPath, [
    path.join(import.meta.dirname, '../support/bfd-load.ts'),
    String(busySec),
    String(prefixes),
    ...addressesB,
  ]);
  let errors = '';
  load.stderr!.on('data', (chunk) => (errors += chunk));
  const lines: LoadReport[] = [];
  const there: { timing: BfdTiming; flaps: number }[] = [];
  // Of the peer before ours is gone: that end is no flap.
  const flapsThere = (): number => addressesB.reduce((sum, _, n) => sum + (b.status(`s${n}`)?.flaps ?? 0), 0);
  const done = new Promise<void>((resolve) => {
    readline.createInterface({ input: load.stdout! }).on('line', async (line) => {
      lines.push(JSON.parse(line));
      const flaps = flapsThere();
      there.push({ timing: await b.timing(), flaps });
      if (there.length === 2) resolve();
    });
  });
  const code = await new Promise((resolve) => load.once('exit', resolve));
  burner.kill('SIGKILL');
  assert.equal(code, 0, `${load.signalCode} ${errors}`);
  await done;
  const [starting, measured] = lines as [LoadReport, LoadReport];
  const [thereBefore, thereAfter] = there as [(typeof there)[0], (typeof there)[0]];
  return {
    verdict: verdict(measured, thereAfter.timing),
    sessions: addressesB.length,
    seconds: measured.seconds,
    flaps: measured.falls.length,
    falls: measured.falls,
    ...between(starting.timing, measured.timing),
    peer: {
      flaps: thereAfter.flaps - thereBefore.flaps,
      ...between(thereBefore.timing, thereAfter.timing),
    },
    /** Until the load had run for some seconds: the table is made, code is compiled. */
    starting: {
      flaps: starting.falls.length,
      falls: starting.falls,
      longestGapMs: round(starting.timing.longestGapMs),
      latestMs: round(starting.timing.latestMs),
      longestTurnMs: round(starting.timing.longestTurnMs),
      longestCollectionMs: round(starting.timing.longestCollectionMs),
    },
    loadAverage: os.loadavg().map(round),
    tableLoads: measured.loads,
    calculations: measured.calculations,
    prefixes,
  };
}

/** A line of test/support/bfd-load.ts. */
interface LoadReport {
  readonly timing: BfdTiming;
  readonly falls: readonly { key: string; diagnostic: number; remoteDiagnostic: number; atSec: number }[];
  readonly seconds: number;
  readonly loads: number;
  readonly calculations: number;
}

/** Whether it held, and whose silence it was where not: a gap of the detection time at either end is that end's own. */
function verdict({ falls, seconds, timing }: LoadReport, peer: BfdTiming): string {
  const gap = (of: BfdTiming): string => `${round(of.longestGapMs)} of ${detectionMs} ms`;
  const gaps = `longest gap between our packets ${gap(timing)}, between the peer's ${gap(peer)}`;
  if (falls.length === 0) return `held: 0 flaps in ${seconds} s; ${gaps}`;
  const late = [timing.longestGapMs >= detectionMs && 'ours', peer.longestGapMs >= detectionMs && "the peer's"];
  const whose = late.filter(Boolean).join(' and ') || "nobody's: packets were lost or read late";
  return `FAILED: ${falls.length} flaps in ${seconds} s; the silence was ${whose}; ${gaps}`;
}

async function untilDown(cut: (link: BgpLink) => void): Promise<number[]> {
  const times: number[] = [];
  for (let n = 0; n < cuts; n++) {
    await using link = new BgpLink();
    const config = (own: 1 | 2) =>
      linkConfig({
        routerId: `10.9.0.${own}`,
        asn: 64511 + own,
        peers: [
          {
            ...linkConfig().peers[0]!,
            address: `10.9.0.${3 - own}`,
            asn: 64514 - own,
            holdTimeSec: 90,
            bfd: quick,
            nextHop4: `10.9.0.${own}`,
          },
        ],
      });
    const [a, b] = [await link.speaker(config(1), link.a), await link.speaker(config(2), link.b)];
    for (const end of [a, b]) {
      await until(async () => (await end.peer('bird')).bfd?.detectionTimeMs === 150, { what: 'BFD to be Up at 50 ms' });
    }
    await sleep(0.3 + 0.05 * Math.random());
    const seen = a.peerEvents.length;
    const startedMs = performance.now();
    cut(link);
    await until(() => a.peerEvents.slice(seen).some(({ state }) => state !== 'Established'), {
      what: 'the session to end',
      intervalMs: 1,
    });
    times.push(round(performance.now() - startedMs));
  }
  return times.sort((x, y) => x - y);
}

const summary = (times: readonly number[]): object => ({
  medianMs: times[times.length >> 1],
  mostMs: times.at(-1),
  times,
});

const only = process.argv[2];
const run = async (name: string, what: () => Promise<object>): Promise<object> =>
  only === undefined || only === name ? { [name]: await what() } : {};
const result = {
  bench: 'bfd',
  ...(await run('sessions', many)),
  ...(await run('cut', async () => ({
    mustMs: 200,
    ...summary(
      await untilDown((link) =>
        link.run(
          link.b,
          'nft',
          'table inet cut { chain in { type filter hook input priority 0; policy drop; }; chain out { type filter hook output priority 0; policy drop; }; }',
        ),
      ),
    ),
  }))),
  ...(await run('busy', busy)),
};
console.log(JSON.stringify(result, null, 2));
