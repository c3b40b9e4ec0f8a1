/**
 * Paths of peers that go, a slice at a time: that a peer of a million routes is lost must not hold up the others. A slice at once, so that few are gone
 * at once.
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
  /** `stale` or `unconfirmed` of `pathFlag`: those that have it go. 0: all. */
  readonly flag: number;
}

export class Removals {
  readonly #rib: Rib;
  readonly #byPeer = new Map<number, Removal>();

  constructor(rib: Rib) {
    this.#rib = rib;
  }

  get waiting(): boolean {
    return this.#byPeer.size > 0;
  }

  /**
   * All paths that the peer has now (`flag` 0: it must say nothing before all are gone, see `finish`), or those that are `stale` or
   * `unconfirmed` (`pathFlag`) and that it does not announce again meanwhile.
   */
  begin(peer: number, flag: number): void {
    const before = this.#byPeer.get(peer);
    if (!this.#hasAny(peer, flag) || before?.flag === 0 || before?.flag === flag) return;
    if (before && flag !== 0) this.finish(peer);
    this.#byPeer.set(peer, { next: 0, flag });
    if (!before) this.#go(peer, sliceCost);
  }

  /** Goes on with what is under way. */
  step(): void {
    let left = sliceCost;
    for (const peer of this.#byPeer.keys()) {
      left = this.#go(peer, left);
      if (left <= 0) return;
    }
  }

  /** Removes the rest of a peer's at once. */
  finish(peer: number): void {
    if (this.#byPeer.has(peer)) this.#go(peer, Number.POSITIVE_INFINITY);
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
    const { pathCount, staleCount, unconfirmedCount } = this.#rib;
    const counts = flag === 0 ? pathCount : flag === pathFlag.stale ? staleCount : unconfirmedCount;
    return (counts[peer] ?? 0) > 0;
  }
}
