/** One set of the kernel: what is there, what is wanted, and the lines of `ipset restore` between the two. */
import { DeltaTracker, type IpFamily } from '#kit';
import type { SetId } from '#model';
import type { KernelSetType } from '../../render/names.ts';
import type { SetCreation, SetMemberChange } from '../command.ts';

/** Members that one set may hold. */
export const setMembersMax = 1_048_576;

export interface KernelSet {
  readonly name: string;
  /** Undefined: read back, and never wanted. */
  id: SetId | undefined;
  readonly type: KernelSetType;
  readonly family: IpFamily;
  /** It is in the kernel. */
  exists: boolean;
  wanted: boolean;
  /** In the kernel with room for fewer members than ours: built anew and swapped. */
  rebuild: boolean;
  /** In the kernel under our name, but of another type (somebody else made it): destroyed first. */
  foreign: boolean;
  readonly members: DeltaTracker<string, true>;
}

/** Undefined for a line that does not make a known set as `createLine` says. */
export function creation(line: string, sets: ReadonlyMap<string, KernelSet>): SetCreation | undefined {
  const [, name = '', room] = /^create (\S+) hash:\S+ family \S+ maxelem (\d+) -exist$/.exec(line) ?? [];
  const set = sets.get(name);
  return set && { op: 'create', set: name, type: set.type, family: set.family, room: Number(room) };
}

/**
 * Undefined for a line that changes no member of a known set.
 *
 * @param made by lines before it.
 */
export function memberChange(
  line: string,
  sets: ReadonlyMap<string, KernelSet>,
  made: ReadonlySet<string>,
): SetMemberChange | undefined {
  const [op, name = '', member] = line.split(' ');
  const set = sets.get(name);
  if (!set || !(set.exists || made.has(name)) || member === undefined || (op !== 'add' && op !== 'del'))
    return undefined;
  return { op, set: name, type: set.type, family: set.family, member };
}

export function newKernelSet(name: string, type: KernelSetType, family: IpFamily): KernelSet {
  return {
    name,
    id: undefined,
    type,
    family,
    exists: false,
    wanted: false,
    rebuild: false,
    foreign: false,
    members: new DeltaTracker(),
  };
}
export function createLine(name: string, set: KernelSet): string {
  return `create ${name} hash:${set.type} family ${set.family === 4 ? 'inet' : 'inet6'} maxelem ${setMembersMax} -exist`;
}
export function* allLines(set: KernelSet, name = set.name): Generator<string> {
  for (const member of set.members.desired.keys()) yield `add ${name} ${member} -exist`;
}
export function* addLines(set: KernelSet): Generator<string> {
  for (const member of set.members.pendingUpdates) yield `add ${set.name} ${member} -exist`;
}
export function* deleteLines(set: KernelSet): Generator<string> {
  for (const member of set.members.pendingDeletes) yield `del ${set.name} ${member} -exist`;
}
export function* rebuildLines(set: KernelSet): Generator<string> {
  const temporary = `${set.name}.t`;
  yield createLine(temporary, set);
  yield `flush ${temporary}`;
  yield* allLines(set, temporary);
  yield `swap ${temporary} ${set.name}`;
  yield `destroy ${temporary}`;
}
