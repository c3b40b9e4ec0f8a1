/**
 * Learned routes in the kernel: prefixes that point at next-hop groups, kept equal to what is wanted.
 *
 *   set of BGP next hops -> group object -> single objects {gateway, device}
 *   prefix -> nhid of the group
 *
 * Order of writing: singles, groups, routes; then groups that nobody wants (their routes go with them, one message for all), routes, singles.
 * So a lost peer or a changed resolution is one message whatever stands behind it.
 *
 * Known races: a device goes down between our decision and our write (the write fails, the link event corrects the wish, what is still pending
 * is tried again); a device goes down and the kernel flushes its objects and the routes behind them without a message (`deviceGone` models it; a
 * full dump, `replaceActual`, confirms it).
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Cidr, DeltaTracker, familyOf, type IpAddress, type IpFamily } from '#kit';
import { NexthopObjects } from './nexthops.ts';
import type { KernelNexthop, KernelRoute, RouteKernel, RouteSpec, RouteWrite, WriteFailure } from './route-ports.ts';

/** Messages of one send: some 1 ms. The event loop turns between two. */
const BATCH_MESSAGES_MAX = 200;
/** Failures kept for the report; the rest is counted. */
const FAILURES_REPORTED_MAX = 20;
/** Stands for content that is not ours to keep: no next-hop object, another source address ... */
const FOREIGN_CONTENT = -1;

export interface RouteTableOptions {
  readonly protocol: number;
  readonly metric: number;
  /** Source address of the node's own packets; undefined for the kernel's choice. */
  preferredSource(family: IpFamily): IpAddress | undefined;
}

export interface ApplyOutcome {
  readonly writes: number;
  readonly failed: number;
  /** At most 20. */
  readonly failures: readonly { readonly what: string; readonly reason: string }[];
}

interface Phase<K> {
  readonly pending: () => Iterable<K>;
  readonly write: (key: K) => RouteWrite;
  readonly done: (key: K) => void;
  readonly refused?: (key: K, reason: string) => void;
  /** Errnos that mean: it is so already. */
  readonly fine?: readonly string[];
  readonly name: (key: K) => string;
  readonly pooled?: boolean;
}

export class LearnedRouteTable {
  readonly nexthops: NexthopObjects;
  /** Prefix -> id of its group. */
  readonly routes = new DeltaTracker<Cidr, number>();
  /** Why a prefix could not be written at the last try. */
  readonly errors = new Map<Cidr, string>();
  readonly #options: RouteTableOptions;
  /** Group id -> prefixes that point at it in the kernel. */
  readonly #prefixesOf = new Map<number, Set<Cidr>>();
  /** Families whose earlier routes must stay as they are for now. */
  readonly held: Record<IpFamily, boolean> = { 4: false, 6: false };

  constructor(options: RouteTableOptions) {
    this.#options = options;
    this.nexthops = new NexthopObjects(options.protocol);
  }

  get inSync(): boolean {
    return this.nexthops.singles.inSync && this.nexthops.groups.inSync && this.routes.inSync;
  }

  /** A full dump. `routes`: ours, learned ones only. */
  replaceActual(nexthops: readonly KernelNexthop[], routes: readonly KernelRoute[]): void {
    this.nexthops.replaceActual(nexthops);
    let news = 0;
    for (const route of routes) {
      if (this.routes.actual.get(route.prefix) === this.#contentOf(route)) continue;
      this.routeFound(route);
      news++;
    }
    // The usual case: everything is as it was.
    if (news === 0 && this.routes.actual.size === routes.length) return;
    const there = new Set(routes.map((route) => route.prefix));
    for (const prefix of [...this.routes.actual.keys()]) if (!there.has(prefix)) this.routeGone(prefix);
  }
  routeFound(route: KernelRoute): void {
    this.#found(route.prefix, this.#contentOf(route));
  }
  routeGone(prefix: Cidr): void {
    this.#prefixesOf.get(this.routes.actual.get(prefix) ?? 0)?.delete(prefix);
    this.routes.gone(prefix);
  }
  deviceGone(ifIndex: number): void {
    for (const id of this.nexthops.deviceGone(ifIndex)) this.#groupGone(id);
  }
  nexthopGone(id: number): void {
    if (this.nexthops.groups.actual.has(id)) {
      this.nexthops.groups.gone(id);
      this.#groupGone(id);
      return;
    }
    for (const emptied of this.nexthops.singleGone(id)) this.#groupGone(emptied);
  }

  /**
   * Writes what differs. `turn` is awaited between batches, and objects that changed meanwhile go first: a failover does not wait for 20,000
   * routes. Refused messages are reported, not thrown.
   */
  async apply(kernel: RouteKernel, turn: () => Promise<unknown> = nextTurn): Promise<ApplyOutcome> {
    const outcome: MutableOutcome = { writes: 0, failed: 0, failures: [] };
    const run = new PhaseRunner(kernel, outcome);
    const single = this.#objectPhase('single');
    const group = this.#objectPhase('group');
    const objects = async (): Promise<void> => {
      await turn();
      await run.all(single, nothing);
      await run.all(group, nothing);
    };
    await objects();
    await run.all(this.#routePhase(), objects);
    // Whether an object of an earlier run is still needed is known when no family is held any more.
    const anyHeld = this.held[4] || this.held[6];
    const removal = this.#objectRemoval('group');
    if (!anyHeld) await run.all(removal, objects);
    await run.all(this.#routeRemoval(), objects);
    if (!anyHeld) await run.all(this.#objectRemoval('single'), objects);
    return outcome;
  }

  #objectPhase(kind: 'single' | 'group'): Phase<number> {
    const { singles, groups } = this.nexthops;
    return {
      pending: () => (kind === 'single' ? singles.pendingUpdates : this.#writableGroups()),
      write: (id) => this.nexthops.writeOf(kind, id),
      done: (id) => {
        if (kind === 'single') singles.found(id, singles.desired.get(id)!);
        else groups.found(id, groups.desired.get(id)!);
      },
      name: (id) => `next-hop ${kind} ${id}`,
    };
  }
  #objectRemoval(kind: 'single' | 'group'): Phase<number> {
    const { singles, groups } = this.nexthops;
    return {
      pending: () => (kind === 'single' ? singles : groups).pendingDeletes,
      write: (id) => ({ op: 'nexthopDelete', id }),
      done: (id) => this.nexthopGone(id),
      fine: ['ENOENT'],
      name: (id) => `removal of next-hop ${kind} ${id}`,
      pooled: kind === 'group',
    };
  }
  #routePhase(): Phase<Cidr> {
    return {
      pending: () => this.#writableRoutes(),
      write: (prefix) => ({
        op: 'route',
        route: { ...this.#spec(prefix), nexthopId: this.routes.desired.get(prefix)!, ...this.#prefsrc(prefix) },
        // Never takes the place of a route that is not known to be ours.
        mode: this.routes.actual.has(prefix) ? 'replace' : 'exclusive',
      }),
      done: (prefix) => {
        this.errors.delete(prefix);
        this.#found(prefix, this.routes.desired.get(prefix)!);
      },
      refused: (prefix, reason) => this.errors.set(prefix, reason),
      name: (prefix) => `route ${prefix}`,
    };
  }
  #routeRemoval(): Phase<Cidr> {
    return {
      pending: () => this.#deletableRoutes(),
      write: (prefix) => ({ op: 'routeDelete', route: this.#spec(prefix) }),
      done: (prefix) => this.routeGone(prefix),
      fine: ['ESRCH', 'ENOENT'],
      name: (prefix) => `removal of route ${prefix}`,
      pooled: true,
    };
  }

  #spec(prefix: Cidr): RouteSpec {
    return { prefix, protocol: this.#options.protocol, metric: this.#options.metric };
  }
  #prefsrc(prefix: Cidr): { readonly prefsrc?: IpAddress } {
    const prefsrc = this.#options.preferredSource(familyOf(prefix));
    return prefsrc ? { prefsrc } : {};
  }
  #contentOf(route: KernelRoute): number {
    const wanted = this.#options.preferredSource(route.family);
    if (route.nexthopId === 0 || (wanted !== undefined && route.prefsrc !== wanted)) return FOREIGN_CONTENT;
    return route.nexthopId;
  }
  #found(prefix: Cidr, id: number): void {
    const before = this.routes.actual.get(prefix);
    if (before !== id) {
      if (before !== undefined) this.#prefixesOf.get(before)?.delete(prefix);
      const prefixes = this.#prefixesOf.get(id);
      if (prefixes) prefixes.add(prefix);
      else this.#prefixesOf.set(id, new Set([prefix]));
    }
    this.routes.found(prefix, id);
  }
  /** The kernel took its routes along. */
  #groupGone(id: number): void {
    for (const prefix of this.#prefixesOf.get(id) ?? []) this.routes.gone(prefix);
    this.#prefixesOf.delete(id);
  }
  /** What refers to an object that could not be written would be refused too, and hide the cause. */
  *#writableGroups(): Generator<number> {
    const { singles, groups } = this.nexthops;
    for (const id of groups.pendingUpdates) {
      if (groups.desired.get(id)!.every(({ id: single }) => singles.actual.has(single))) yield id;
    }
  }
  *#writableRoutes(): Generator<Cidr> {
    for (const prefix of this.routes.pendingUpdates) {
      if (this.nexthops.groups.actual.has(this.routes.desired.get(prefix)!)) yield prefix;
    }
  }
  *#deletableRoutes(): Generator<Cidr> {
    for (const prefix of this.routes.pendingDeletes) if (!this.held[familyOf(prefix)]) yield prefix;
  }
}

type MutableOutcome = { writes: number; failed: number; failures: { what: string; reason: string }[] };
const nothing = async (): Promise<void> => undefined;

/** Writes phases in bounded batches; a key that was refused is not tried again by the same runner. */
class PhaseRunner {
  readonly #kernel: RouteKernel;
  readonly #outcome: MutableOutcome;
  readonly #refused = new Set<string>();

  constructor(kernel: RouteKernel, outcome: MutableOutcome) {
    this.#kernel = kernel;
    this.#outcome = outcome;
  }

  async all<K>(phase: Phase<K>, between: () => Promise<void>): Promise<void> {
    for (;;) {
      const keys = this.#next(phase);
      if (keys.length === 0) return;
      const writes = keys.map(phase.write);
      const answers = phase.pooled ? await this.#kernel.writeAsync(writes) : this.#kernel.write(writes);
      const failed = new Map(answers.map((failure) => [failure.index, failure]));
      this.#outcome.writes += keys.length;
      for (const [i, key] of keys.entries()) {
        const failure = failed.get(i);
        if (!failure || phase.fine?.includes(failure.code)) phase.done(key);
        else this.#refuse(phase, key, failure);
      }
      await between();
    }
  }

  #next<K>(phase: Phase<K>): K[] {
    const keys: K[] = [];
    for (const key of phase.pending()) {
      if (this.#refused.size > 0 && this.#refused.has(phase.name(key))) continue;
      keys.push(key);
      if (keys.length === BATCH_MESSAGES_MAX) break;
    }
    return keys;
  }

  #refuse<K>(phase: Phase<K>, key: K, failure: WriteFailure): void {
    const what = phase.name(key);
    const reason = failure.text ? `${failure.code}: ${failure.text}` : failure.code;
    this.#refused.add(what);
    phase.refused?.(key, reason);
    this.#outcome.failed++;
    if (this.#outcome.failures.length < FAILURES_REPORTED_MAX) this.#outcome.failures.push({ what, reason });
  }
}
