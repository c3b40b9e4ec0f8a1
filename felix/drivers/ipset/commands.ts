/** The kernel's sets by way of the `ipset` command, few sets that come and few members by netlink. */
import { type Clock, PoplinError } from '#kit';
import {
  type CommandRunner,
  runLines,
  type SetCreation,
  type SetMemberChange,
  type SetMemberWriter,
} from '../command.ts';
import { creation, type KernelSet, memberChange } from './kernel-set.ts';
import { readSavedLine, type SavedSetReader } from './saved-sets.ts';

export type IpsetFailure = { readonly code: 'SAVE_FAILED' | 'RESTORE_FAILED'; readonly stderr: string };
export class IpsetError extends PoplinError<IpsetFailure> {}

/** More changes than this in one step go through `ipset restore`: netlink holds up the thread. */
const directChangesMax = 200;
/** What one call of `ipset restore` gets, 1 MB: to put a text of more together takes too much of one turn of the loop. */
const callLines = 20_000;
/** 100,000 members take up to 3 s. */
const commandTimeoutMs = 120_000;

/** @throws IpsetError, when some may have been read already. */
export async function readSets(
  runner: { readonly run: CommandRunner['run']; readonly clock: Clock },
  reader: SavedSetReader,
): Promise<void> {
  const { code, stderr } = await runLines(runner, ['ipset', 'save'], { timeoutMs: commandTimeoutMs }, (line) =>
    readSavedLine(line, reader),
  );
  if (code !== 0) throw new IpsetError(`reading sets failed: ${stderr.trim()}`, { code: 'SAVE_FAILED', stderr });
}

/** @param sets by name: of these, what `members` takes may go by it. @throws IpsetError when some of the lines may not be in the kernel. */
export async function restoreLines(
  { run, members }: { readonly run: CommandRunner['run']; readonly members: SetMemberWriter | undefined },
  sets: ReadonlyMap<string, KernelSet>,
  lines: readonly string[],
): Promise<void> {
  const changes = members && memberChanges(sets, lines);
  if (changes) {
    const failure = members.change(changes);
    if (failure === undefined) return;
    throw new IpsetError(`making or changing a set failed: ${failure}`, { code: 'RESTORE_FAILED', stderr: failure });
  }
  for (let at = 0; at < lines.length; at += callLines) await restoreSome(run, lines.slice(at, at + callLines));
}

async function restoreSome(run: CommandRunner['run'], lines: readonly string[]): Promise<void> {
  const { code, stderr } = await run(['ipset', 'restore'], {
    stdin: `${lines.join('\n')}\n`,
    timeoutMs: commandTimeoutMs,
  });
  if (code === 0) return;
  const line = /line (\d+)/.exec(stderr)?.[1];
  const text = line === undefined ? '' : ` (line ${line}: ${lines[Number(line) - 1] ?? ''})`;
  throw new IpsetError(`writing sets failed: ${stderr.trim()}${text}`, { code: 'RESTORE_FAILED', stderr });
}

/** Undefined: too many, or something else among them. */
function memberChanges(
  sets: ReadonlyMap<string, KernelSet>,
  lines: readonly string[],
): readonly (SetMemberChange | SetCreation)[] | undefined {
  if (lines.length > directChangesMax) return undefined;
  const changes: (SetMemberChange | SetCreation)[] = [];
  const made = new Set<string>();
  for (const line of lines) {
    const change = creation(line, sets) ?? memberChange(line, sets, made);
    if (!change) return undefined;
    if (change.op === 'create') made.add(change.set);
    changes.push(change);
  }
  return changes;
}
