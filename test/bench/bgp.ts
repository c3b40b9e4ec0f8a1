/**
 * `npm run bench -- bgp [PART...]`: our speaker beside the other daemons that are installed, in network namespaces, same table, same
 * peers, in one run. Prints a table on stderr (every figure of every speaker, ours divided by each other's, what must hold and what we aim
 * at), and the same as one JSON object on stdout. Exit code 1 when a "must" is missed, or a part fails on us.
 *
 * ROUNDS (default 5; orders alternate), SCALE (default 1: 1,000,000 and 200,000 prefixes), DUTS (default: all that can be had). Our speaker
 * and BIRD run all rounds (three of `killNine`), the others at most three, and one where a round of theirs takes over 20 s: `rounds` in the JSON.
 * `latency` is measured in turns, every speaker there at once; all else one after the other. Figures are medians of the rounds; of what must never
 * happen, and of lost paths, the worst. What a speaker has not done in time (60 s, 180 s in `relay`, 150 s in `latency`) shows as `> 60 s`. All of it
 * takes some 40 minutes on a quiet machine; `DUTS=poplin,bird` half of that.
 */
import type { DutName } from './bgp/dut-starters.ts';
import { dutNames } from './bgp/duts.ts';
import { latency } from './bgp/latency.ts';
import { bfdCut, deadPeers, type LossySpeaker, lostPathsCanRun } from './bgp/lost-paths.ts';
import { type Goal, type Measured, measure, type Part } from './bgp/measure.ts';
import * as parts from './bgp/parts.ts';
import { type Row, rowsOf, tableText } from './bgp/report.ts';
import { type HelperName, helpers, killNine } from './bgp/restarts.ts';

const scale = Number(process.env['SCALE'] ?? 1);
const rounds = Number(process.env['ROUNDS'] ?? 5);
const million = Math.round(1_000_000 * scale);
const duts = (process.env['DUTS'] ?? dutNames().join(',')).split(',') as DutName[];

/** Where less would be nothing at all. */
const atLeast = (least: number, full: number): number => Math.max(least, Math.round(full * scale));

/** Seconds in which nothing happens. */
const watchSec = atLeast(2, 20);

const ratio = (figure: string, must: number, aim: number): Goal => ({ figure, of: 'ratio', must, aim });
const absolute = (figure: string, must: number, aim: number): Goal => ({ figure, of: 'absolute', must, aim });

/** `killNineBird` and so on: behind each helper that is installed. */
const killNineParts = (Object.keys(helpers) as HelperName[])
  .filter((name) => helpers[name].installed())
  .map((name): [string, Part] => {
    const goals = [absolute('lost', 0, 0), ...(name === 'gobgp' ? [absolute('withdrawn', 0, 0)] : [])];
    const run = () => killNine(name, atLeast(400, 10_000));
    return [
      `killNine${name[0]!.toUpperCase()}${name.slice(1)}`,
      { run, only: ['poplin'], roundsMax: 3, take: 'worst', goals },
    ];
  });

const lostPathsParts: Readonly<Record<string, Part>> = lostPathsCanRun()
  ? {
      deadPeers: { run: deadPeers, only: ['poplin'], take: 'worst', goals: [absolute('deferralMs', 1000, 1000)] },
      bfdCut: {
        run: (name) => bfdCut(name as LossySpeaker),
        only: ['poplin', 'bird'],
        take: 'worst',
        goals: [absolute('cutMs', 200, 170), absolute('linkDownMs', 50, 20)],
      },
    }
  : {};

const table: Readonly<Record<string, Part>> = {
  relay: {
    run: (name) => parts.relay(name, million, 4),
    goals: [
      ratio('seconds', 0.9, 0.6),
      ratio('cpuSec', 1.2, 0.9),
      absolute('growthMib', 200, 150),
      ratio('withdrawSeconds', 0.9, 0.6),
    ],
  },
  relay200k: { run: (name) => parts.relay(name, million / 5, 4), goals: [ratio('seconds', 0.9, 0.6)] },
  relay200k6: { run: (name) => parts.relay(name, million / 5, 6), goals: [ratio('seconds', 0.9, 0.6)] },
  furtherPeers: {
    run: (name) => parts.furtherPeers(name, million),
    goals: [absolute('knownSetsMib', 24, 12)],
  },
  threePeers: {
    run: (name) => parts.threePeers(name, million),
    goals: [ratio('seconds', 0.9, 0.6), ratio('lostSeconds', 0.9, 0.6)],
  },
  fanOut32: {
    run: (name) => parts.fanOut(name, Math.round(20_000 * scale), 32),
    goals: [ratio('seconds', 0.6, 0.4), absolute('cpuSec', 0.5, 0.3)],
  },
  fanOut200: { run: (name) => parts.fanOut(name, 1_000, atLeast(10, 200)), goals: [ratio('seconds', 0.8, 0.5)] },
  latency: {
    run: (name) => latency(name, atLeast(20, 1_000), million / 5),
    inTurns: true,
    goals: ['announce', 'withdraw', 'churnAnnounce', 'churnWithdraw'].flatMap((what) => [
      ratio(`${what}P50Ms`, 1.3, 1),
      ratio(`${what}P99Ms`, 1.3, 1),
    ]),
  },
  manySessions: {
    run: (name) => parts.manySessions(name, atLeast(20, 1_000)),
    goals: [absolute('seconds', 5, 3), absolute('growthMib', 80, 60)],
  },
  underLoad: {
    run: (name) => parts.underLoad(name, million),
    only: ['poplin'],
    goals: [absolute('statusP99Ms', 50, 20), absolute('longestTurnMs', 50, 20)],
  },
  idle: { run: (name) => parts.idle(name, watchSec, false), goals: [] },
  idleBfd: {
    run: (name) => parts.idle(name, watchSec, true),
    only: ['poplin', 'bird'],
    goals: [absolute('cpuPercent', 1, 0.5), absolute('rssMb', 110, 90)],
  },
  ...Object.fromEntries(killNineParts),
  ...lostPathsParts,
};

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in table));
if (unknown.length > 0) {
  process.stderr.write(`no part named ${unknown.join(', ')}; there are: ${Object.keys(table).join(', ')}\n`);
  process.exit(2);
}
const measured = new Map<string, ReadonlyMap<DutName, Measured>>();
const rows: Row[] = [];
const started = performance.now();
for (const [name, part] of Object.entries(table)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  process.stderr.write(`-- ${name}\n`);
  const own = await measure(part, duts, rounds);
  measured.set(name, own);
  rows.push(...rowsOf(name, part, own));
  if (own.get('poplin')?.failed !== undefined) process.exitCode = 1;
}
if (rows.some(({ goal }) => goal?.met === 'missed')) process.exitCode = 1;
process.stderr.write(`\n${tableText(rows, measured, duts)}`);
const report = Object.fromEntries(
  [...measured].map(([name, own]) => [
    name,
    {
      speakers: Object.fromEntries(own),
      rows: rows.filter(({ part }) => part === name).map(({ part: _, ...row }) => row),
    },
  ]),
);
const seconds = Math.round((performance.now() - started) / 1000);
console.log(JSON.stringify({ bench: 'bgp', scale, rounds, seconds, report }, null, 2));
