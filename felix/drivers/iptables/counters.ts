/** What rules of ours counted: packets and bytes by the hash that each rule carries in its comment. Reads, and takes no lock for long. */
import type { IpFamily } from '#kit';
import { hashInLine } from '../../render/rule.ts';
import type { CommandRunner } from '../command.ts';
import { type Backend, saveArgv } from './backend.ts';

export interface PacketCount {
  readonly packets: number;
  readonly bytes: number;
}

const commandTimeoutMs = 10_000;

/**
 * Of the mangle table, which holds every verdict. Since a rule was last written: a chain that is replaced begins again.
 *
 * @throws Error when the table cannot be read.
 */
export async function readCounters(
  run: CommandRunner['run'],
  options: { readonly backend: Backend; readonly family: IpFamily; readonly env: Readonly<Record<string, string>> },
): Promise<Map<string, PacketCount>> {
  const { backend, family, env } = options;
  const result = await run([...saveArgv(backend, family, 'mangle'), '-c'], { env, timeoutMs: commandTimeoutMs });
  if (result.code !== 0)
    throw new Error(`reading counters of IPv${family} (${backend}) failed: ${result.stderr.trim()}`);
  return parseCounters(result.stdout);
}

/** `[12:720] -A CHAIN ... --comment "poplin:HASH ..." ...` */
export function parseCounters(text: string): Map<string, PacketCount> {
  const counts = new Map<string, PacketCount>();
  for (const line of text.split('\n')) {
    const match = /^\[(\d+):(\d+)\] -A /.exec(line);
    const hash = match && hashInLine(line);
    if (hash) counts.set(hash, { packets: Number(match[1]), bytes: Number(match[2]) });
  }
  return counts;
}
