/**
 * Our sets in the kernel, both families, kept equal to what is wanted.
 *
 * Goals, and how each is met:
 * - Cost follows the change: each kernel set has a delta tracker of members, and only sets that changed are looked at. All
 *   lines of a step go through one `ipset restore`; a few sets that come and a few members go by netlink instead, where a writer is given: a pod
 *   that comes waits for them.
 * - Order: `grow` (create, add) before the rules that name a set, `shrink` after them, `sweep` (destroy) last. Which sets turn the order round
 *   is the caller's business (`contested`).
 * - Adoption: `ipset save` once at the start; what is equal is not written.
 * - Lines carry -exist, so that a batch which failed half way can be sent again: `ipset restore` is not atomic.
 * - Members of a `passing` set go by themselves, in the kernel, when their time is over, also while no agent runs: it is never told to delete one
 *   that lapsed. One that comes (`learn`) is there when the call returns, whatever else is being written.
 * - A set that would overflow, or was found with less room than ours have, is built anew under a temporary name with more room and swapped before
 *   anything is added; its rules do not notice. No set has a size that it cannot pass: what the model can hold bounds it.
 *
 * A failed command leaves everything unknown (`stale`) until the next `read`.
 */
import type { Clock, IpFamily, Logger } from '#kit';
import type { SetId } from '#model';
import { pacedArray } from '../../pace.ts';
import type { KernelSetType, Names } from '../../render/names.ts';
import {
  type CommandRunner,
  newCounters,
  type SetMemberChange,
  type SetMemberWriter,
  type WriteCounters,
} from '../command.ts';
import { restoreLines } from './commands.ts';
import {
  addLines,
  buildLines,
  deleteLines,
  type KernelSet,
  type LifeOf,
  newKernelSet,
  type PendingChange,
  pendingChanges,
  roomNeeded,
  temporaryName,
} from './kernel-set.ts';
import { kernelMembers } from './members.ts';
import { readBack } from './read-back.ts';
import type { PassingMember } from './saved-sets.ts';
import { SetNames } from './set-names.ts';

interface LogicalSet {
  readonly type: KernelSetType;
  readonly passing: boolean;
  readonly members: Set<string>;
}

export interface IpsetOptions {
  readonly names: Names;
  readonly families: readonly IpFamily[];
  /** This set's members are there before anything else of a `grow`. */
  readonly first?: SetId;
  /** Members that every set has room for; default 1,048,576, or 65,536 where they go by themselves. */
  readonly room?: number;
}

export class Ipsets {
  readonly counters: WriteCounters = newCounters();
  readonly #run: CommandRunner['run'];
  readonly #members: SetMemberWriter | undefined;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #lifeOf: LifeOf;
  readonly #options: IpsetOptions;
  /** Of passing sets, when they were last read back. */
  #found: { readonly atMs: number; readonly members: ReadonlyMap<string, readonly PassingMember[]> } | undefined;
  readonly #logical = new Map<SetId, LogicalSet>();
  readonly #setNames: SetNames;
  readonly #kernel = new Map<string, KernelSet>();
  readonly #passing = new Set<SetId>();
  readonly #dirty = new Set<KernelSet>();
  /** What the `grow` that is on its way makes, or makes anew, and the room that it will have. */
  readonly #building = new Map<KernelSet, number>();
  #stale = true;
  /** How often sets were read back. */
  #readings = 0;

  constructor(
    deps: {
      readonly run: CommandRunner['run'];
      readonly log: Logger;
      readonly clock: Clock;
      readonly members?: SetMemberWriter;
      /** Needed for passing sets. */
      readonly lifeOf?: LifeOf;
    },
    options: IpsetOptions,
  ) {
    this.#lifeOf = deps.lifeOf ?? (() => undefined);
    this.#run = deps.run;
    this.#members = deps.members;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#options = options;
    this.#setNames = new SetNames(options.names);
  }

  get stale(): boolean {
    return this.#stale;
  }
  get setCount(): number {
    return this.#logical.size;
  }
  /** Some set whose members go by themselves is wanted. */
  get hasPassing(): boolean {
    return this.#passing.size > 0;
  }
  typeOf(id: SetId): KernelSetType | undefined {
    return this.#logical.get(id)?.type;
  }
  /** Kernel name of a wanted set. */
  nameOf(id: SetId, family: IpFamily): string | undefined {
    const set = this.#logical.get(id);
    return set && this.#kernelName(id, set.type, family);
  }

  /** The whole set, of mixed families; replaces what it was. A member that is not of the type is left out and logged. */
  desire(
    id: SetId,
    type: KernelSetType,
    members: Iterable<string>,
    options: { readonly passing?: boolean } = {},
  ): void {
    for (const _ of this.desiring(id, type, members, options));
  }
  /** The same, a member a step; `learn` may come between. */
  *desiring(
    id: SetId,
    type: KernelSetType,
    members: Iterable<string>,
    { passing = false }: { readonly passing?: boolean } = {},
  ): Generator<void> {
    const before = this.#logical.get(id);
    if (before && before.type !== type) this.undesire(id);
    const logical: LogicalSet = { type, passing, members: new Set() };
    this.#logical.set(id, logical);
    if (passing) this.#passing.add(id);
    const split = new Map<IpFamily, [string, number][]>(this.#options.families.map((family) => [family, []]));
    for (const member of members) {
      logical.members.add(member);
      for (const entry of this.#entries(id, type, member)) split.get(entry.family)?.push([entry.text, 0]);
      // What is learnt in between would be taken for what nobody wants.
      if (!passing) yield;
    }
    for (const [family, entries] of split) {
      const set = this.#kernelSet(id, type, family);
      set.wanted = true;
      // Another program made it under our name, or an agent for which it was another: destroyed first.
      if (set.exists && set.passing !== passing) set.foreign = true;
      set.passing = passing;
      this.#dirty.add(set);
      if (passing) set.members.replaceDesired(entries);
      else yield* set.members.replacingDesired(entries);
    }
  }

  /** @throws Error when the set was never desired (a programmer's error: deltas follow the set). */
  delta(id: SetId, added: Iterable<string>, removed: Iterable<string>): void {
    for (const _ of this.changing(id, added, removed));
  }
  /** The same, a member a step. */
  *changing(id: SetId, added: Iterable<string>, removed: Iterable<string>): Generator<void> {
    const logical = this.#logical.get(id);
    if (!logical) throw new Error(`a change of the set "${id}", which does not exist`);
    for (const member of removed) {
      yield;
      if (!logical.members.delete(member)) continue;
      for (const { family, text } of this.#entries(id, logical.type, member)) {
        // A /0 is held as two /1, which may be members by themselves as well.
        if (
          logical.members.has(text) ||
          (text.endsWith('/1') && logical.members.has(family === 4 ? '0.0.0.0/0' : '::/0'))
        )
          continue;
        const set = this.#touch(id, logical.type, family);
        set?.members.undesire(text);
        // It has gone by itself: a deletion on its way could meet the same address as it comes again.
        if (logical.passing) set?.members.gone(text);
      }
    }
    for (const member of added) {
      yield;
      logical.members.add(member);
      for (const { family, text } of this.#entries(id, logical.type, member)) {
        this.#touch(id, logical.type, family)?.members.desire(text, 0);
      }
    }
  }

  /**
   * Members of passing sets, in the kernel when this returns: new ones, and more time for those that are there. Needs a writer.
   *
   * Where they cannot be (the set is not there yet), `delta` does it a moment later.
   */
  learn(id: SetId, members: readonly PassingMember[]): void {
    const logical = this.#logical.get(id);
    if (!logical?.passing || !this.#members) return;
    const changes: SetMemberChange[] = [];
    const into: { readonly set: KernelSet; readonly text: string }[] = [];
    for (const { address, timeoutSec, comment } of members) {
      for (const { family, text } of this.#entries(id, logical.type, address)) {
        if (!this.#options.families.includes(family)) continue;
        const set = this.#kernelSet(id, logical.type, family);
        if (!set.exists || set.foreign || this.#building.has(set)) return;
        const { name, type } = set;
        changes.push({ op: 'add', set: name, type, family, member: text, life: { timeoutSec, comment } });
        into.push({ set, text });
      }
    }
    const failure = this.#members.change(changes);
    if (failure !== undefined) {
      this.#log.warn({ set: id, reason: failure }, 'addresses of names are not in the kernel yet');
      return;
    }
    for (const { address } of members) logical.members.add(address);
    for (const { set, text } of into) {
      set.members.desire(text, 0);
      set.members.found(text, this.#readings);
    }
  }

  /** What a passing set held when it was last read back and lives still, of both families. */
  foundIn(id: SetId): PassingMember[] {
    const found = this.#found;
    if (!found) return [];
    const passedSec = (this.#clock.nowMs() - found.atMs) / 1000;
    return this.#options.families
      .flatMap((family) => found.members.get(this.#setNames.nameOf(id, 'ip', family, false)) ?? [])
      .map((member) => ({ ...member, timeoutSec: Math.floor(member.timeoutSec - passedSec) }))
      .filter(({ timeoutSec }) => timeoutSec > 0);
  }

  undesire(id: SetId): void {
    for (const _ of this.undesiring(id));
  }
  /** The same, a member a step. */
  *undesiring(id: SetId): Generator<void> {
    const logical = this.#logical.get(id);
    if (!logical) return;
    this.#logical.delete(id);
    this.#passing.delete(id);
    this.#setNames.forget(id);
    for (const family of this.#options.families) {
      const set = this.#kernelSet(id, logical.type, family);
      set.wanted = false;
      this.#dirty.add(set);
      yield* set.members.replacingDesired([]);
    }
  }

  /** What is about to change of sets that are in the kernel, both families together; of passing ones nothing does that policy says. */
  pendingChanges(): PendingChange[] {
    return pendingChanges(this.#dirty);
  }

  /** Reads back every set of ours. @throws IpsetError */
  async read(): Promise<void> {
    this.counters.saveCalls++;
    this.#stale = true;
    this.#readings++;
    const members = await readBack(
      { run: this.#run, clock: this.#clock },
      {
        kernel: this.#kernel,
        isOurs: (name) => this.#setNames.isOurs(name),
        reading: this.#readings,
        onChange: (set) => this.#dirty.add(set),
        onGone: (set) => this.#forget(set),
      },
    );
    this.#found = { atMs: this.#clock.nowMs(), members };
    this.#stale = false;
  }

  /**
   * Before the rules: creates sets and adds members. Of `contested` sets that exist already, members are removed instead of added.
   * @throws IpsetError
   */
  async grow(contested: ReadonlySet<SetId>): Promise<void> {
    const turned = this.#names(contested);
    try {
      const lines = await pacedArray(this.#clock, this.#growLines(turned));
      if (await this.#restore(lines)) this.#grown(turned);
    } finally {
      this.#building.clear();
    }
  }

  #grown(turned: ReadonlySet<string>): void {
    for (const [set, room] of this.#building) {
      set.room = room;
      // It was in the way, and is gone now.
      const temporary = this.#kernel.get(temporaryName(set));
      if (temporary) this.#forget(temporary);
    }
    for (const set of this.#dirty) {
      if (!set.wanted) continue;
      const turnRound = set.exists && turned.has(set.name) && !set.foreign;
      if (turnRound) for (const member of [...set.members.pendingDeletes]) set.members.gone(member);
      else for (const member of [...set.members.pendingUpdates]) set.members.found(member, this.#readings);
      if (set.foreign) set.members.replaceActual(set.members.desired);
      set.exists = true;
      set.foreign = false;
    }
  }

  /** After the rules: what `grow` left, removals and the additions of contested sets. @throws IpsetError */
  async shrink(): Promise<void> {
    const lines = await pacedArray(this.#clock, this.#shrinkLines());
    if (await this.#restore(lines)) {
      for (const set of this.#dirty) {
        if (!set.wanted) continue;
        for (const member of [...set.members.pendingUpdates]) set.members.found(member, this.#readings);
        for (const member of [...set.members.pendingDeletes]) set.members.gone(member);
      }
    }
    for (const set of [...this.#dirty]) if (set.wanted) this.#dirty.delete(set);
  }

  /** Last: destroys what nothing names any more. @throws IpsetError when the kernel says that one is still in use. */
  async sweep(): Promise<void> {
    const doomed = [...this.#dirty].filter((set) => !set.wanted);
    const there = doomed.filter((set) => set.exists);
    await this.#restore(there.map((set) => `destroy ${set.name}`));
    for (const set of doomed) this.#forget(set);
  }

  #forget(set: KernelSet): void {
    this.#dirty.delete(set);
    this.#kernel.delete(set.name);
  }
  #names(ids: ReadonlySet<SetId>): Set<string> {
    const names = new Set<string>();
    for (const id of ids) for (const family of this.#options.families) names.add(this.nameOf(id, family) ?? '');
    return names;
  }
  #kernelName(id: SetId, type: KernelSetType, family: IpFamily): string {
    return this.#setNames.nameOf(id, type, family, this.#logical.has(id));
  }
  #kernelSet(id: SetId, type: KernelSetType, family: IpFamily): KernelSet {
    const name = this.#kernelName(id, type, family);
    const known = this.#kernel.get(name);
    if (known?.type === type && known.family === family) {
      known.id = id;
      return known;
    }
    // Read back before it was wanted, and not what we would have made.
    const set = newKernelSet(name, type, family, false);
    set.id = id;
    if (known) {
      this.#dirty.delete(known);
      Object.assign(set, { exists: true, foreign: true });
    }
    this.#kernel.set(name, set);
    return set;
  }
  #touch(id: SetId, type: KernelSetType, family: IpFamily): KernelSet | undefined {
    if (!this.#options.families.includes(family)) return undefined;
    const set = this.#kernelSet(id, type, family);
    this.#dirty.add(set);
    return set;
  }
  #entries(id: SetId, type: KernelSetType, member: string) {
    const entries = kernelMembers(type, member);
    if (!entries) this.#log.error({ set: id, type, member }, 'set member is not of its type, left out');
    return entries ?? [];
  }

  *#growLines(turned: ReadonlySet<string>): Generator<string> {
    const isFirst = ({ id }: KernelSet): boolean => id !== undefined && id === this.#options.first;
    const ordered = [...this.#dirty].sort((one, other) => Number(isFirst(other)) - Number(isFirst(one)));
    for (const set of ordered) {
      if (!set.wanted) continue;
      const room = roomNeeded(set, this.#options.room);
      const isTurned = turned.has(set.name);
      if (set.exists && !set.foreign && set.room >= room) {
        yield* isTurned ? deleteLines(set) : addLines(set, this.#lifeOf);
        continue;
      }
      this.#building.set(set, room);
      // Of a run that ended in the middle.
      if (this.#kernel.get(temporaryName(set))?.exists) yield `destroy ${temporaryName(set)}`;
      yield* buildLines(set, room, this.#lifeOf, isTurned);
    }
  }

  *#shrinkLines(): Generator<string> {
    for (const set of this.#dirty) {
      if (!set.wanted) continue;
      yield* addLines(set, this.#lifeOf);
      yield* deleteLines(set);
    }
  }

  /** False when there was nothing to send. */
  async #restore(lines: readonly string[]): Promise<boolean> {
    if (lines.length === 0) return false;
    this.counters.restoreCalls++;
    this.counters.restoreLines += lines.length;
    this.#stale = true;
    await restoreLines({ run: this.#run, members: this.#members }, this.#kernel, lines);
    this.#stale = false;
    return true;
  }
}
