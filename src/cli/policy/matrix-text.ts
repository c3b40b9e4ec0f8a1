/** The truth table for people: a row a source, a column a target. */
import type { MatrixResult, MatrixTotals, NamedClass } from '#policy';

/** Signs of cells, and what they say. `poplin lab probe` has the same. */
export const cellWords: Readonly<Record<string, string>> = {
  '+': 'allowed',
  '.': 'denied',
  t: 'TCP only',
  u: 'UDP only',
  '4': 'IPv4 only',
  '6': 'IPv6 only',
  '~': 'partly',
};

/** One sign for all that was asked of a pair; blank when nothing was. */
export function cellSign(results: readonly MatrixResult[]): string {
  if (results.length === 0) return ' ';
  const allowed = results.filter(({ verdict }) => verdict === 'allow').length;
  if (allowed === results.length) return '+';
  if (allowed === 0) return '.';
  const exactly = (part: (result: MatrixResult) => boolean): boolean =>
    results.every((result) => (result.verdict === 'allow') === part(result));
  if (exactly(({ protocol }) => protocol === 'TCP')) return 't';
  if (exactly(({ protocol }) => protocol === 'UDP')) return 'u';
  if (exactly(({ family }) => family === 'ipv4')) return '4';
  if (exactly(({ family }) => family === 'ipv6')) return '6';
  return '~';
}

/** The results of each pair of names. */
export function byPair(results: readonly MatrixResult[]): (from: string, to: string) => readonly MatrixResult[] {
  const rows = new Map<string, Map<string, MatrixResult[]>>();
  for (const result of results) {
    const row = rows.get(result.from) ?? new Map<string, MatrixResult[]>();
    rows.set(result.from, row);
    const cell = row.get(result.to);
    if (cell) cell.push(result);
    else row.set(result.to, [result]);
  }
  return (from, to) => rows.get(from)?.get(to) ?? [];
}

/** Wider tables are not read; the numbers are printed and the rest is for JSON and HTML. */
const columnsMax = 80;

export function formatClasses(
  classes: readonly NamedClass[],
  results: readonly MatrixResult[],
  about: { readonly totals: MatrixTotals; readonly ends: number; readonly pairs: boolean },
): string {
  const { totals, ends, pairs } = about;
  const cells = byPair(results);
  const sources = new Set(results.map(({ from }) => from));
  const targets = new Set(results.map(({ to }) => to));
  const names = classes.map(({ name }) => name).filter((name) => sources.has(name) || targets.has(name));
  const columns = names.map((name, index) => ({ name, number: index + 1 })).filter(({ name }) => targets.has(name));
  const shown = columns.slice(0, columnsMax);
  const width = Math.max('from \\ to'.length, ...names.map((name) => name.length));
  const digits = Math.max(2, String(names.length).length);
  const line = (title: string, signs: readonly string[]): string =>
    `${title.padEnd(width)}  ${signs.map((sign) => sign.padStart(digits)).join(' ')}`.trimEnd();
  const numbers = shown.map(({ number }) => String(number));
  const rows = names.flatMap((name, index) => {
    if (!sources.has(name)) return [`${String(index + 1).padStart(digits)} ${name}`];
    const signs = shown.map((column) => cellSign(cells(name, column.name)));
    return [`${String(index + 1).padStart(digits)} ${line(name, signs)}`];
  });
  const used = new Set(names.flatMap((name) => shown.map((column) => cellSign(cells(name, column.name)))));
  const legend = Object.entries(cellWords).filter(([sign]) => used.has(sign));
  return [
    `${' '.repeat(digits)} ${line('from \\ to', numbers)}`,
    ...rows,
    '',
    legend.map(([sign, word]) => `${sign} ${word}`).join(', '),
    ...(shown.length < columns.length
      ? [`columns beyond ${columnsMax} are left out: -o html or -o json has them`]
      : []),
    ...(pairs
      ? []
      : [`${ends} ends in ${names.length} classes that no rule tells apart: -o json --by-class names their members`]),
    `${totals.allowed} allowed, ${totals.denied} denied (each pair, port and family)`,
    '',
  ].join('\n');
}
