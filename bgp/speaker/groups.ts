/** The update groups of one speaker: finds or makes the group a peer belongs to, passes changes on, pumps backlogs. */
import type { HopMarks, IntStack, Member, MemberSink, Rib, UpdateGroupOptions } from '../rib/index.ts';
import { UpdateGroup } from '../rib/index.ts';
import { prefixesPerMemberMin, prefixesPerSlice } from './limits.ts';

export interface Membership {
  readonly rib: Rib;
  readonly group: UpdateGroup;
  readonly member: Member;
}

interface Entry {
  readonly rib: Rib;
  readonly group: UpdateGroup;
}

export class Groups {
  /** Made not long ago: not all that was there before them is decided about; see `UpdateGroup.fill`. */
  readonly #filling = new Set<UpdateGroup>();
  /** Without members: what they refer to goes a slice at a time. */
  readonly #empty = new Set<UpdateGroup>();
  readonly #groups = new Map<string, Entry>();
  /** The same, to walk on the way of every route. */
  #entries: readonly Entry[] = [];

  join(rib: Rib, options: UpdateGroupOptions, peer: number, sink: MemberSink, endOfRib: boolean): Membership {
    const group = this.#group(rib, options);
    return { rib, group, member: group.join(peer, sink, endOfRib) };
  }

  leave(membership: Membership): void {
    membership.group.leave(membership.member);
    this.#dropIfEmpty(membership.group);
  }

  /** Moves a member to the group of other options; what it must be told or must forget becomes its backlog. */
  move(membership: Membership, options: UpdateGroupOptions): Membership {
    const { rib, group: old, member } = membership;
    const group = this.#group(rib, options);
    if (group === old) return membership;
    const moved = group.join(member.peer, member.sink, member.endOfRibDue);
    group.takeOver(moved, old, member);
    old.leave(member);
    this.#dropIfEmpty(old);
    return { rib, group, member: moved };
  }

  apply(rib: Rib, changed: IntStack): void {
    const entries = this.#entries;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i]!;
      if (entry.rib === rib) entry.group.apply(changed, 0, changed.length);
    }
  }

  /** What may be told of the routes of a peer changed. */
  reapply(source: number): void {
    for (const { group } of this.#entries) group.reapply(source);
  }

  /**
   * Fills new groups, sends from the backlogs of members that can take it, and frees what groups without members have, so many prefixes in
   * all; whether there is more of any.
   */
  pump(prefixes: number): boolean {
    const behind = this.#behind();
    if (behind === 0) return false;
    const most = Math.max(prefixesPerMemberMin, Math.floor(prefixes / behind));
    for (const group of this.#empty) if (!group.dispose(most)) this.#empty.delete(group);
    let more = this.#empty.size > 0;
    for (const { group } of this.#entries) {
      if (this.#filling.has(group)) {
        if (group.fill(most)) {
          more = true;
          continue;
        }
        this.#filling.delete(group);
      }
      for (const member of group.members) {
        if (isDue(member) && group.pump(member, most) && member.sink.writable) more = true;
      }
    }
    return more;
  }

  /** Groups to be filled or freed, and members to be pumped. Asked on the way of every route: allocates nothing. */
  #behind(): number {
    let count = this.#filling.size + this.#empty.size;
    const entries = this.#entries;
    for (let i = 0; i < entries.length; i++) {
      const { members } = entries[i]!.group;
      for (let m = 0; m < members.length; m++) if (isDue(members[m]!)) count++;
    }
    return count;
  }

  markHops(marks: HopMarks): void {
    for (const { group } of this.#entries) group.markHops(marks);
  }
  get size(): number {
    return this.#groups.size;
  }

  #group(rib: Rib, options: UpdateGroupOptions): UpdateGroup {
    const key = `${rib.family} ${optionsKey(options)}`;
    const known = this.#groups.get(key);
    if (known) return known.group;
    const group = new UpdateGroup(rib, options);
    this.#groups.set(key, { rib, group });
    this.#entries = [...this.#groups.values()];
    this.#filling.add(group);
    return group;
  }

  #dropIfEmpty(group: UpdateGroup): void {
    if (group.members.length > 0) return;
    this.#filling.delete(group);
    for (const [key, entry] of this.#groups) if (entry.group === group) this.#groups.delete(key);
    this.#entries = [...this.#groups.values()];
    if (group.dispose(prefixesPerSlice)) this.#empty.add(group);
  }
}

/** There is something for it, and it can take it. */
function isDue({ backlog, endOfRibDue, sink }: Member): boolean {
  return (backlog.count > 0 || endOfRibDue) && sink.writable;
}

/** Equal for options that tell peers the same. */
function optionsKey({ nextHopSelf, ...options }: UpdateGroupOptions): string {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined && value !== false);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([entries, [...nextHopSelf]]);
}
