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
  readonly onlyStale: boolean;
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

  /** All paths that the peer has now, or only the stale ones. The peer must say nothing before all are gone: see `finish`. */
  begin(peer: number, onlyStale: boolean): void {
    const before = this.#byPeer.get(peer);
    if (!this.#hasAny(peer, onlyStale) || (before && (onlyStale || !before.onlyStale))) return;
    this.#byPeer.set(peer, { next: 0, onlyStale });
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
    const { onlyStale } = removal;
    const { paths } = this.#rib;
    let left = most;
    let path = removal.next;
    for (; path < paths.limit && left > 0 && this.#hasAny(peer, onlyStale); path++, left--) {
      if (paths.peer[path] !== peer || !paths.isPath(path)) continue;
      if (onlyStale && (paths.flags(path) & pathFlag.stale) === 0) continue;
      this.#rib.removePath(path);
      left -= removalCost;
    }
    removal.next = path;
    if (path >= paths.limit || !this.#hasAny(peer, onlyStale)) this.#byPeer.delete(peer);
    return left;
  }

  #hasAny(peer: number, onlyStale: boolean): boolean {
    const { pathCount, staleCount } = this.#rib;
    return ((onlyStale ? staleCount : pathCount)[peer] ?? 0) > 0;
  }
}
