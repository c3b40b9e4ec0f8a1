/**
 * Learned routes, from what BGP says to next-hop groups and prefixes in the table.
 *
 * Restart (RFC 4724): while a family is held, routes of an earlier run stay untouched and what BGP says is only remembered. At its release each set of
 * next hops takes over the group that its routes use already, so that nothing is written where content is equal; the rest is written, and what
 * nobody wants is swept.
 */
import { type Cidr, familyOf, type IpFamily } from '#kit';
import type { LearnedRoute, LearnedRouteDelta } from '#model';
import { DISCARD } from '../drivers/nexthops.ts';
import type { LearnedRouteTable } from '../drivers/routes.ts';
import {
  type NextHop,
  type NextHopResolver,
  type NextHopSetKey,
  nextHopSetKey,
  type ResolvedHop,
} from './next-hop-resolver.ts';

interface SetEntry {
  readonly name: string;
  readonly family: IpFamily;
  readonly key: NextHopSetKey;
  readonly nextHops: readonly NextHop[];
  readonly weights: readonly number[] | undefined;
  readonly prefixes: Set<Cidr>;
  /** 0: none yet. */
  groupId: number;
  /** Its group and routes are wanted. */
  active: boolean;
}

export interface LearnedRouteView extends LearnedRoute {
  readonly resolved: readonly ResolvedHop[];
  /** 0: none. */
  readonly groupId: number;
}

export class LearnedRoutes {
  readonly #resolver: NextHopResolver;
  readonly #table: LearnedRouteTable;
  readonly #sets = new Map<string, SetEntry>();
  readonly #setOf = new Map<Cidr, SetEntry>();
  readonly #claimed = new Set<number>();

  constructor(resolver: NextHopResolver, table: LearnedRouteTable) {
    this.#resolver = resolver;
    this.#table = table;
  }

  get size(): number {
    return this.#setOf.size;
  }

  /** Prefixes by family, and those of them whose next hops resolve; costs as much as there are sets of next hops. */
  totals(): { readonly learned: Record<IpFamily, number>; readonly resolved: Record<IpFamily, number> } {
    const [learned, resolved] = [
      { 4: 0, 6: 0 },
      { 4: 0, 6: 0 },
    ];
    for (const { family, key, prefixes } of this.#sets.values()) {
      learned[family] += prefixes.size;
      if (this.#resolver.resolution(key).length > 0) resolved[family] += prefixes.size;
    }
    return { learned, resolved };
  }

  update(delta: LearnedRouteDelta): void {
    for (const prefix of delta.withdraw) this.#withdraw(prefix);
    for (const route of delta.upsert) {
      if (route.nextHops.length === 0 && !route.blackhole) this.#withdraw(route.prefix);
      else this.#upsert(route);
    }
  }

  /** Carries new resolutions into the table. Returns whether any changed. */
  settle(): boolean {
    const changed = this.#resolver.settle();
    for (const key of changed) {
      for (const family of [4, 6] as const) {
        const set = this.#sets.get(`${family} ${key}`);
        if (set) this.#write(set);
      }
    }
    return changed.length > 0;
  }

  /** Ends the hold of a family. Call `settle` first. */
  release(family: IpFamily): void {
    this.#table.held[family] = false;
    for (const set of this.#sets.values()) {
      if (set.family !== family) continue;
      set.groupId = this.#adoptable(set);
      if (set.groupId) this.#claimed.add(set.groupId);
    }
    for (const set of this.#sets.values()) if (set.family === family) this.#write(set);
  }

  /** Devices that learned routes use now. */
  devices(): Set<number> {
    const found = new Set<number>();
    for (const { key } of this.#sets.values()) for (const hop of this.#resolver.resolution(key)) found.add(hop.ifIndex);
    return found;
  }

  *view(): Generator<LearnedRouteView> {
    for (const [prefix, set] of this.#setOf) yield this.#viewOf(prefix, set);
  }
  route(prefix: Cidr): LearnedRouteView | undefined {
    const set = this.#setOf.get(prefix);
    return set && this.#viewOf(prefix, set);
  }

  #viewOf(prefix: Cidr, { key, nextHops, weights, family, groupId }: SetEntry): LearnedRouteView {
    const resolved = this.#resolver.resolution(key);
    if (nextHops[0] === DISCARD[family]) return { prefix, nextHops: [], blackhole: true, resolved, groupId };
    return { prefix, nextHops, ...(weights ? { weights } : {}), resolved, groupId };
  }

  #upsert({ prefix, nextHops: learned, weights, blackhole }: LearnedRoute): void {
    const before = this.#setOf.get(prefix);
    const family = familyOf(prefix);
    const nextHops = blackhole ? [DISCARD[family]] : learned;
    const key = nextHopSetKey(nextHops, weights);
    if (before?.key === key) return;
    const name = `${family} ${key}`;
    this.#resolver.retain(nextHops, key, weights);
    let set = this.#sets.get(name);
    if (!set) {
      set = { name, family, key, nextHops: [...nextHops], weights, prefixes: new Set(), groupId: 0, active: false };
      this.#sets.set(name, set);
      // Known already for the other family: no change will be reported.
      if (this.#resolver.resolution(key).length > 0) this.#write(set);
    }
    set.prefixes.add(prefix);
    this.#setOf.set(prefix, set);
    this.#resolver.setLearned(prefix, key);
    if (set.active) this.#table.routes.desire(prefix, set.groupId);
    else this.#table.routes.undesire(prefix);
    if (before) this.#leave(before, prefix);
  }

  #withdraw(prefix: Cidr): void {
    const set = this.#setOf.get(prefix);
    if (!set) return;
    this.#setOf.delete(prefix);
    this.#resolver.withdrawLearned(prefix);
    this.#table.routes.undesire(prefix);
    this.#table.errors.delete(prefix);
    this.#leave(set, prefix);
  }

  #leave(set: SetEntry, prefix: Cidr): void {
    set.prefixes.delete(prefix);
    this.#resolver.release(set.key);
    if (set.prefixes.size > 0) return;
    this.#sets.delete(set.name);
    if (set.active) this.#table.nexthops.undesireGroup(set.groupId);
    this.#claimed.delete(set.groupId);
  }

  /** Makes the set's group and routes wanted as it resolves now, or unwanted when it does not. */
  #write(set: SetEntry): void {
    if (this.#table.held[set.family]) return;
    const hops = this.#resolver.resolution(set.key);
    const { nexthops, routes } = this.#table;
    if (hops.length > 0) {
      if (!set.groupId) {
        set.groupId = nexthops.allocate();
        this.#claimed.add(set.groupId);
      }
      nexthops.desireGroup(set.groupId, hops);
    } else if (set.active) nexthops.undesireGroup(set.groupId);
    if (set.active === hops.length > 0) return;
    set.active = hops.length > 0;
    for (const prefix of set.prefixes) {
      if (set.active) routes.desire(prefix, set.groupId);
      else routes.undesire(prefix);
    }
  }

  /** The group that a route of this set points at and that no other set has taken; 0 for none. */
  #adoptable(set: SetEntry): number {
    const { groups } = this.#table.nexthops;
    for (const prefix of set.prefixes) {
      const id = this.#table.routes.actual.get(prefix);
      if (id !== undefined && groups.actual.has(id) && !this.#claimed.has(id)) return id;
    }
    return 0;
  }
}
