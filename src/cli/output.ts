/** Printing: tables as kubectl's, JSON, YAML. */
import { type Command, Option } from 'commander';

export type OutputFormat = 'table' | 'json' | 'yaml';

export interface Terminal {
  out(text: string): void;
  err(text: string): void;
}

export function withOutput(command: Command): Command {
  const formats: readonly OutputFormat[] = ['table', 'json', 'yaml'];
  return command.addOption(new Option('-o, --output <format>', 'output format').choices(formats).default('table'));
}

/** Columns padded to their widest cell, three spaces between, no trailing space. */
export function formatTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) => all.reduce((width, row) => Math.max(width, (row[column] ?? '').length), 0));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('   ')
      .trimEnd();
  return `${all.map(line).join('\n')}\n`;
}

/** `value` as JSON or YAML, or what `table` makes of it. */
export async function formatValue<T>(format: OutputFormat, value: T, table: (value: T) => string): Promise<string> {
  if (format === 'json') return `${JSON.stringify(value, null, 2)}\n`;
  if (format === 'yaml') {
    const { stringify } = await import('yaml');
    return stringify(value, { aliasDuplicateObjects: false });
  }
  return table(value);
}

/** Time passed in kubectl's short form: `42s`, `5m12s`, `3h20m`, `2d4h`. */
export function formatDuration(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${s % 60}s`;
  if (s < 86_400) return `${Math.floor(s / 3600)}h${Math.floor((s % 3600) / 60)}m`;
  return `${Math.floor(s / 86_400)}d${Math.floor((s % 86_400) / 3600)}h`;
}

/** `-` for an absent time. */
export function formatAge(timestamp: string | undefined, nowMs: number): string {
  const then = timestamp === undefined ? Number.NaN : Date.parse(timestamp);
  return Number.isNaN(then) ? '-' : formatDuration((nowMs - then) / 1000);
}
