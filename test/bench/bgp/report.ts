/** What the bench prints: every figure of every speaker, ours against BIRD's, and what must hold. */

import { rounded } from '../../support/numbers.ts';
import type { DutName } from './dut-starters.ts';
import type { Goal, Measured, Part } from './measure.ts';

export interface Row {
  readonly part: string;
  readonly figure: string;
  /** Of those that have it. */
  readonly values: Readonly<Partial<Record<DutName, number>>>;
  /** Ours divided by that of each other. */
  readonly ratios: Readonly<Partial<Record<DutName, number>>>;
  readonly goal?: Verdict;
}

export type Verdict = Goal & {
  /** What was measured; absent: it could not be. */
  readonly value?: number;
  readonly met: 'aim' | 'must' | 'missed';
};

/** A row for each figure that any of them has, in order of first mention; one without any for a goal that nothing came of. */
export function rowsOf(name: string, part: Part, measured: ReadonlyMap<DutName, Measured>): readonly Row[] {
  const named = new Set([...measured.values()].flatMap(({ figures }) => Object.keys(figures)));
  if (measured.has('poplin')) for (const { figure } of part.goals) named.add(figure);
  return [...named].map((figure) => {
    const values: Partial<Record<DutName, number>> = {};
    for (const [dut, { figures }] of measured) {
      const value = figures[figure];
      if (value !== undefined) values[dut] = value;
    }
    const ours = values.poplin;
    const ratios: Partial<Record<DutName, number>> = {};
    for (const [dut, value] of Object.entries(values) as [DutName, number][])
      if (ours !== undefined && dut !== 'poplin' && value > 0) ratios[dut] = rounded(ours / value);
    const goal = part.goals.find((one) => one.figure === figure);
    const verdict = goal && measured.has('poplin') ? judge(goal, ours, ratios.bird, measured.has('bird')) : undefined;
    return { part: name, figure, values, ratios, ...(verdict ? { goal: verdict } : {}) };
  });
}

/** Nothing to judge where it takes a BIRD and none is there. */
function judge(goal: Goal, ours: number | undefined, ofBird: number | undefined, bird: boolean): Verdict | undefined {
  if (goal.of === 'ratio' && !bird) return undefined;
  const value = goal.of === 'ratio' ? ofBird : ours;
  // What BIRD does in no time at all, or not in time, says nothing of us.
  if (value === undefined) return ours === undefined ? { ...goal, met: 'missed' } : undefined;
  return { ...goal, value, met: value <= goal.aim ? 'aim' : value <= goal.must ? 'must' : 'missed' };
}

/** Columns for people. `> 60 s`: not done in that time. */
export function tableText(
  rows: readonly Row[],
  measured: ReadonlyMap<string, ReadonlyMap<DutName, Measured>>,
  duts: readonly DutName[],
): string {
  const others = duts.filter((name) => name !== 'poplin');
  const cell = (row: Row, name: DutName): string => {
    const value = row.values[name];
    if (value !== undefined) return String(value);
    const own = measured.get(row.part)?.get(name);
    if (own?.overSec !== undefined) return `> ${own.overSec} s`;
    return own?.failed === undefined ? '' : 'failed';
  };
  const lines = rows.map((row) => [
    row.part,
    row.figure,
    ...duts.map((name) => cell(row, name)),
    ...others.map((name) => String(row.ratios[name] ?? '')),
    ...(row.goal ? [limit(row.goal, row.goal.must), limit(row.goal, row.goal.aim), row.goal.met] : ['', '', '']),
  ]);
  const head = ['part', 'figure', ...duts, ...others.map((name) => `/ ${name}`), 'must', 'aim', 'met'];
  const widths = head.map((title, i) => Math.max(title.length, ...lines.map((line) => line[i]!.length)));
  const padded = (line: readonly string[]): string =>
    line.map((text, i) => (i < 2 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))).join('  ');
  const text = [head, ...lines].map(padded).join('\n');
  return `${text}\n`;
}

const limit = ({ of }: Goal, value: number): string => (of === 'ratio' ? `${value} x` : String(value));
