/** One set of the kernel: what is there, what is wanted, and the lines of `ipset restore` between the two. */
import { DeltaTracker, type IpFamily } from '#kit';
import type { SetId } from '#model';
import type { KernelSetType } from '../../render/names.ts';
import type { MemberLife, SetMemberChange } from '../command.ts';

/** Members that one set may hold. */
const setMembersMax = 1_048_576;
/** Of a set whose members go by themselves. */
const passingMembersMax = 65_536;
/** Of a member that somebody else adds to one. */
const passingTimeoutSec = 60;

/** How long a member of a passing set has still to live; undefined: it is over. */
export type LifeOf = (id: SetId, address: string) => MemberLife | undefined;

export interface KernelSet {
  readonly name: string;
  /** Undefined: read back, and never wanted. */
  id: SetId | undefined;
  readonly type: KernelSetType;
  readonly family: IpFamily;
  /** Members have a time each, and go when it is over. */
  passing: boolean;
  /** It is in the kernel. */
  exists: boolean;
  wanted: boolean;
  /** In the kernel with room for fewer members than ours: built anew and swapped. */
  rebuild: boolean;
  /** In the kernel under our name, but of another type (somebody else made it): destroyed first. */
  foreign: boolean;
  readonly members: DeltaTracker<string, true>;
}

/** Undefined for a line that changes no member of a known set. */
export function memberChange(line: string, sets: ReadonlyMap<string, KernelSet>): SetMemberChange | undefined {
  const [op, name = '', member, ...options] = line.split(' ');
  const set = sets.get(name);
  if (!set?.exists || member === undefined || (op !== 'add' && op !== 'del')) return undefined;
  const life = lifeIn(options);
  return { op, set: name, type: set.type, family: set.family, member, ...(life && { life }) };
}

/** Of `timeout 12 comment "www.example.com"`. */
export function lifeIn(words: readonly string[]): MemberLife | undefined {
  const value = (key: string): string | undefined => {
    const at = words.indexOf(key);
    return at < 0 ? undefined : words[at + 1];
  };
  const timeout = value('timeout');
  if (timeout === undefined) return undefined;
  return { timeoutSec: Number(timeout), comment: value('comment')?.replaceAll('"', '') ?? '' };
}

export function membersMaxOf({ passing }: KernelSet): number {
  return passing ? passingMembersMax : setMembersMax;
}

export function newKernelSet(name: string, type: KernelSetType, family: IpFamily, passing: boolean): KernelSet {
  return {
    name,
    id: undefined,
    type,
    family,
    passing,
    exists: false,
    wanted: false,
    rebuild: false,
    foreign: false,
    members: new DeltaTracker(),
  };
}
export function createLine(name: string, set: KernelSet): string {
  const family = set.family === 4 ? 'inet' : 'inet6';
  const passing = set.passing ? ` timeout ${passingTimeoutSec} comment` : '';
  return `create ${name} hash:${set.type} family ${family} maxelem ${membersMaxOf(set)}${passing} -exist`;
}
export function allLines(set: KernelSet, lifeOf: LifeOf, name = set.name): Generator<string> {
  return memberLines(set, lifeOf, name, set.members.desired.keys());
}
export function addLines(set: KernelSet, lifeOf: LifeOf): Generator<string> {
  return memberLines(set, lifeOf, set.name, set.members.pendingUpdates);
}
function* memberLines(set: KernelSet, lifeOf: LifeOf, name: string, members: Iterable<string>): Generator<string> {
  for (const member of members) {
    if (!set.passing) {
      yield `add ${name} ${member} -exist`;
      continue;
    }
    const life = lifeOf(set.id ?? '', member);
    if (life) yield `add ${name} ${member} timeout ${life.timeoutSec} comment "${life.comment}" -exist`;
  }
}
export function* deleteLines(set: KernelSet): Generator<string> {
  for (const member of set.members.pendingDeletes) yield `del ${set.name} ${member} -exist`;
}
export function* rebuildLines(set: KernelSet, lifeOf: LifeOf): Generator<string> {
  const temporary = `${set.name}.t`;
  yield createLine(temporary, set);
  yield `flush ${temporary}`;
  yield* allLines(set, lifeOf, temporary);
  yield `swap ${temporary} ${set.name}`;
  yield `destroy ${temporary}`;
}
