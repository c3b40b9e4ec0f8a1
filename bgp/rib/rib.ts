/**
 * The routes of one family: Adj-RIB-Ins, Loc-RIB and the decision between them.
 *
 * Changes of paths only mark their prefix dirty; `decide` runs the decision process for dirty prefixes, at most so many a
 * call, and says which changed. So a burst costs one decision a prefix, and the caller stays in charge of the time.
 *
 * A prefix lives as long as somebody has something of it: paths, the Loc-RIB, a dirty mark, or a pin (announcements,
 * unsent changes: see adj-out.ts and feed.ts).
 */
import type { IpFamily } from '#kit';
import { communityFlag } from '../wire/types.ts';
import { ColumnGrowth, firstRows, grow, IntQueue, type IntStack, resized } from './arrays.ts';
import { Decision, type DecisionTables, type MultipathOptions } from './decision.ts';
import { type DecisionOutcome, explainDecision } from './explain.ts';
import { discardSet, type HopMarks, type NextHopSetPool, noNextHop } from './next-hop-pool.ts';
import { PathTable, pathFlag } from './path-table.ts';
import { PrefixTable, type PrefixTableOptions } from './prefix-table.ts';
import { ReceivedTable } from './received.ts';
import { Removals } from './removals.ts';
import { setCost } from './slice-cost.ts';

/** Paths to one prefix that are taken of one peer. A flood of path identifiers must not make walks over a prefix long. */
export const pathsPerPrefixMax = 128;

/** What an announcement found of the peer's path: none that counted (also: one that restart or refresh waited for), another, or the same. */
export const announcementFound = { nothing: 0, other: 1, same: 2 } as const;

export interface RibTables extends DecisionTables, PrefixTableOptions {
  readonly hopSets: NextHopSetPool;
}

export interface RibOptions {
  /** A table of paths alone, from which nothing is ever chosen. Default false. */
  readonly undecided?: boolean;
  /** What a slice of paths that go costs, in paths that are looked at. Default: a millisecond or two. */
  readonly removalSlice?: number | undefined;
}

export class Rib {
  readonly family: IpFamily;
  readonly prefixes: PrefixTable;
  readonly paths = new PathTable();
  readonly tables: RibTables;
  /** Number of paths by peer row. */
  pathCount = new Int32Array(16);
  staleCount = new Int32Array(16);
  unconfirmedCount = new Int32Array(16);
  /** Of `pathCount`: those of the past that go in their turn; see removals.ts. */
  goingCount = new Int32Array(16);
  /** Of `pathCount`: those that the import policy rejects. */
  rejectedCount = new Int32Array(16);
  /** What peers said before their import policy changed it, of those that keep it; see received.ts. */
  readonly received: ReceivedTable;
  /** Loc-RIB by prefix: peer row of the best path plus 1 (0: no route), its attributes and next hop, and the set of all next hops. */
  locPeer = new Int32Array(firstRows);
  locAttributes = new Int32Array(firstRows);
  locNextHop = new Int32Array(firstRows);
  locHopSet = new Int32Array(firstRows);
  /** Paths of peers that go a slice at a time. */
  readonly removals: Removals;
  /** Number of prefixes with a route. */
  routeCount = 0;
  /** How many look at paths that are not best, too. */
  pathWatchers = 0;
  /** Of all groups that are told of what is decided: see `setCost`. */
  setWeight = 0;
  /** What the last `announce` found: a value of `announcementFound`. */
  found: number = announcementFound.nothing;
  /** As `decide` was told last: other paths than ours do not count. */
  #localOnly = false;
  /**
   * Called when a path came, changed or went (`gone`), while its prefix is there. Keep it short: it is on the way of every route.
   */
  onPathChange: ((prefix: number, peer: number, pathId: number, gone: boolean) => void) | undefined;
  readonly #undecided: boolean;
  #first = new Int32Array(firstRows);
  #pins = new Uint16Array(firstRows);
  #isDirty = new Uint8Array(firstRows);
  readonly #growth = new ColumnGrowth(firstRows, [
    (rows) => (this.#first = resized(this.#first, rows)),
    (rows) => (this.#pins = resized(this.#pins, rows)),
    (rows) => (this.#isDirty = resized(this.#isDirty, rows)),
    (rows) => (this.locPeer = resized(this.locPeer, rows)),
    (rows) => (this.locAttributes = resized(this.locAttributes, rows)),
    (rows) => (this.locNextHop = resized(this.locNextHop, rows)),
    (rows) => (this.locHopSet = resized(this.locHopSet, rows)),
  ]);
  readonly #dirty = new IntQueue();
  readonly #decision: Decision;

  constructor(family: IpFamily, tables: RibTables, options: RibOptions = {}) {
    this.#undecided = options.undecided === true;
    this.removals = new Removals(this, options.removalSlice);
    this.family = family;
    this.tables = tables;
    this.prefixes = new PrefixTable(family, tables);
    this.received = new ReceivedTable(tables.attributes);
    this.#decision = new Decision(this.paths, tables);
  }

  /** Nothing waits for a decision, or is about to. */
  get decided(): boolean {
    return this.#dirty.length === 0 && !this.removals.waiting;
  }
  get dirtyCount(): number {
    return this.#dirty.length;
  }

  /** Paths of a peer, but those of the past that go in their turn. */
  heldOf(peer: number): number {
    return (this.pathCount[peer] ?? 0) - (this.goingCount[peer] ?? 0);
  }

  /** First path of a prefix plus 1, for walking `paths.next` while that is above 0; 0: none. */
  firstPath(prefix: number): number {
    return this.#first[prefix] ?? 0;
  }

  /**
   * Adds or replaces (implicit withdraw) a peer's path with this path identifier (RFC 7911 5). The attribute set is retained.
   *
   * @returns its row; -1 when the peer has `pathsPerPrefixMax` others to the prefix already: nothing is taken then.
   */
  announce(peer: number, words: Int32Array, bits: number, attributes: number, nextHop: number, pathId: number): number {
    return this.change(peer, words, bits, attributes, nextHop, pathId);
  }
  announceId(peer: number, prefix: number, attributes: number, nextHop: number, pathId = 0): number {
    return this.#changeId(peer, prefix, attributes, nextHop, pathId);
  }

  /**
   * `announce`, or with `attributes` -1 `withdraw`: one way through the code, as far as they go together. Between changes that come one at a time it
   * gets cold, and a withdrawal that follows an announcement finds warm what both take.
   *
   * @returns the row of the path, with a withdrawal that which it was; -1: there is, or was, none.
   */
  change(peer: number, words: Int32Array, bits: number, attributes: number, nextHop: number, pathId: number): number {
    const { prefixes } = this;
    let prefix = prefixes.lookUp(words, bits);
    if (attributes >= 0) {
      prefix = prefixes.claim(prefix, words, bits);
      this.#ensure(prefix);
    } else if (prefix < 0) return -1;
    return this.#changeId(peer, prefix, attributes, nextHop, pathId);
  }

  #changeId(peer: number, prefix: number, attributes: number, nextHop: number, pathId: number): number {
    const paths = this.paths;
    const { next, peer: peers } = paths;
    let others = 0;
    let previous = -1;
    let path = -1;
    for (let link = this.#first[prefix]!; link > 0; link = next[previous]!) {
      if (peers[link - 1] === peer) {
        if (paths.pathId(link - 1) === pathId) {
          path = link - 1;
          break;
        }
        others++;
      }
      previous = link - 1;
    }
    if (attributes >= 0) {
      if (path >= 0) {
        this.#again(prefix, path, attributes, nextHop);
        return path;
      }
      this.found = announcementFound.nothing;
      if (others >= pathsPerPrefixMax) return -1;
    } else if (path < 0) return -1;
    return this.#exchange(peer, prefix, path, previous, attributes, nextHop, pathId);
  }

  /** The peer has the path already. */
  #again(prefix: number, path: number, attributes: number, nextHop: number): void {
    const awaited = this.#confirm(path);
    const given = this.#give(prefix, path, attributes, nextHop);
    this.found = awaited ? announcementFound.nothing : given ? announcementFound.other : announcementFound.same;
  }

  /**
   * A path comes, or with `attributes` -1 goes: what both take stands here once, see `change`.
   *
   * @param path that goes. @param previous the one before it in the chain of the prefix; -1: it is the first. @returns its row.
   */
  #exchange(
    peer: number,
    prefix: number,
    path: number,
    previous: number,
    attributes: number,
    nextHop: number,
    pathId: number,
  ): number {
    const { paths } = this;
    const gone = attributes < 0;
    let row = path;
    if (gone) {
      if (paths.flags(path) !== 0) {
        this.#confirm(path);
        this.setRejected(path, false);
      }
      if (previous < 0) this.#first[prefix] = Math.max(0, paths.next[path]!);
      else paths.next[previous] = paths.next[path]!;
      this.received.forget(path);
      this.tables.attributes.release(paths.attributes[path]!);
      paths.free(path);
    } else {
      this.tables.attributes.retain(attributes);
      row = paths.make(prefix, this.#first[prefix]!, peer, attributes, nextHop, pathId);
      this.#first[prefix] = row + 1;
      if (peer >= this.pathCount.length) this.#growCounts(peer);
    }
    this.pathCount[peer]! += gone ? -1 : 1;
    this.#markDirty(prefix);
    this.onPathChange?.(prefix, peer, pathId, gone);
    if (gone && this.#undecided) this.settle(prefix);
    return row;
  }

  #growCounts(peer: number): void {
    this.pathCount = grow(this.pathCount, peer + 1);
    this.staleCount = grow(this.staleCount, peer + 1);
    this.unconfirmedCount = grow(this.unconfirmedCount, peer + 1);
    this.goingCount = grow(this.goingCount, peer + 1);
    this.rejectedCount = grow(this.rejectedCount, peer + 1);
  }

  /** Whether the import policy rejects a path: then it is there, but never chosen. */
  setRejected(path: number, rejected: boolean): void {
    const { paths } = this;
    if (((paths.flags(path) & pathFlag.rejected) !== 0) === rejected) return;
    paths.setFlags(path, paths.flags(path) ^ pathFlag.rejected);
    const peer = paths.peer[path]!;
    this.rejectedCount[peer]! += rejected ? 1 : -1;
    const prefix = paths.prefixOf(path);
    this.#markDirty(prefix);
    this.onPathChange?.(prefix, peer, paths.pathId(path), rejected);
  }

  /** The import policy makes something else of a path than before. Whether it is stale stays. */
  revise(path: number, attributes: number, nextHop: number, rejected: boolean): void {
    this.setRejected(path, rejected);
    this.#give(this.paths.prefixOf(path), path, attributes, nextHop);
  }

  /** Removes a peer's path; nothing happens when there is none (RFC 7911 5). Returns whether there was. */
  withdraw(peer: number, words: Int32Array, bits: number, pathId: number): boolean {
    return this.change(peer, words, bits, -1, noNextHop, pathId) >= 0;
  }
  withdrawId(peer: number, prefix: number, pathId = 0): boolean {
    return this.#changeId(peer, prefix, -1, noNextHop, pathId) >= 0;
  }

  removePath(path: number): void {
    const { paths } = this;
    const prefix = paths.prefixOf(path);
    let previous = -1;
    for (let link = this.#first[prefix]!; link !== path + 1; link = paths.next[link - 1]!) previous = link - 1;
    this.#exchange(paths.peer[path]!, prefix, path, previous, -1, noNextHop, paths.pathId(path));
  }

  /** Marks all paths of a peer stale; those that were go (RFC 4724 4.2, consecutive restarts) unless told to keep them. A pass over all paths. */
  markStale(peer: number, keepOlder = false): void {
    if (!keepOlder) this.removals.begin(peer, pathFlag.stale);
    this.removals.setApart(peer);
    if ((this.pathCount[peer] ?? 0) > 0) this.staleCount[peer]! += this.paths.mark(peer, pathFlag.stale);
  }

  /** Gives the stale paths of a peer the attribute set that `change` makes of theirs; -1: withdraws them. They stay stale. */
  changeStale(peer: number, change: (set: number) => number): void {
    if ((this.staleCount[peer] ?? 0) === 0) return;
    const { paths } = this;
    this.#forEachOf(peer, (path) => {
      if ((paths.flags(path) & pathFlag.stale) === 0) return;
      const set = change(paths.attributes[path]!);
      if (set < 0) this.removePath(path);
      else this.#give(paths.prefixOf(path), path, set, paths.nextHop[path]!);
    });
  }

  /** BoRR: all paths of a peer have to be announced again. A pass over all paths. */
  beginRefresh(peer: number): void {
    this.removals.setApart(peer);
    if ((this.pathCount[peer] ?? 0) > 0) this.unconfirmedCount[peer]! += this.paths.mark(peer, pathFlag.unconfirmed);
  }

  /** EoRR: drops the paths of a peer that were not announced since `beginRefresh`, a slice at a time; how many. */
  endRefresh(peer: number): number {
    const count = this.unconfirmedCount[peer] ?? 0;
    this.removals.begin(peer, pathFlag.unconfirmed);
    return count;
  }

  /** `visit` may remove the path. A pass over all paths, unless the peer has none. */
  #forEachOf(peer: number, visit: (path: number) => void): void {
    if ((this.pathCount[peer] ?? 0) === 0) return;
    const paths = this.paths;
    for (let path = 0; path < paths.limit; path++) {
      if (paths.peer[path] === peer && paths.isPath(path)) visit(path);
    }
  }

  /** The metric of a next hop changed: everything through it is decided again. */
  markNextHopDirty(nextHop: number): void {
    const paths = this.paths;
    for (let path = 0; path < paths.limit; path++) {
      if (paths.nextHop[path] === nextHop && paths.isPath(path)) this.#markDirty(paths.prefixOf(path));
    }
  }

  markAllDirty(): void {
    for (let prefix = 0; prefix < this.prefixes.limit; prefix++) if (this.#first[prefix] !== 0) this.#markDirty(prefix);
  }

  /**
   * Decides up to `limit` dirty prefixes, fewer when they have many paths or long attribute sets, and adds those whose Loc-RIB entry
   * changed to `changed`; with `pathWatchers` all of them.
   * The caller passes these on and then calls `settle` for each.
   */
  decide(limit: number, localOnly: boolean, changed: IntStack): void {
    this.#localOnly = localOnly;
    const decision = this.#decision;
    const dirty = this.#dirty;
    let set = -1;
    for (let left = limit; dirty.length > 0 && left > 0; ) {
      const prefix = dirty.shift();
      this.#isDirty[prefix] = 0;
      const changes = this.#decideOne(prefix, localOnly) || this.pathWatchers > 0;
      if (changes) changed.push(prefix);
      else this.settle(prefix);
      // What it cost is nobody's business: there is no other.
      if (dirty.length === 0) break;
      left -= this.decisionCost(decision.considered);
      if (!changes) continue;
      if (this.pathWatchers > 0 || this.locAttributes[prefix] !== set) left -= this.tellingCost(prefix, this.setWeight);
      set = this.locAttributes[prefix]!;
    }
    dirty.compact();
  }

  /** Which equal-cost paths are used from now on; everything is decided again when that is another choice than before. */
  setMultipath(options: MultipathOptions): void {
    const { max, asPathRelax } = this.#decision.multipath;
    if (max === options.max && asPathRelax === options.asPathRelax) return;
    this.#decision.multipath = options;
    this.markAllDirty();
  }

  /** Begins with the usable paths of a prefix, the best first: `nextRanked` gives them as `decide` would take them one after the other. */
  rank(prefix: number): void {
    this.#decision.rank(this.firstPath(prefix), this.#localOnly);
  }
  /** The row of the next path; -1: that was the last. */
  nextRanked(): number {
    return this.#decision.nextRanked();
  }
  /** The paths of a prefix that share the load, see `Decision.members`. */
  members(prefix: number, out: IntStack): void {
    this.#decision.members(this.firstPath(prefix), this.#localOnly, out);
  }
  /**
   * What it costs to decide about a prefix, in prefixes with few paths: to choose the best path is linear in their number, and where
   * several are wanted each may take a choice of its own.
   */
  decisionCost(paths: number): number {
    return 1 + (paths >> 3) + (this.pathWatchers > 0 ? (paths * paths) >> 4 : 0);
  }
  /** What its attribute sets add to what it costs to tell groups of that weight of a prefix: see `setCost`. */
  tellingCost(prefix: number, weight: number): number {
    const { attributes: pool } = this.tables;
    if (this.pathWatchers === 0) {
      return this.locPeer[prefix] === 0 ? 0 : setCost(pool.length(this.locAttributes[prefix]!), weight);
    }
    const { paths } = this;
    let octets = 0;
    for (let link = this.firstPath(prefix); link > 0; link = paths.next[link - 1]!) {
      octets += pool.length(paths.attributes[link - 1]!);
    }
    return setCost(octets, weight);
  }
  /** Number of paths of a prefix. */
  pathsOf(prefix: number): number {
    let count = 0;
    for (let link = this.firstPath(prefix); link > 0; link = this.paths.next[link - 1]!) count++;
    return count;
  }
  /** See `PathTable.sentId`. */
  sentId(prefix: number, path: number): number {
    return this.paths.sentId(path, this.#first[prefix]!);
  }
  /** Why each path of a prefix won or lost, for people. */
  explain(prefix: number): DecisionOutcome {
    return explainDecision(this.#decision, this, prefix);
  }

  markHops({ hops, sets }: HopMarks): void {
    const paths = this.paths;
    for (let path = 0; path < paths.limit; path++) if (paths.isPath(path)) hops[paths.nextHop[path]!] = 1;
    this.received.markHops(hops, paths.limit);
    for (let prefix = 0; prefix < this.prefixes.limit; prefix++) {
      if (this.locPeer[prefix] === 0) continue;
      hops[this.locNextHop[prefix]!] = 1;
      sets[this.locHopSet[prefix]!] = 1;
    }
  }
  pin(prefix: number): void {
    this.#pins[prefix]!++;
  }
  unpin(prefix: number): void {
    this.#pins[prefix]!--;
  }
  /** Releases a prefix that nobody holds any more. */
  settle(prefix: number): void {
    if (
      this.#first[prefix] === 0 &&
      this.locPeer[prefix] === 0 &&
      this.#pins[prefix] === 0 &&
      this.#isDirty[prefix] === 0 &&
      this.prefixes.isLive(prefix)
    ) {
      this.prefixes.release(prefix);
    }
  }

  #decideOne(prefix: number, localOnly: boolean): boolean {
    const decision = this.#decision;
    decision.run(this.#first[prefix]!, localOnly);
    const paths = this.paths;
    const best = decision.best;
    const peer = best < 0 ? 0 : paths.peer[best]! + 1;
    const attributes = best < 0 ? 0 : paths.attributes[best]!;
    const nextHop = best < 0 ? 0 : paths.nextHop[best]!;
    const drops = best >= 0 && this.#drops(prefix, attributes, paths.peer[best]!);
    const hopSet = drops ? discardSet : this.tables.hopSets.intern(decision.hops, decision.hopCount, decision.weights);
    const oldPeer = this.locPeer[prefix]!;
    if (
      peer === oldPeer &&
      (peer === 0 || attributes === this.locAttributes[prefix]) &&
      nextHop === this.locNextHop[prefix] &&
      hopSet === this.locHopSet[prefix]
    ) {
      return false;
    }
    if (peer !== 0) this.tables.attributes.retain(attributes);
    if (oldPeer !== 0) this.tables.attributes.release(this.locAttributes[prefix]!);
    this.routeCount += (peer !== 0 ? 1 : 0) - (oldPeer !== 0 ? 1 : 0);
    this.locPeer[prefix] = peer;
    this.locAttributes[prefix] = attributes;
    this.locNextHop[prefix] = nextHop;
    this.locHopSet[prefix] = hopSet;
    return true;
  }

  /** RFC 7999 3.3: BLACKHOLE, from a peer of which it is obeyed, for so long a prefix. */
  #drops(prefix: number, attributes: number, peer: number): boolean {
    const { attributes: pool, peers } = this.tables;
    const least = (this.family === 4 ? peers.blackhole4 : peers.blackhole6)[peer]!;
    if (least === 0 || this.prefixes.bits[prefix]! < least) return false;
    return (pool.communityFlags[attributes]! & communityFlag.blackhole) !== 0;
  }

  /** The id of a prefix given as text, made when absent; undefined when it is none of this family. */
  internText(text: string): number | undefined {
    const prefix = this.prefixes.byText(text, true);
    if (prefix !== undefined) this.#ensure(prefix);
    return prefix;
  }

  #ensure(prefix: number): void {
    if (prefix >= this.#growth.due) this.#growth.makeRoom(prefix);
  }

  #markDirty(prefix: number): void {
    if (this.#undecided || this.#isDirty[prefix] !== 0) return;
    this.#isDirty[prefix] = 1;
    this.#dirty.push(prefix);
  }

  /** The path was announced again, or goes: neither restart nor refresh waits for it, and it is of the present. Returns whether that is new. */
  #confirm(path: number): boolean {
    const flags = this.paths.flags(path);
    if ((flags & ~pathFlag.rejected) === 0) return false;
    this.paths.setFlags(path, flags & pathFlag.rejected);
    const peer = this.paths.peer[path]!;
    if ((flags & pathFlag.stale) !== 0) this.staleCount[peer]!--;
    if ((flags & pathFlag.unconfirmed) !== 0) this.unconfirmedCount[peer]!--;
    if ((flags & pathFlag.going) !== 0) this.goingCount[peer]!--;
    return true;
  }

  /** Whether the path is stale or has to be confirmed stays. Returns whether this changes it. */
  #give(prefix: number, path: number, attributes: number, nextHop: number): boolean {
    const { paths } = this;
    const old = paths.attributes[path]!;
    if (old === attributes && paths.nextHop[path] === nextHop) return false;
    this.tables.attributes.retain(attributes);
    this.tables.attributes.release(old);
    paths.attributes[path] = attributes;
    paths.setNextHop(path, nextHop);
    this.#markDirty(prefix);
    this.onPathChange?.(prefix, paths.peer[path]!, paths.pathId(path), false);
    return true;
  }
}
