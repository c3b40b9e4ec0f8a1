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
 * - A set found with a smaller maxelem than ours is built anew under a temporary name and swapped; its rules do not notice.
 *
 * A failed command leaves everything unknown (`stale`) until the next `read`.
 */
import { type Clock, type IpFamily, type Logger, PoplinError } from '#kit';
import type { SetId } from '#model';
import { paced, pacedArray } from '../../pace.ts';
import { type KernelSetType, kernelSetName, type Names } from '../../render/names.ts';
import {
  type CommandRunner,
  newCounters,
  type SetCreation,
  type SetMemberChange,
  type SetMemberWriter,
  type WriteCounters,
} from '../command.ts';
import {
  addLines,
  allLines,
  createLine,
  creation,
  deleteLines,
  type KernelSet,
  memberChange,
  newKernelSet,
  rebuildLines,
  setMembersMax,
} from './kernel-set.ts';
import { kernelMembers } from './members.ts';
import { ipsetSaveParser } from './saved-sets.ts';

export type IpsetFailure = { readonly code: 'SAVE_FAILED' | 'RESTORE_FAILED'; readonly stderr: string };
export class IpsetError extends PoplinError<IpsetFailure> {}

/** More changes than this in one step go through `ipset restore`: netlink holds up the thread. */
const directChangesMax = 200;
/** 100,000 members take up to 3 s. */
const commandTimeoutMs = 120_000;

interface LogicalSet {
  readonly type: KernelSetType;
  readonly members: Set<string>;
}

export interface IpsetOptions {
  readonly names: Names;
  readonly families: readonly IpFamily[];
  /** This set's members are there before anything else of a `grow`. */
  readonly first?: SetId;
}

export class Ipsets {
  readonly counters: WriteCounters = newCounters();
  readonly #run: CommandRunner['run'];
  readonly #members: SetMemberWriter | undefined;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #options: IpsetOptions;
  readonly #logical = new Map<SetId, LogicalSet>();
  readonly #kernel = new Map<string, KernelSet>();
  readonly #dirty = new Set<KernelSet>();
  #stale = true;

  constructor(
    deps: {
      readonly run: CommandRunner['run'];
      readonly log: Logger;
      readonly clock: Clock;
      readonly members?: SetMemberWriter;
    },
    options: IpsetOptions,
  ) {
    this.#run = deps.run;
    this.#members = deps.members;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#options = options;
  }

  get stale(): boolean {
    return this.#stale;
  }
  get setCount(): number {
    return this.#logical.size;
  }
  typeOf(id: SetId): KernelSetType | undefined {
    return this.#logical.get(id)?.type;
  }
  /** Kernel name of a wanted set. */
  nameOf(id: SetId, family: IpFamily): string | undefined {
    const set = this.#logical.get(id);
    return set && kernelSetName(this.#options.names, family, set.type, id);
  }

  /** The whole set, of mixed families; replaces what it was. A member that is not of the type is left out and logged. */
  desire(id: SetId, type: KernelSetType, members: Iterable<string>): void {
    const before = this.#logical.get(id);
    if (before && before.type !== type) this.undesire(id);
    const logical: LogicalSet = { type, members: new Set(members) };
    this.#logical.set(id, logical);
    const split = new Map<IpFamily, [string, true][]>(this.#options.families.map((family) => [family, []]));
    for (const member of logical.members) {
      for (const entry of this.#entries(id, type, member)) split.get(entry.family)?.push([entry.text, true]);
    }
    for (const [family, entries] of split) {
      const set = this.#kernelSet(id, type, family);
      set.wanted = true;
      set.members.replaceDesired(entries);
      this.#dirty.add(set);
    }
  }

  /** @throws Error when the set was never desired (a programmer's error: deltas follow the set). */
  delta(id: SetId, added: Iterable<string>, removed: Iterable<string>): void {
    const logical = this.#logical.get(id);
    if (!logical) throw new Error(`a change of the set "${id}", which does not exist`);
    for (const member of removed) {
      if (!logical.members.delete(member)) continue;
      for (const { family, text } of this.#entries(id, logical.type, member)) {
        // A /0 is held as two /1, which may be members by themselves as well.
        if (
          logical.members.has(text) ||
          (text.endsWith('/1') && logical.members.has(family === 4 ? '0.0.0.0/0' : '::/0'))
        )
          continue;
        this.#touch(id, logical.type, family)?.members.undesire(text);
      }
    }
    for (const member of added) {
      logical.members.add(member);
      for (const { family, text } of this.#entries(id, logical.type, member)) {
        this.#touch(id, logical.type, family)?.members.desire(text, true);
      }
    }
  }

  undesire(id: SetId): void {
    const logical = this.#logical.get(id);
    if (!logical) return;
    this.#logical.delete(id);
    for (const family of this.#options.families) {
      const set = this.#kernelSet(id, logical.type, family);
      set.wanted = false;
      set.members.replaceDesired([]);
      this.#dirty.add(set);
    }
  }

  /** What is about to change of sets that are in the kernel, both families together. */
  pendingChanges(): { readonly id: SetId; readonly added: readonly string[]; readonly removed: readonly string[] }[] {
    const changes = new Map<SetId, { id: SetId; added: string[]; removed: string[] }>();
    for (const { id, wanted, exists, members } of this.#dirty) {
      if (id === undefined || !wanted || !exists || members.inSync) continue;
      const change = changes.get(id) ?? { id, added: [], removed: [] };
      changes.set(id, change);
      for (const member of members.pendingUpdates) change.added.push(member);
      for (const member of members.pendingDeletes) change.removed.push(member);
    }
    return [...changes.values()];
  }

  /** Reads back every set of ours. @throws IpsetError */
  async read(): Promise<void> {
    this.counters.saveCalls++;
    const result = await this.#run(['ipset', 'save'], { timeoutMs: commandTimeoutMs });
    if (result.code !== 0) {
      this.#stale = true;
      throw new IpsetError(`reading sets failed: ${result.stderr.trim()}`, {
        code: 'SAVE_FAILED',
        stderr: result.stderr,
      });
    }
    const { sets: seen, line } = ipsetSaveParser((name) => this.#isOurs(name));
    await paced(this.#clock, result.stdout.split('\n'), line);
    for (const [name, saved] of seen) {
      const set = this.#kernel.get(name) ?? newKernelSet(name, saved.type, saved.family);
      set.foreign = set.type !== saved.type || set.family !== saved.family;
      this.#kernel.set(name, set);
      set.exists = true;
      set.rebuild = saved.maxelem < setMembersMax;
      set.members.replaceActual(saved.members.map((member) => [member, true] as const));
      this.#dirty.add(set);
    }
    for (const [name, set] of this.#kernel) {
      if (seen.has(name)) continue;
      set.exists = false;
      set.members.replaceActual([]);
      if (set.wanted) this.#dirty.add(set);
      else this.#forget(set);
    }
    this.#stale = false;
  }

  /**
   * Before the rules: creates sets and adds members. Of `contested` sets that exist already, members are removed instead of added.
   * @throws IpsetError
   */
  async grow(contested: ReadonlySet<SetId>): Promise<void> {
    const turned = this.#names(contested);
    const lines = await pacedArray(this.#clock, this.#growLines(turned));
    if (!(await this.#restore(lines))) return;
    for (const set of this.#dirty) {
      if (!set.wanted) continue;
      const anew = set.rebuild || set.foreign;
      const turnRound = set.exists && turned.has(set.name) && !anew;
      if (turnRound) for (const member of [...set.members.pendingDeletes]) set.members.gone(member);
      else for (const member of [...set.members.pendingUpdates]) set.members.found(member, true);
      if (anew) set.members.replaceActual(set.members.desired);
      set.exists = true;
      set.rebuild = false;
      set.foreign = false;
    }
  }

  /** After the rules: what `grow` left, removals and the additions of contested sets. @throws IpsetError */
  async shrink(): Promise<void> {
    const lines = await pacedArray(this.#clock, this.#shrinkLines());
    if (await this.#restore(lines)) {
      for (const set of this.#dirty) {
        if (!set.wanted) continue;
        for (const member of [...set.members.pendingUpdates]) set.members.found(member, true);
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
  #isOurs(name: string): boolean {
    const { setPrefix } = this.#options.names;
    return name.startsWith(`${setPrefix}4-`) || name.startsWith(`${setPrefix}6-`);
  }
  #names(ids: ReadonlySet<SetId>): Set<string> {
    const names = new Set<string>();
    for (const id of ids) for (const family of this.#options.families) names.add(this.nameOf(id, family) ?? '');
    return names;
  }
  #kernelSet(id: SetId, type: KernelSetType, family: IpFamily): KernelSet {
    const name = kernelSetName(this.#options.names, family, type, id);
    const known = this.#kernel.get(name);
    if (known?.type === type && known.family === family) {
      known.id = id;
      return known;
    }
    // Read back before it was wanted, and not what we would have made.
    const set = newKernelSet(name, type, family);
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
      if (set.foreign) {
        yield `destroy ${set.name}`;
        yield createLine(set.name, set);
        yield* allLines(set);
      } else if (!set.exists) {
        yield createLine(set.name, set);
        yield* addLines(set);
      } else if (set.rebuild) yield* rebuildLines(set);
      else yield* turned.has(set.name) ? deleteLines(set) : addLines(set);
    }
  }

  *#shrinkLines(): Generator<string> {
    for (const set of this.#dirty) {
      if (!set.wanted) continue;
      yield* addLines(set);
      yield* deleteLines(set);
    }
  }

  /** Whether the lines went by netlink. @throws IpsetError */
  #direct(lines: readonly string[]): boolean {
    if (!this.#members || lines.length > directChangesMax) return false;
    const changes: (SetMemberChange | SetCreation)[] = [];
    const made = new Set<string>();
    for (const line of lines) {
      const change = creation(line, this.#kernel) ?? memberChange(line, this.#kernel, made);
      if (!change) return false;
      if (change.op === 'create') made.add(change.set);
      changes.push(change);
    }
    const failure = this.#members.change(changes);
    if (failure === undefined) return true;
    const text = `making or changing a set failed: ${failure}`;
    throw new IpsetError(text, { code: 'RESTORE_FAILED', stderr: failure });
  }

  /** False when there was nothing to send. */
  async #restore(lines: readonly string[]): Promise<boolean> {
    if (lines.length === 0) return false;
    this.counters.restoreCalls++;
    this.counters.restoreLines += lines.length;
    this.#stale = true;
    if (this.#direct(lines)) {
      this.#stale = false;
      return true;
    }
    const result = await this.#run(['ipset', 'restore'], {
      stdin: `${lines.join('\n')}\n`,
      timeoutMs: commandTimeoutMs,
    });
    if (result.code !== 0) {
      const line = /line (\d+)/.exec(result.stderr)?.[1];
      const text = line === undefined ? '' : ` (line ${line}: ${lines[Number(line) - 1] ?? ''})`;
      throw new IpsetError(`writing sets failed: ${result.stderr.trim()}${text}`, {
        code: 'RESTORE_FAILED',
        stderr: result.stderr,
      });
    }
    this.#stale = false;
    return true;
  }
}
