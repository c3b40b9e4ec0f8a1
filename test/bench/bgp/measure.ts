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

/** One round; keeps what came before a limit or a failure. */
async function round(part: Part, name: DutName, into: Rounds): Promise<void> {
  let figures: Figures = {};
  const started = performance.now();
  try {
    for await (const more of part.run(name)) figures = { ...figures, ...more };
  } catch (error) {
    if (error instanceof OverLimit) into.overSec = error.limitSec;
    else into.failed = error instanceof Error ? error.message : String(error);
    process.stderr.write(`   ${name}: ${error}\n`);
    into.over = true;
  }
  const seconds = (performance.now() - started) / 1000;
  const shown = Object.fromEntries(Object.entries(figures).map(([key, value]) => [key, rounded(value)]));
  process.stderr.write(`   ${name}, ${seconds.toFixed(1)} s: ${JSON.stringify(shown)}\n`);
  into.all.push(figures);
  if (!always.includes(name) && (seconds > slowSec || into.all.length >= peerRoundsMax)) into.over = true;
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
    for (const name of n % 2 === 0 ? names : names.toReversed()) {
      const mine = runs.get(name)!;
      if (!mine.over) await round(part, name, mine);
    }
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
