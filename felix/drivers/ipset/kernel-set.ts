/** One set of the kernel: what is there, what is wanted, and the lines of `ipset restore` between the two. */
import { DeltaTracker, type IpFamily } from '#kit';
import type { SetId } from '#model';
import type { KernelSetType } from '../../render/names.ts';
import type { SetMemberChange } from '../command.ts';

/** Members that a set has room for at first (ipset's maxelem); it costs nothing before they come. */
export const setRoomDefault = 1_048_576;

export interface KernelSet {
  readonly name: string;
  /** Undefined: read back, and never wanted. */
  id: SetId | undefined;
  readonly type: KernelSetType;
  readonly family: IpFamily;
  /** It is in the kernel. */
  exists: boolean;
  wanted: boolean;
  /** Members that it has room for in the kernel; with less than it needs it is built anew and swapped. */
  room: number;
  /** In the kernel under our name, but of another type (somebody else made it): destroyed first. */
  foreign: boolean;
  readonly members: DeltaTracker<string, true>;
}

/** Undefined for a line that changes no member of a known set. */
export function memberChange(line: string, sets: ReadonlyMap<string, KernelSet>): SetMemberChange | undefined {
  const [op, name = '', member] = line.split(' ');
  const set = sets.get(name);
  if (!set?.exists || member === undefined || (op !== 'add' && op !== 'del')) return undefined;
  return { op, set: name, type: set.type, family: set.family, member };
}

export function newKernelSet(name: string, type: KernelSetType, family: IpFamily, room: number): KernelSet {
  return {
    name,
    id: undefined,
    type,
    family,
    exists: false,
    wanted: false,
    room,
    foreign: false,
    members: new DeltaTracker(),
  };
}
/** Room for all members that it has while it changes: those that come are added before those that go are removed. */
export function roomNeeded({ members, room }: KernelSet, roomMin: number): number {
  const needed = members.actual.size + members.pendingUpdates.size;
  let enough = Math.max(room, roomMin);
  while (enough < needed) enough *= 2;
  return enough;
}
export function createLine(name: string, { type, family }: KernelSet, room: number): string {
  return `create ${name} hash:${type} family ${family === 4 ? 'inet' : 'inet6'} maxelem ${room} -exist`;
}
export function* allLines(set: KernelSet): Generator<string> {
  for (const member of set.members.desired.keys()) yield `add ${set.name} ${member} -exist`;
}
export function* addLines(set: KernelSet): Generator<string> {
  for (const member of set.members.pendingUpdates) yield `add ${set.name} ${member} -exist`;
}
export function* deleteLines(set: KernelSet): Generator<string> {
  for (const member of set.members.pendingDeletes) yield `del ${set.name} ${member} -exist`;
}
/** What holds a set's members while it is built anew. */
export const temporaryName = (set: KernelSet): string => `${set.name}.t`;
/** As `addLines` with more room, or as `deleteLines` where `turned`: rules that name the set see one change, from the one to the other. */
export function* rebuildLines(set: KernelSet, room: number, turned: boolean): Generator<string> {
  const temporary = temporaryName(set);
  const { desired, pendingUpdates, pendingDeletes } = set.members;
  yield createLine(temporary, set, room);
  yield `flush ${temporary}`;
  for (const member of desired.keys()) {
    if (!turned || !pendingUpdates.has(member)) yield `add ${temporary} ${member} -exist`;
  }
  if (!turned) for (const member of pendingDeletes) yield `add ${temporary} ${member} -exist`;
  yield `swap ${temporary} ${set.name}`;
  yield `destroy ${temporary}`;
}
