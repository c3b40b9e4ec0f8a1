/** What the kernel holds of our sets, as `ipset save` prints it, against what is known of them. */
import type { Clock } from '#kit';
import { paced } from '../../pace.ts';
import type { CommandRunner } from '../command.ts';
import { readSets } from './commands.ts';
import { type KernelSet, newKernelSet } from './kernel-set.ts';
import type { PassingMember, SavedSet } from './saved-sets.ts';

export interface ReadBack {
  /** By name; those that are seen first are added. */
  readonly kernel: Map<string, KernelSet>;
  readonly isOurs: (name: string) => boolean;
  /** Of all readings: members that are seen have it from then on. */
  readonly reading: number;
  /** It is there, or is wanted and is not. */
  readonly onChange: (set: KernelSet) => void;
  /** It is not there, and nobody wants it. */
  readonly onGone: (set: KernelSet) => void;
}

/** @returns members of passing sets, by name. @throws IpsetError, when some of it is known already */
export async function readBack(
  runner: { readonly run: CommandRunner['run']; readonly clock: Clock },
  known: ReadBack,
): Promise<ReadonlyMap<string, readonly PassingMember[]>> {
  const { isOurs, reading } = known;
  const seen = new Map<string, KernelSet>();
  const lives = new Map<string, PassingMember[]>();
  await readSets(runner, {
    isOurs,
    set: (name, saved) => {
      seen.set(name, seenSet(name, saved, known));
      if (saved.passing) lives.set(name, []);
    },
    member: (name, member, life) => {
      seen.get(name)?.members.found(member, reading);
      if (life) lives.get(name)?.push({ address: member, ...life });
    },
  });
  await paced(runner.clock, unseen(seen, known));
  return lives;
}

function seenSet(name: string, saved: SavedSet, { kernel, onChange }: ReadBack): KernelSet {
  const set = kernel.get(name) ?? newKernelSet(name, saved.type, saved.family, saved.passing);
  set.foreign = set.type !== saved.type || set.family !== saved.family || set.passing !== saved.passing;
  set.exists = true;
  set.room = saved.maxelem;
  kernel.set(name, set);
  onChange(set);
  return set;
}

/** What was not seen is not there; a member or a set a step. */
function* unseen(
  seen: ReadonlyMap<string, KernelSet>,
  { kernel, reading, onChange, onGone }: ReadBack,
): Generator<void> {
  for (const [name, set] of kernel) {
    for (const [member, at] of set.members.actual) {
      if (at !== reading) set.members.gone(member);
      yield;
    }
    if (seen.has(name)) continue;
    set.exists = false;
    if (set.wanted) onChange(set);
    else onGone(set);
    yield;
  }
}
