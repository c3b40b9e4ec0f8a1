/** What `ipset save` prints, a line at a time. */
import type { IpFamily } from '#kit';
import type { KernelSetType } from '../../render/names.ts';
import type { MemberLife } from '../command.ts';
import { lifeIn } from './kernel-set.ts';
import { savedMember } from './members.ts';

/** A member of a passing set, as it was read back. */
export interface PassingMember extends MemberLife {
  readonly address: string;
}
export interface SavedSet {
  readonly type: KernelSetType;
  readonly family: IpFamily;
  readonly maxelem: number;
  readonly passing: boolean;
}
/** A set comes before its members. */
export interface SavedSetReader {
  readonly isOurs: (name: string) => boolean;
  set(name: string, saved: SavedSet): void;
  /** Also of sets that are not ours. `life`: of one with a timeout. */
  member(set: string, member: string, life: MemberLife | undefined): void;
}

export function readSavedLine(line: string, { isOurs, set, member }: SavedSetReader): void {
  if (line.startsWith('add ')) {
    // No array of words: there may be a million.
    const at = line.indexOf(' ', 4);
    const end = line.indexOf(' ', at + 1);
    const text = line.slice(at + 1, end < 0 ? undefined : end);
    member(line.slice(4, at), savedMember(text), end < 0 ? undefined : lifeIn(line.slice(end + 1).split(' ')));
    return;
  }
  const words = line.split(' ');
  const name = words[1];
  if (words[0] !== 'create' || name === undefined || !isOurs(name)) return;
  const value = (key: string): string | undefined => words[words.indexOf(key) + 1];
  set(name, {
    type: (words[2] ?? '').replace('hash:', '') as KernelSetType,
    family: value('family') === 'inet6' ? 6 : 4,
    maxelem: Number(value('maxelem')),
    passing: words.includes('timeout'),
  });
}
