/** A line for each bound of each workload, for people. */

/** What `must` calls differently from the figure itself. */
const figureOf: Readonly<Record<string, string>> = {
  mustSec: 'cpuSec',
  mustMb: 'heapMb',
  sliceMs: 'longestSliceMs',
  behindMs: 'longestBehindMs',
};

/** Of results with a `must`; a ratio has to be at least that, everything else at most. */
export function tableText(results: readonly object[]): string {
  const lines: (readonly string[])[] = [['workload', 'figure', 'measured', 'must', 'met']];
  for (const result of results as readonly Readonly<Record<string, unknown>>[]) {
    for (const [bound, limit] of Object.entries((result['must'] ?? {}) as Readonly<Record<string, number>>)) {
      const figure = figureOf[bound] ?? bound;
      const value = Number(result[figure]);
      const isRatio = /To[A-Z]/.test(figure);
      const met = isRatio ? value >= limit : value <= limit;
      const text = `${isRatio ? '>=' : '<='} ${limit}`;
      lines.push([String(result['workload']), figure, String(value), text, met ? 'yes' : 'NO']);
    }
  }
  const widths = lines[0]!.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  return `${lines
    .map((line) =>
      line
        .map((text, i) => text.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')}\n`;
}
