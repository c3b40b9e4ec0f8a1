/** What the demonstration expects of every ordered pair, read from data that was written by hand. */
import fs from 'node:fs';
import path from 'node:path';
import { cell, type ProbeResult } from '../probe.ts';

/** `from to` -> the sign that `cell` gives for it. */
export type ExpectedTable = ReadonlyMap<string, string>;

export function readExpected(file = path.join(import.meta.dirname, 'expected-after.txt')): ExpectedTable {
  const rows = fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => line.trim().split(/\s+/));
  const names = rows.map((row) => row[0]!);
  const table = new Map<string, string>();
  for (const [from, ...signs] of rows) {
    if (signs.length !== names.length)
      throw new Error(`${file}: row ${from} has ${signs.length} signs for ${names.length} targets`);
    for (const [i, to] of names.entries()) table.set(`${from} ${to}`, signs[i]!);
  }
  return table;
}

/** Every pair reaches each other in everything. */
export function allAllowed(table: ExpectedTable): ExpectedTable {
  return new Map([...table.keys()].map((pair) => [pair, '+']));
}

export interface Difference {
  readonly from: string;
  readonly to: string;
  readonly expected: string;
  readonly measured: string;
}

/** Pairs of `expected` that were measured otherwise, or not at all. */
export function differences(expected: ExpectedTable, results: readonly ProbeResult[]): Difference[] {
  const byPair = Map.groupBy(results, ({ from, to }) => `${from} ${to}`);
  return [...expected].flatMap(([pair, sign]) => {
    const measured = cell(byPair.get(pair) ?? []);
    const [from, to] = pair.split(' ') as [string, string];
    return measured === sign ? [] : [{ from, to, expected: sign, measured }];
  });
}

/** Whether everything that is expected to pass does, whatever else may pass: the test after a failure of the network. */
export function unreachable(expected: ExpectedTable, results: readonly ProbeResult[]): Difference[] {
  const passes = new Set(
    results.filter(({ verdict }) => verdict === 'allow').map(({ from, to, protocol }) => `${from} ${to} ${protocol}`),
  );
  return [...expected].flatMap(([pair, sign]) => {
    if (sign === '.') return [];
    const wanted = sign === 't' ? ['TCP'] : ['TCP', 'UDP'];
    const [from, to] = pair.split(' ') as [string, string];
    const bothFamilies = results.filter((r) => r.from === from && r.to === to && wanted.includes(r.protocol));
    const fine =
      wanted.every((protocol) => passes.has(`${pair} ${protocol}`)) &&
      bothFamilies.every(({ verdict }) => verdict === 'allow');
    return fine
      ? []
      : [{ from, to, expected: sign, measured: cell(results.filter((r) => r.from === from && r.to === to)) }];
  });
}

export function formatDifferences(found: readonly Difference[], shown = 6): string {
  const words: Readonly<Record<string, string>> = {
    '+': 'everything',
    '.': 'nothing',
    t: 'TCP only',
    u: 'UDP only',
    '4': 'IPv4 only',
    '6': 'IPv6 only',
    '~': 'a part',
    ' ': 'not probed',
  };
  const lines = found
    .slice(0, shown)
    .map(
      ({ from, to, expected, measured }) =>
        `${from} to ${to}: expected ${words[expected] ?? expected}, measured ${words[measured] ?? measured}`,
    );
  if (found.length > shown) lines.push(`... and ${found.length - shown} more pairs`);
  return lines.join('\n');
}
