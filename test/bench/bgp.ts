/**
 * `npm run bench -- bgp [PART...]`: our speaker beside the other daemons that are installed, in network namespaces, same table, same
 * peers, in one run. Prints one JSON object: every figure of every speaker (medians), and ours as a ratio of BIRD's with what
 * must hold and what we aim at. Exit code 1 when a "must" is missed.
 *
 * ROUNDS (default 5; orders alternate), SCALE (default 1: 1,000,000 and 200,000 prefixes), DUTS (default: all that can be had).
 */
import type { DutName } from './bgp/dut-starters.ts';
import { dutNames } from './bgp/duts.ts';
import * as parts from './bgp/parts.ts';

interface Goal {
  readonly figure: string;
  /** Against BIRD's same figure, or absolute. */
  readonly of: 'ratio' | 'absolute';
  readonly must: number;
  readonly aim: number;
}
interface Part {
  readonly run: (name: DutName) => Promise<parts.Figures>;
  readonly goals: readonly Goal[];
  /** Default: all. */
  readonly only?: readonly DutName[];
}

const scale = Number(process.env['SCALE'] ?? 1);
const rounds = Number(process.env['ROUNDS'] ?? 5);
const million = Math.round(1_000_000 * scale);
const wanted = (process.env['DUTS'] ?? dutNames().join(',')).split(',') as DutName[];

const ratio = (figure: string, must: number, aim: number): Goal => ({ figure, of: 'ratio', must, aim });
const absolute = (figure: string, must: number, aim: number): Goal => ({ figure, of: 'absolute', must, aim });

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
  fanOut200: { run: (name) => parts.fanOut(name, 1_000, 200), goals: [ratio('seconds', 0.8, 0.5)] },
  latency: {
    run: (name) => parts.latency(name, 1_000, million / 5),
    goals: ['announce', 'withdraw', 'churnAnnounce', 'churnWithdraw'].flatMap((what) => [
      ratio(`${what}P50Ms`, 1.3, 1),
      ratio(`${what}P99Ms`, 1.3, 1),
    ]),
  },
  manySessions: {
    run: (name) => parts.manySessions(name, 1_000),
    goals: [absolute('seconds', 5, 3), absolute('growthMib', 80, 60)],
  },
  underLoad: {
    run: (name) => parts.underLoad(name, million),
    only: ['poplin'],
    goals: [absolute('longestMs', 50, 20), absolute('statusP99Ms', 50, 20)],
  },
  idle: { run: (name) => parts.idle(name, 10), goals: [absolute('cpuPercent', 1, 0.5), absolute('rssMib', 110, 90)] },
};

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;
const rounded = (value: number): number => Number(value.toPrecision(3));

/** Medians of every figure, by speaker. */
async function measure(part: Part): Promise<Map<DutName, parts.Figures>> {
  const duts = (part.only ?? wanted).filter((name) => wanted.includes(name));
  const runs = new Map<DutName, parts.Figures[]>(duts.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? duts : duts.toReversed()) {
      const figures = await part.run(name);
      process.stderr.write(
        `   ${name}: ${JSON.stringify(Object.fromEntries(Object.entries(figures).map(([k, v]) => [k, rounded(v)])))}\n`,
      );
      runs.get(name)!.push(figures);
    }
  }
  return new Map(
    [...runs].map(([name, all]) => [
      name,
      Object.fromEntries(Object.keys(all[0]!).map((key) => [key, rounded(median(all.map((one) => one[key]!)))])),
    ]),
  );
}

function judge(goal: Goal, medians: ReadonlyMap<DutName, parts.Figures>) {
  const ours = medians.get('poplin')?.[goal.figure];
  const birds = medians.get('bird')?.[goal.figure];
  if (ours === undefined || (goal.of === 'ratio' && birds === undefined)) return undefined;
  const value = goal.of === 'absolute' ? ours : rounded(ours / birds!);
  const { figure, must, aim } = goal;
  return { figure, [goal.of]: value, must, aim, met: value <= aim ? 'aim' : value <= must ? 'must' : 'missed' };
}

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in table));
if (unknown.length > 0) {
  process.stderr.write(`no part named ${unknown.join(', ')}; there are: ${Object.keys(table).join(', ')}\n`);
  process.exit(2);
}
const report: Record<string, unknown> = {};
for (const [name, part] of Object.entries(table)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  process.stderr.write(`-- ${name}\n`);
  const medians = await measure(part);
  const goals = part.goals.flatMap((goal) => judge(goal, medians) ?? []);
  if (goals.some(({ met }) => met === 'missed')) process.exitCode = 1;
  report[name] = { medians: Object.fromEntries(medians), goals };
}
console.log(JSON.stringify({ bench: 'bgp', scale, rounds, report }, null, 2));
