/** What `ipset save` prints of our sets. */
import type { IpFamily } from '#kit';
import type { KernelSetType } from '../../render/names.ts';
import { savedMember } from './members.ts';

interface SavedSet {
  readonly type: KernelSetType;
  readonly family: IpFamily;
  readonly maxelem: number;
  readonly members: string[];
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
      if (words[0] === 'add' && words[2] !== undefined) sets.get(name)?.members.push(savedMember(words[2]));
      if (words[0] !== 'create' || !isOurs(name)) return;
      const value = (key: string): string | undefined => words[words.indexOf(key) + 1];
      sets.set(name, {
        type: (words[2] ?? '').replace('hash:', '') as KernelSetType,
        family: value('family') === 'inet6' ? 6 : 4,
        maxelem: Number(value('maxelem')),
        members: [],
      });
    },
  };
}
