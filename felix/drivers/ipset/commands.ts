/** The kernel's sets by way of the `ipset` command, a few members by netlink. */
import { type Clock, PoplinError } from '#kit';
import { paced } from '../../pace.ts';
import type { CommandRunner, SetMemberChange, SetMemberWriter } from '../command.ts';
import { type KernelSet, memberChange } from './kernel-set.ts';
import { ipsetSaveParser, type SavedSet } from './saved-sets.ts';

export type IpsetFailure = { readonly code: 'SAVE_FAILED' | 'RESTORE_FAILED'; readonly stderr: string };
export class IpsetError extends PoplinError<IpsetFailure> {}

/** More changes than this in one step go through `ipset restore`: netlink holds up the thread. */
const directChangesMax = 200;
/** 100,000 members take up to 3 s. */
const commandTimeoutMs = 120_000;

/** By name, those of `isOurs`. @throws IpsetError */
export async function saveSets(
  { run, clock }: { readonly run: CommandRunner['run']; readonly clock: Clock },
  isOurs: (name: string) => boolean,
): Promise<ReadonlyMap<string, SavedSet>> {
  const result = await run(['ipset', 'save'], { timeoutMs: commandTimeoutMs });
  if (result.code !== 0) {
    throw new IpsetError(`reading sets failed: ${result.stderr.trim()}`, {
      code: 'SAVE_FAILED',
      stderr: result.stderr,
    });
  }
  const { sets, line } = ipsetSaveParser(isOurs);
  await paced(clock, result.stdout.split('\n'), line);
  return sets;
}

/** @param sets by name: of these, members may go by `members`. @throws IpsetError when some of the lines may not be in the kernel. */
export async function restoreLines(
  { run, members }: { readonly run: CommandRunner['run']; readonly members: SetMemberWriter | undefined },
  sets: ReadonlyMap<string, KernelSet>,
  lines: readonly string[],
): Promise<void> {
  const changes = members && memberChanges(sets, lines);
  if (changes) {
    const failure = members.change(changes);
    if (failure === undefined) return;
    throw new IpsetError(`changing a member of a set failed: ${failure}`, { code: 'RESTORE_FAILED', stderr: failure });
  }
  const { code, stderr } = await run(['ipset', 'restore'], {
    stdin: `${lines.join('\n')}\n`,
    timeoutMs: commandTimeoutMs,
  });
  if (code === 0) return;
  const line = /line (\d+)/.exec(stderr)?.[1];
  const text = line === undefined ? '' : ` (line ${line}: ${lines[Number(line) - 1] ?? ''})`;
  throw new IpsetError(`writing sets failed: ${stderr.trim()}${text}`, { code: 'RESTORE_FAILED', stderr });
}

/** Undefined: too many, or not all of members. */
function memberChanges(
  sets: ReadonlyMap<string, KernelSet>,
  lines: readonly string[],
): readonly SetMemberChange[] | undefined {
  if (lines.length > directChangesMax) return undefined;
  const changes: SetMemberChange[] = [];
  for (const line of lines) {
    const change = memberChange(line, sets);
    if (!change) return undefined;
    changes.push(change);
  }
  return changes;
}
