/**
 * BGP next hops to gateways and devices, recursively (RFC 4271 9.1.2.1, 5.1.3), again after each change and only where the change reaches.
 *
 *   set of next hops {10.0.0.2}                              one entry for all routes that share it
 *     10.0.0.2 -> longest match: learned 10.0.0.2/32 via 10.0.0.2   skipped: a route does not resolve through itself
 *              -> next longer:   learned 0.0.0.0/0 via 172.16.1.1, 172.16.2.1
 *                   172.16.1.1 -> connected, eth0            -> {172.16.1.1, eth0}
 *                   172.16.2.1 -> connected, eth1            -> {172.16.2.1, eth1}
 *
 * Longest match over the kernel's routes that are not ours and the learned ones; at one prefix the smaller metric wins, as in the kernel.
 * A route whose devices are all down, or which does not resolve itself, is not there: the next longer match counts, a default route included. A
 * blackhole, of somebody else or learned, ends the search. Several results are equal-cost paths; where next hops have weights, each hands its
 * own down to what it resolves to in equal parts.
 *
 * Pure. An evaluation remembers every address that it looked up; a changed prefix touches the sets that looked up an address inside it.
 */
import { type Cidr, type IpAddress, isLinkLocal, type ScopedAddress, scaleWeights, splitZone } from '#kit';
import { DISCARD } from '../drivers/nexthops.ts';
import { AddressIndex, PrefixLengths } from './next-hop-prefixes.ts';

export interface ResolvedHop {
  readonly gateway: IpAddress;
  readonly ifIndex: number;
  readonly onlink: boolean;
  /** 1..256; absent: all are equal. */
  readonly weight?: number;
}

/** A route of the main table that is not ours. */
export interface ForeignRoute {
  readonly prefix: Cidr;
  readonly metric: number;
  /** False for blackholes and their like. */
  readonly unicast: boolean;
  readonly nextHops: readonly { readonly gateway?: IpAddress; readonly ifIndex: number; readonly onlink: boolean }[];
}

/**
 * A BGP next hop: an address to be resolved, or a neighbour with its interface (`fe80::1%eth0`), which needs no route. `DISCARD` of either family, alone
 * in its set, stands for dropping.
 */
export type NextHop = IpAddress | ScopedAddress;

/** Next hops, sorted, joined by commas; each with `*` and its weight where there are weights. */
export type NextHopSetKey = string;
/** @param weights by next hop; both sorted by it. */
export function nextHopSetKey(nextHops: readonly NextHop[], weights?: readonly number[]): NextHopSetKey {
  if (weights) return nextHops.map((hop, i) => `${hop}*${weights[i]}`).join(',');
  if (nextHops.length === 1) return nextHops[0]!;
  // As the model promises them: nothing to copy.
  for (let i = 1; i < nextHops.length; i++) {
    if (nextHops[i - 1]! >= nextHops[i]!) return [...new Set(nextHops)].sort().join(',');
  }
  return nextHops.join(',');
}

/** The device that packets to a prefix leave by; undefined: several, or none (a blackhole). */
export interface ForeignWay {
  readonly prefix: Cidr;
  readonly ifIndex: number | undefined;
}

export interface ResolverOptions {
  /** Metric that learned routes get in the kernel. */
  readonly learnedMetric: number;
}

/** Learned routes that an evaluation may stand on at once. */
const DEPTH_MAX = 8;
/** Addresses that one evaluation may look up; beyond it the rest counts as unresolved. */
const LOOKUPS_MAX = 1024;
/** Equal-cost paths of one set. */
const PATHS_MAX = 64;

interface PrefixEntry {
  /** Metric -> route; mostly one. */
  readonly foreign: Map<number, ForeignRoute>;
  learned?: NextHopSetKey;
}

interface NextHopSet {
  readonly key: NextHopSetKey;
  readonly nextHops: readonly NextHop[];
  readonly weights: readonly number[] | undefined;
  references: number;
  resolution: readonly ResolvedHop[];
  lookedUp: ReadonlySet<IpAddress>;
}

interface Evaluation {
  found: Map<string, ResolvedHop>;
  readonly lookedUp: Set<IpAddress>;
  readonly stack: Cidr[];
  lookups: number;
}

export class NextHopResolver {
  readonly #options: ResolverOptions;
  readonly #prefixes = new Map<Cidr, PrefixEntry>();
  /** Those of `#prefixes` with routes that are not ours: few beside many learned ones. */
  readonly #foreign = new Set<Cidr>();
  readonly #lengths = new PrefixLengths();
  readonly #usableLinks = new Set<number>();
  /** Their names. */
  readonly #linkNames = new Map<number, string>();
  #localAddresses: ReadonlySet<IpAddress> = new Set();
  readonly #sets = new Map<NextHopSetKey, NextHopSet>();
  readonly #dirty = new Set<NextHopSetKey>();
  /** Looked-up address -> sets that depend on it. */
  readonly #dependents = new Map<IpAddress, Set<NextHopSetKey>>();
  readonly #index = new AddressIndex();

  constructor(options: ResolverOptions) {
    this.#options = options;
  }

  get setCount(): number {
    return this.#sets.size;
  }

  /** Sets are counted: one `retain` for each route that uses the set. */
  retain(nextHops: readonly NextHop[], key = nextHopSetKey(nextHops), weights?: readonly number[]): NextHopSetKey {
    const set = this.#sets.get(key);
    if (set) set.references++;
    else {
      const sorted = weights ? nextHops : [...new Set(nextHops)].sort();
      this.#sets.set(key, { key, nextHops: sorted, weights, references: 1, resolution: [], lookedUp: new Set() });
      this.#dirty.add(key);
    }
    return key;
  }
  release(key: NextHopSetKey): void {
    const set = this.#sets.get(key);
    if (!set || --set.references > 0) return;
    this.#forget(set);
    this.#sets.delete(key);
    this.#dirty.delete(key);
  }

  /** Sorted; empty when it does not resolve. As of the last `settle`. */
  resolution(key: NextHopSetKey): readonly ResolvedHop[] {
    return this.#sets.get(key)?.resolution ?? [];
  }

  /** Evaluates what changes have touched; returns the sets whose resolution is another now. */
  settle(): NextHopSetKey[] {
    const changed: NextHopSetKey[] = [];
    for (const key of this.#dirty) {
      const set = this.#sets.get(key)!;
      const { found, lookedUp } = this.#evaluate(set);
      this.#depend(set, lookedUp);
      const resolution = [...found.keys()]
        .sort()
        .slice(0, PATHS_MAX)
        .map((name) => found.get(name)!);
      if (sameHops(set.resolution, resolution)) continue;
      set.resolution = resolution;
      changed.push(key);
    }
    this.#dirty.clear();
    return changed;
  }

  setLearned(prefix: Cidr, set: NextHopSetKey): void {
    const entry = this.#entry(prefix);
    if (entry.learned === set) return;
    entry.learned = set;
    this.#touch(prefix);
  }
  withdrawLearned(prefix: Cidr): void {
    const entry = this.#prefixes.get(prefix);
    if (entry?.learned === undefined) return;
    delete entry.learned;
    this.#touch(prefix);
    this.#prune(prefix, entry);
  }

  setForeign(route: ForeignRoute): void {
    const { foreign } = this.#entry(route.prefix);
    const before = foreign.get(route.metric);
    if (before && sameForeign(before, route)) return;
    foreign.set(route.metric, route);
    this.#foreign.add(route.prefix);
    this.#touch(route.prefix);
  }
  removeForeign(prefix: Cidr, metric: number): void {
    const entry = this.#prefixes.get(prefix);
    if (!entry?.foreign.delete(metric)) return;
    if (entry.foreign.size === 0) this.#foreign.delete(prefix);
    this.#touch(prefix);
    this.#prune(prefix, entry);
  }
  /** A full dump: exactly `routes` are there. */
  replaceForeign(routes: Iterable<ForeignRoute>): void {
    const kept = new Set<string>();
    for (const route of routes) {
      kept.add(`${route.prefix} ${route.metric}`);
      this.setForeign(route);
    }
    for (const prefix of [...this.#foreign]) {
      for (const metric of [...this.#prefixes.get(prefix)!.foreign.keys()]) {
        if (!kept.has(`${prefix} ${metric}`)) this.removeForeign(prefix, metric);
      }
    }
  }

  /** Of the routes that are not ours, the one of the smallest metric of each prefix that is usable. */
  *foreignWays(): Generator<ForeignWay> {
    for (const prefix of this.#foreign) {
      const { foreign } = this.#prefixes.get(prefix)!;
      const metrics = [...foreign.keys()].sort((a, b) => a - b);
      for (const metric of metrics) {
        const { unicast, nextHops } = foreign.get(metric)!;
        const devices = new Set(nextHops.map(({ ifIndex }) => ifIndex).filter((index) => this.#usableLinks.has(index)));
        if (unicast && devices.size === 0) continue;
        yield { prefix, ifIndex: unicast && devices.size === 1 ? [...devices][0] : undefined };
        break;
      }
    }
  }

  /** Devices that are up and have carrier; loopback is none of them. The name is for neighbours with their interface. */
  setLinkUsable(ifIndex: number, usable: boolean, name = ''): void {
    if (usable && this.#linkNames.get(ifIndex) !== name) {
      this.#linkNames.set(ifIndex, name);
      this.#touchAll();
    }
    if (!usable) this.#linkNames.delete(ifIndex);
    if (this.#usableLinks.has(ifIndex) === usable) return;
    if (usable) this.#usableLinks.add(ifIndex);
    else this.#usableLinks.delete(ifIndex);
    this.#touchAll();
  }
  /** A next hop that is an own address leads nowhere. */
  setLocalAddresses(addresses: ReadonlySet<IpAddress>): void {
    if (addresses.size === this.#localAddresses.size && addresses.isSubsetOf(this.#localAddresses)) return;
    this.#localAddresses = new Set(addresses);
    this.#touchAll();
  }

  #evaluate(set: NextHopSet): Evaluation {
    const evaluation: Evaluation = { found: new Map(), lookedUp: new Set(), stack: [], lookups: 0 };
    if (set.weights) this.#evaluateWeighted(set.nextHops, set.weights, evaluation);
    else for (const nextHop of set.nextHops) this.#resolve(nextHop, evaluation);
    return evaluation;
  }

  #evaluateWeighted(nextHops: readonly NextHop[], weights: readonly number[], evaluation: Evaluation): void {
    const all = new Map<string, ResolvedHop>();
    const shares = new Map<string, number>();
    for (const [i, nextHop] of nextHops.entries()) {
      evaluation.found = new Map();
      this.#resolve(nextHop, evaluation);
      for (const [name, hop] of evaluation.found) {
        all.set(name, hop);
        shares.set(name, (shares.get(name) ?? 0) + weights[i]! / evaluation.found.size);
      }
    }
    const names = [...all.keys()].sort();
    const scaled = scaleWeights(names.map((name) => shares.get(name)!));
    const equal = scaled.every((weight) => weight === scaled[0]);
    evaluation.found = new Map(
      names.map((name, i) => [name, equal ? all.get(name)! : { ...all.get(name)!, weight: scaled[i]! }]),
    );
  }

  /** Adds what `address` resolves to; false when it does not resolve. */
  #resolve(nextHop: NextHop, evaluation: Evaluation): boolean {
    const { address: text, zone } = splitZone(nextHop);
    const address = text as IpAddress;
    if (zone !== undefined) return this.#onLink(address, zone, evaluation);
    if (isDiscard(address)) {
      evaluation.found.set(address, { gateway: address, ifIndex: 0, onlink: false });
      return true;
    }
    evaluation.lookedUp.add(address);
    if (++evaluation.lookups > LOOKUPS_MAX || this.#localAddresses.has(address)) return false;
    // A link-local next hop names no link: fe80::/64 is everywhere.
    if (isLinkLocal(address)) return false;
    for (const prefix of this.#lengths.around(address) ?? []) {
      const entry = this.#prefixes.get(prefix);
      if (!entry) continue;
      const outcome = this.#resolveThrough(prefix, entry, address, evaluation);
      if (outcome !== undefined) return outcome;
    }
    return false;
  }

  /** A neighbour: there while its link is. */
  #onLink(gateway: IpAddress, name: string, evaluation: Evaluation): boolean {
    for (const ifIndex of this.#usableLinks) {
      if (this.#linkNames.get(ifIndex) !== name) continue;
      evaluation.found.set(`${ifIndex} ${gateway}`, { gateway, ifIndex, onlink: false });
      return true;
    }
    return false;
  }

  /** Undefined: this prefix does not help, look at the next longer match. */
  #resolveThrough(prefix: Cidr, entry: PrefixEntry, address: IpAddress, evaluation: Evaluation): boolean | undefined {
    if (entry.foreign.size === 0) return this.#throughLearned(prefix, entry, evaluation);
    const metrics = [...entry.foreign.keys()].sort((a, b) => a - b);
    const before = metrics.filter((metric) => metric <= this.#options.learnedMetric);
    const behind = metrics.slice(before.length);
    return (
      this.#throughForeign(before, entry, address, evaluation) ??
      this.#throughLearned(prefix, entry, evaluation) ??
      this.#throughForeign(behind, entry, address, evaluation)
    );
  }

  #throughForeign(
    metrics: readonly number[],
    entry: PrefixEntry,
    address: IpAddress,
    evaluation: Evaluation,
  ): boolean | undefined {
    for (const metric of metrics) {
      const route = entry.foreign.get(metric)!;
      if (!route.unicast) return false;
      const usable = route.nextHops.filter((hop) => this.#usableLinks.has(hop.ifIndex));
      for (const { gateway = address, ifIndex, onlink } of usable) {
        evaluation.found.set(`${ifIndex} ${gateway}`, { gateway, ifIndex, onlink });
      }
      if (usable.length > 0) return true;
    }
    return undefined;
  }

  #throughLearned(prefix: Cidr, entry: PrefixEntry, evaluation: Evaluation): boolean | undefined {
    if (entry.learned === undefined || evaluation.stack.includes(prefix) || evaluation.stack.length >= DEPTH_MAX) {
      return undefined;
    }
    const nextHops = this.#sets.get(entry.learned)?.nextHops ?? [];
    if (nextHops.some(isDiscard)) return false;
    evaluation.stack.push(prefix);
    let any = false;
    for (const nextHop of nextHops) {
      any = this.#resolve(nextHop, evaluation) || any;
    }
    evaluation.stack.pop();
    return any || undefined;
  }

  #entry(prefix: Cidr): PrefixEntry {
    let entry = this.#prefixes.get(prefix);
    if (!entry) {
      entry = { foreign: new Map() };
      this.#prefixes.set(prefix, entry);
      this.#lengths.add(prefix);
    }
    return entry;
  }
  #prune(prefix: Cidr, entry: PrefixEntry): void {
    if (entry.learned !== undefined || entry.foreign.size > 0) return;
    this.#prefixes.delete(prefix);
    this.#lengths.remove(prefix);
  }
  #touch(prefix: Cidr): void {
    for (const address of this.#index.within(prefix)) {
      for (const key of this.#dependents.get(address)!) this.#dirty.add(key);
    }
  }
  #touchAll(): void {
    for (const key of this.#sets.keys()) this.#dirty.add(key);
  }
  #depend(set: NextHopSet, lookedUp: ReadonlySet<IpAddress>): void {
    // Mostly the same addresses as before.
    if (lookedUp.size === set.lookedUp.size && lookedUp.isSubsetOf(set.lookedUp)) return;
    this.#forget(set);
    set.lookedUp = lookedUp;
    for (const address of lookedUp) {
      const dependents = this.#dependents.get(address);
      if (dependents) dependents.add(set.key);
      else {
        this.#dependents.set(address, new Set([set.key]));
        this.#index.add(address);
      }
    }
  }
  #forget(set: NextHopSet): void {
    for (const address of set.lookedUp) {
      const dependents = this.#dependents.get(address);
      dependents?.delete(set.key);
      if (dependents?.size === 0) {
        this.#dependents.delete(address);
        this.#index.delete(address);
      }
    }
    set.lookedUp = new Set();
  }
}

function sameHops(a: readonly ResolvedHop[], b: readonly ResolvedHop[]): boolean {
  return a.length === b.length && a.every((hop, i) => sameHop(hop, b[i]!) && hop.weight === b[i]!.weight);
}

function isDiscard(hop: NextHop): boolean {
  return hop === DISCARD[4] || hop === DISCARD[6];
}

function sameHop(
  a: { readonly gateway?: IpAddress; readonly ifIndex: number; readonly onlink: boolean },
  b: { readonly gateway?: IpAddress; readonly ifIndex: number; readonly onlink: boolean },
): boolean {
  return a.gateway === b.gateway && a.ifIndex === b.ifIndex && a.onlink === b.onlink;
}

function sameForeign(a: ForeignRoute, b: ForeignRoute): boolean {
  return (
    a.unicast === b.unicast &&
    a.nextHops.length === b.nextHops.length &&
    a.nextHops.every((hop, i) => sameHop(hop, b.nextHops[i]!))
  );
}
