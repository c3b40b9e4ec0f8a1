/** The update groups of one speaker: finds or makes the group a peer belongs to, passes changes on, pumps backlogs. */
import type { HopMarks, IntStack, Member, MemberSink, Rib, UpdateGroupOptions } from '../rib/index.ts';
import { UpdateGroup } from '../rib/index.ts';

export interface Membership {
  readonly rib: Rib;
  readonly group: UpdateGroup;
  readonly member: Member;
}

export class Groups {
  readonly #groups = new Map<string, { readonly rib: Rib; readonly group: UpdateGroup }>();

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
    for (const entry of this.#groups.values()) if (entry.rib === rib) entry.group.apply(changed, 0, changed.length);
  }

  /** Sends from the backlogs of members that can take it; whether any of those has more. */
  pump(prefixesPerMember: number): boolean {
    let more = false;
    for (const { group } of this.#groups.values()) {
      for (const member of group.members) {
        if ((member.backlog.count === 0 && !member.endOfRibDue) || !member.sink.writable) continue;
        if (group.pump(member, prefixesPerMember) && member.sink.writable) more = true;
      }
    }
    return more;
  }

  markHops(marks: HopMarks): void {
    for (const { group } of this.#groups.values()) group.markHops(marks);
  }
  get size(): number {
    return this.#groups.size;
  }

  #group(rib: Rib, options: UpdateGroupOptions): UpdateGroup {
    const { export: policy, ebgp, asn4, localAsn, addPath, nextHopSelf } = options;
    const filter = options.filter ? JSON.stringify(options.filter) : '';
    const key = [rib.family, policy, ebgp, asn4, localAsn, addPath, nextHopSelf, filter].join('|');
    const known = this.#groups.get(key);
    if (known) return known.group;
    const group = new UpdateGroup(rib, options);
    this.#groups.set(key, { rib, group });
    return group;
  }

  #dropIfEmpty(group: UpdateGroup): void {
    if (group.members.length > 0) return;
    for (const [key, entry] of this.#groups) if (entry.group === group) this.#groups.delete(key);
    group.dispose();
  }
}
