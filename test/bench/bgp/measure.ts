/** Runs one part on every speaker, and makes one figure of those of all rounds. */
import { median, rounded } from '../../support/numbers.ts';
import type { DutName } from './dut-starters.ts';
import type { Figures, Run } from './parts.ts';
import { OverLimit } from './world.ts';

export interface Part {
  readonly run: (name: DutName) => Run;
  readonly goals: readonly Goal[];
  /** Default: all that are there. */
  readonly only?: readonly DutName[];
  /** Of all speakers, at most. */
  readonly roundsMax?: number;
  /** Of the rounds. Default: median. */
  readonly take?: 'median' | 'worst';
  /** All speakers are there at once, and yield in turns: then all have as much of what the machine does besides. Default: one after the other. */
  readonly inTurns?: boolean;
}

export interface Goal {
  readonly figure: string;
  /** Against BIRD's same figure, or absolute. */
  readonly of: 'ratio' | 'absolute';
  readonly must: number;
  readonly aim: number;
}

/** What is known of one speaker in one part. */
export interface Measured {
  readonly rounds: number;
  readonly figures: Figures;
  /** A command was not done in that time: what comes after has no figures. */
  readonly overSec?: number;
  /** Why a round came to nothing. */
  readonly failed?: string;
}

/** Ours and BIRD's decide, and run all rounds; of the others no more than this, */
const peerRoundsMax = 3;
/** and no other after a round that took longer than this. */
const slowSec = 20;
const always: readonly DutName[] = ['poplin', 'bird'];

interface Rounds {
  readonly all: Figures[];
  overSec?: number;
  failed?: string;
  over: boolean;
}

/** What a speaker has yielded in the round under way. */
interface Yielded {
  readonly name: DutName;
  readonly into: Rounds;
  readonly run: Run;
  readonly figures: Figures[];
  ms: number;
}

/** One round of those, in turns; of figures that came several times the median. Keeps what came before a limit or a failure. */
async function round(part: Part, runs: ReadonlyMap<DutName, Rounds>): Promise<void> {
  const all = [...runs].map(([name, into]): Yielded => ({ name, into, run: part.run(name), figures: [], ms: 0 }));
  for (let going: readonly Yielded[] = all; going.length > 0; ) {
    const more: Yielded[] = [];
    for (const one of going) if (await turn(one)) more.push(one);
    going = more;
  }
  for (const { name, into, figures, ms } of all) {
    const seconds = ms / 1000;
    const own = oneOf(figures);
    const shown = Object.fromEntries(Object.entries(own).map(([key, value]) => [key, rounded(value)]));
    process.stderr.write(`   ${name}, ${seconds.toFixed(1)} s: ${JSON.stringify(shown)}\n`);
    into.all.push(own);
    if (!always.includes(name) && (seconds > slowSec || into.all.length >= peerRoundsMax)) into.over = true;
  }
}

/** @returns whether it may yield more. */
async function turn(one: Yielded): Promise<boolean> {
  const { name, into } = one;
  const started = performance.now();
  try {
    const { value, done } = await one.run.next();
    if (value) one.figures.push(value);
    return done !== true;
  } catch (error) {
    if (error instanceof OverLimit) into.overSec = error.limitSec;
    else into.failed = error instanceof Error ? error.message : String(error);
    process.stderr.write(`   ${name}: ${error}\n`);
    into.over = true;
    return false;
  } finally {
    one.ms += performance.now() - started;
  }
}

/** Orders alternate, so that what the machine does besides falls on all alike. */
export async function measure(
  part: Part,
  duts: readonly DutName[],
  rounds: number,
): Promise<ReadonlyMap<DutName, Measured>> {
  const names = duts.filter((name) => part.only?.includes(name) ?? true);
  const runs = new Map(names.map((name): [DutName, Rounds] => [name, { all: [], over: false }]));
  for (let n = 0; n < Math.min(rounds, part.roundsMax ?? rounds); n++) {
    const left = (n % 2 === 0 ? names : names.toReversed()).filter((name) => !runs.get(name)!.over);
    for (const together of part.inTurns ? [left] : left.map((name) => [name]))
      await round(part, new Map(together.map((name) => [name, runs.get(name)!])));
  }
  const take = part.take === 'worst' ? (values: number[]) => Math.max(...values) : median;
  return new Map([...runs].map(([name, { all, over: _, ...rest }]) => [name, { ...summary(all, take), ...rest }]));
}

function summary(all: readonly Figures[], take: (values: number[]) => number): Measured {
  const figures = Object.entries(oneOf(all, take)).map(([key, value]) => [key, rounded(value)]);
  return { rounds: all.length, figures: Object.fromEntries(figures) };
}

/** One figure of each name, of those that have it. */
export function oneOf(all: readonly Figures[], take: (values: number[]) => number = median): Figures {
  const keys = new Set(all.flatMap((figures) => Object.keys(figures)));
  const of = (key: string): number[] => all.map((figures) => figures[key]).filter((value) => value !== undefined);
  return Object.fromEntries([...keys].map((key) => [key, take(of(key))]));
}
