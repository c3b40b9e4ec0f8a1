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
  readonly members: string[];
  /** Of a passing set. */
  readonly lives: PassingMember[];
}

export function ipsetSaveParser(isOurs: (name: string) => boolean): {
  readonly sets: Map<string, SavedSet>;
  line(line: string): void;
} {
  const sets = new Map<string, SavedSet>();
  return {
    sets,
    line(line) {
      const words = line.split(' ');
      const name = words[1];
      if (name === undefined) return;
      if (words[0] === 'add' && words[2] !== undefined) {
        const set = sets.get(name);
        const member = savedMember(words[2]);
        set?.members.push(member);
        const life = set?.passing ? lifeIn(words.slice(3)) : undefined;
        if (life) set?.lives.push({ address: member, ...life });
      }
      if (words[0] !== 'create' || !isOurs(name)) return;
      const value = (key: string): string | undefined => words[words.indexOf(key) + 1];
      sets.set(name, {
        type: (words[2] ?? '').replace('hash:', '') as KernelSetType,
        family: value('family') === 'inet6' ? 6 : 4,
        maxelem: Number(value('maxelem')),
        passing: words.includes('timeout'),
        members: [],
        lives: [],
      });
    },
  };
}
