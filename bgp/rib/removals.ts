/**
 * Paths of peers that go, a slice at a time: that a peer of a million routes is lost must not hold up the others. A slice at once, so that few are gone
 * at once.
 *
 * Nobody waits for the rest: a peer that is back, lost once more or begins another refresh before all are gone sets them apart from what it says from now
 * on (`going`), in one pass that looks at each path and removes none.
 */
import { pathFlag } from './path-table.ts';
import type { Rib } from './rib.ts';

/** What a slice may cost, in paths that are looked at: a millisecond or two. */
const sliceCost = 400_000;
/** To remove a path costs as much as to look at so many. */
const removalCost = 10;

interface Removal {
  /** The path to be looked at next. */
  next: number;
  /** Of `pathFlag`, but `rejected`: those that have it go. 0: all. */
  readonly flag: number;
}

export class Removals {
  readonly #rib: Rib;
  readonly #slice: number;
  readonly #byPeer = new Map<number, Removal>();

  /** @param slice what one may cost, in paths that are looked at. */
  constructor(rib: Rib, slice = sliceCost) {
    this.#rib = rib;
    this.#slice = slice;
  }

  get waiting(): boolean {
    return this.#byPeer.size > 0;
  }

  /**
   * All paths that the peer has now (`flag` 0: it must say nothing before all are gone, or `setApart`), or those that are `stale` or
   * `unconfirmed` (`pathFlag`) and that it does not announce again meanwhile.
   */
  begin(peer: number, flag: number): void {
    const before = this.#byPeer.get(peer);
    if (!this.#hasAny(peer, flag) || before?.flag === 0 || before?.flag === flag) return;
    let kind = flag;
    if (before && flag !== 0) {
      // Two kinds at a time.
      this.setApart(peer);
      this.#condemn(peer, flag);
      kind = pathFlag.going;
    }
    this.#byPeer.set(peer, { next: 0, flag: kind });
    if (!before) this.#go(peer, this.#slice);
  }

  /** What of the peer's is still to go does so whatever is said or marked from now on, but that it is announced again. */
  setApart(peer: number): void {
    const removal = this.#byPeer.get(peer);
    if (!removal || removal.flag === pathFlag.going) return;
    this.#condemn(peer, removal.flag);
    this.#byPeer.set(peer, { ...removal, flag: pathFlag.going });
  }

  /** A pass over all paths. */
  #condemn(peer: number, flag: number): void {
    const { paths, goingCount, staleCount, unconfirmedCount } = this.#rib;
    const { turned, stale, unconfirmed } = paths.condemn(peer, flag);
    goingCount[peer]! += turned;
    staleCount[peer]! -= stale;
    unconfirmedCount[peer]! -= unconfirmed;
  }

  /** Goes on with what is under way. */
  step(): void {
    let left = this.#slice;
    for (const peer of this.#byPeer.keys()) {
      left = this.#go(peer, left);
      if (left <= 0) return;
    }
  }

  /** @returns what is left of the cost. */
  #go(peer: number, most: number): number {
    const removal = this.#byPeer.get(peer)!;
    const { flag } = removal;
    const { paths } = this.#rib;
    let left = most;
    let path = removal.next;
    for (; path < paths.limit && left > 0 && this.#hasAny(peer, flag); path++, left--) {
      if (paths.peer[path] !== peer || !paths.isPath(path)) continue;
      if (flag !== 0 && (paths.flags(path) & flag) === 0) continue;
      this.#rib.removePath(path);
      left -= removalCost;
    }
    removal.next = path;
    if (path >= paths.limit || !this.#hasAny(peer, flag)) this.#byPeer.delete(peer);
    return left;
  }

  #hasAny(peer: number, flag: number): boolean {
    return (this.#counts(flag)[peer] ?? 0) > 0;
  }
  /** By peer. */
  #counts(flag: number): Int32Array {
    const { pathCount, staleCount, unconfirmedCount, goingCount } = this.#rib;
    switch (flag) {
      case pathFlag.stale:
        return staleCount;
      case pathFlag.unconfirmed:
        return unconfirmedCount;
      case pathFlag.going:
        return goingCount;
      default:
        return pathCount;
    }
  }
}
