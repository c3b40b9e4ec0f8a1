/** Our next-hop objects: what is wanted, what is there, ids from a range of our own, and what a lost device takes with it. */
import { DeltaTracker, familyOf, type IpAddress, type IpFamily } from '#kit';
import type { KernelNexthop, RouteWrite } from './route-ports.ts';

/** First and last id that we give. Objects of ours outside the range (an earlier version's) are adopted or swept all the same. */
const ID_FIRST = 155_000_000;
const ID_LAST = 155_999_997;
/** Objects that no route uses: see `setMark`. Never changed, a later version looks for them. */
const MARK_IDS: Readonly<Record<IpFamily, number>> = { 4: 155_999_998, 6: 155_999_999 };

/** Stands for a gateway where packets are dropped. */
export const DISCARD: Readonly<Record<IpFamily, IpAddress>> = { 4: '0.0.0.0' as IpAddress, 6: '::' as IpAddress };

export interface Hop {
  readonly gateway: IpAddress;
  readonly ifIndex: number;
  readonly onlink: boolean;
}

export interface WeightedHop extends Hop {
  /** 1..256; default 1. */
  readonly weight?: number;
}

interface Member {
  readonly id: number;
  readonly weight: number;
}

function discards({ gateway }: Hop): boolean {
  return gateway === DISCARD[4] || gateway === DISCARD[6];
}
function hopName(hop: Hop): string {
  return `${hop.ifIndex} ${hop.gateway}${hop.onlink ? ' onlink' : ''}`;
}
function sameMembers(a: readonly Member[], b: readonly Member[]): boolean {
  return a.length === b.length && a.every(({ id, weight }, i) => id === b[i]!.id && weight === b[i]!.weight);
}

/**
 * Singles ({gateway, device}) shared by groups; a group stands for one set of BGP next hops, also when it has one member: the kernel turns
 * no single into a group under one id.
 */
export class NexthopObjects {
  readonly singles = new DeltaTracker<number, Hop>((a, b) => hopName(a) === hopName(b));
  readonly groups = new DeltaTracker<number, readonly Member[]>(sameMembers);
  readonly #protocol: number;
  readonly #used = new Set<number>();
  readonly #singleIds = new Map<string, { readonly id: number; references: number }>();
  #next = ID_FIRST;

  constructor(protocol: number) {
    this.#protocol = protocol;
  }

  /** A full dump of all objects, also those of others: their ids are taken. */
  replaceActual(nexthops: readonly KernelNexthop[]): void {
    const singles: [number, Hop][] = [];
    const groups: [number, readonly Member[]][] = [];
    for (const nexthop of nexthops) {
      this.#used.add(nexthop.id);
      if (nexthop.protocol !== this.#protocol) continue;
      const content = this.#content(nexthop);
      if ('members' in content) groups.push([nexthop.id, content.members]);
      else singles.push([nexthop.id, content.hop]);
    }
    this.singles.replaceActual(singles);
    this.groups.replaceActual(groups);
    for (const [id, hop] of singles) {
      if (!isMark(id) && !this.#singleIds.has(hopName(hop))) this.#singleIds.set(hopName(hop), { id, references: 0 });
    }
  }

  /** One object was added or changed by somebody. */
  found(nexthop: KernelNexthop): void {
    this.#used.add(nexthop.id);
    if (nexthop.protocol !== this.#protocol) return;
    const content = this.#content(nexthop);
    if ('members' in content) this.groups.found(nexthop.id, content.members);
    else this.singles.found(nexthop.id, content.hop);
  }

  allocate(): number {
    for (let tries = 0; tries <= ID_LAST - ID_FIRST; tries++) {
      const id = this.#next;
      this.#next = id === ID_LAST ? ID_FIRST : id + 1;
      if (this.#used.has(id)) continue;
      this.#used.add(id);
      return id;
    }
    throw new Error(`all next-hop ids from ${ID_FIRST} to ${ID_LAST} are in use`);
  }

  /** Makes the group wanted with exactly these members. */
  desireGroup(id: number, hops: readonly WeightedHop[]): void {
    const before = this.groups.desired.get(id) ?? [];
    const members = hops.map((hop) => ({ id: this.#retainSingle(hop), weight: hop.weight ?? 1 }));
    this.groups.desire(
      id,
      members.sort((a, b) => a.id - b.id),
    );
    for (const member of before) this.#releaseSingle(member.id);
  }
  undesireGroup(id: number): void {
    const before = this.groups.desired.get(id) ?? [];
    this.groups.undesire(id);
    for (const member of before) this.#releaseSingle(member.id);
  }

  /**
   * An object that no route uses and that lasts as long as the kernel's tables do: it says to a later run that this one was there, and left
   * no routes of the family.
   */
  setMark(family: IpFamily, wanted: boolean): void {
    if (wanted) this.singles.desire(MARK_IDS[family], { gateway: DISCARD[family], ifIndex: 0, onlink: false });
    else this.singles.undesire(MARK_IDS[family]);
  }
  hasMark(family: IpFamily): boolean {
    return this.singles.actual.has(MARK_IDS[family]);
  }

  /**
   * A single left the kernel: groups lose the member, and a group without members goes too, with its routes and without a message for any of
   * them. Returns the ids of groups that went.
   */
  singleGone(id: number): number[] {
    this.singles.gone(id);
    const emptied: number[] = [];
    for (const [group, members] of this.groups.actual) {
      const rest = members.filter((member) => member.id !== id);
      if (rest.length === members.length) continue;
      if (rest.length > 0) this.groups.found(group, rest);
      else emptied.push(group);
    }
    for (const group of emptied) this.groups.gone(group);
    return emptied;
  }
  /** A device lost carrier, went down or away: the kernel flushed its singles. */
  deviceGone(ifIndex: number): number[] {
    const lost = [...this.singles.actual].filter(([, hop]) => hop.ifIndex === ifIndex);
    return lost.flatMap(([id]) => this.singleGone(id));
  }

  writeOf(kind: 'single' | 'group', id: number): RouteWrite {
    if (kind === 'group') {
      const group = this.groups.desired.get(id)!;
      return { op: 'nexthop', nexthop: { id, protocol: this.#protocol, group } };
    }
    const hop = this.singles.desired.get(id)!;
    const { gateway, ifIndex, onlink } = hop;
    const family = familyOf(gateway);
    if (discards(hop)) return { op: 'nexthop', nexthop: { id, protocol: this.#protocol, family, blackhole: true } };
    return { op: 'nexthop', nexthop: { id, protocol: this.#protocol, family, ifIndex, gateway, onlink } };
  }

  #content(nexthop: KernelNexthop): { readonly members: readonly Member[] } | { readonly hop: Hop } {
    if (nexthop.group.length > 0) return { members: nexthop.group.toSorted((a, b) => a.id - b.id) };
    if (nexthop.blackhole && nexthop.family !== 0) {
      return { hop: { gateway: DISCARD[nexthop.family], ifIndex: 0, onlink: false } };
    }
    const { gateway = '' as IpAddress, ifIndex, onlink } = nexthop;
    return { hop: { gateway, ifIndex, onlink } };
  }
  #retainSingle(hop: Hop): number {
    const name = hopName(hop);
    let single = this.#singleIds.get(name);
    if (!single) {
      single = { id: this.allocate(), references: 0 };
      this.#singleIds.set(name, single);
    }
    single.references++;
    this.singles.desire(single.id, hop);
    return single.id;
  }
  #releaseSingle(id: number): void {
    const hop = this.singles.desired.get(id)!;
    const single = this.#singleIds.get(hopName(hop))!;
    if (--single.references > 0) return;
    this.#singleIds.delete(hopName(hop));
    this.singles.undesire(id);
  }
}

function isMark(id: number): boolean {
  return id === MARK_IDS[4] || id === MARK_IDS[6];
}
