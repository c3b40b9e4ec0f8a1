/** One set of the kernel: what is there, what is wanted, and the lines of `ipset restore` between the two. */
import { DeltaTracker, type IpFamily } from '#kit';
import type { SetId } from '#model';
import type { KernelSetType } from '../../render/names.ts';
import type { MemberLife, SetCreation, SetMemberChange } from '../command.ts';

/** Members that a set has room for at first (ipset's maxelem); it costs nothing before they come. */
const roomDefault = 1_048_576;
/** Of a set whose members go by themselves. */
const passingRoomDefault = 65_536;
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
  /** Members that it has room for in the kernel; with less than it needs it is built anew and swapped. */
  room: number;
  /** In the kernel under our name, but of another type (somebody else made it): destroyed first. */
  foreign: boolean;
  /** Actual: at which reading, or before which, it was there last. */
  readonly members: DeltaTracker<string, number>;
}

/** Undefined for a line that does not make a known set as `createLine` says, or makes one whose members go by themselves. */
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
  const [op, name = '', member, ...options] = line.split(' ');
  const set = sets.get(name);
  if (!set || !(set.exists || made.has(name)) || member === undefined || (op !== 'add' && op !== 'del'))
    return undefined;
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

export function newKernelSet(name: string, type: KernelSetType, family: IpFamily, passing: boolean): KernelSet {
  return {
    name,
    id: undefined,
    type,
    family,
    passing,
    exists: false,
    wanted: false,
    room: 0,
    foreign: false,
    members: new DeltaTracker(() => true),
  };
}
/**
 * Room for all members that it has while it changes: those that come are added before those that go are removed.
 *
 * @param roomMin undefined: the usual.
 */
export function roomNeeded({ members, room, passing }: KernelSet, roomMin: number | undefined): number {
  const needed = members.actual.size + members.pendingUpdates.size;
  let enough = Math.max(room, roomMin ?? (passing ? passingRoomDefault : roomDefault));
  while (enough < needed) enough *= 2;
  return enough;
}

export function addLines(set: KernelSet, lifeOf: LifeOf): Generator<string> {
  return memberLines(set, lifeOf, set.name, set.members.pendingUpdates);
}
export function* deleteLines(set: KernelSet): Generator<string> {
  for (const member of set.members.pendingDeletes) yield `del ${set.name} ${member} -exist`;
}

export interface PendingChange {
  readonly id: SetId;
  readonly added: readonly string[];
  readonly removed: readonly string[];
}
/** Of sets that are there and wanted, but not of passing ones; both families of a set together. */
export function pendingChanges(sets: Iterable<KernelSet>): PendingChange[] {
  const changes = new Map<SetId, { id: SetId; added: string[]; removed: string[] }>();
  for (const { id, wanted, exists, passing, members } of sets) {
    if (id === undefined || !wanted || !exists || passing || members.inSync) continue;
    const change = changes.get(id) ?? { id, added: [], removed: [] };
    changes.set(id, change);
    for (const member of members.pendingUpdates) change.added.push(member);
    for (const member of members.pendingDeletes) change.removed.push(member);
  }
  return [...changes.values()];
}

/** What holds a set's members while it is built anew. */
export const temporaryName = (set: KernelSet): string => `${set.name}.t`;
/**
 * Makes one that is not there as it has to be. What of it is there is as after `addLines`, or after `deleteLines` where `turned`: rules that name the
 * set see one change, from the one to the other.
 */
export function* buildLines(set: KernelSet, room: number, lifeOf: LifeOf, turned: boolean): Generator<string> {
  const { name } = set;
  const { desired, pendingUpdates, pendingDeletes } = set.members;
  if (set.foreign || !set.exists) {
    if (set.foreign) yield `destroy ${name}`;
    yield createLine(name, set, room);
    yield* memberLines(set, lifeOf, name, desired.keys());
    return;
  }
  const temporary = temporaryName(set);
  yield createLine(temporary, set, room);
  yield `flush ${temporary}`;
  const kept = turned ? desired.keys().filter((member) => !pendingUpdates.has(member)) : desired.keys();
  yield* memberLines(set, lifeOf, temporary, kept);
  if (!turned) yield* memberLines(set, lifeOf, temporary, pendingDeletes);
  yield `swap ${temporary} ${name}`;
  yield `destroy ${temporary}`;
}

function createLine(name: string, { type, family, passing }: KernelSet, room: number): string {
  const lives = passing ? ` timeout ${passingTimeoutSec} comment` : '';
  return `create ${name} hash:${type} family ${family === 4 ? 'inet' : 'inet6'} maxelem ${room}${lives} -exist`;
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
