/**
 * The first look of a station at the tables: a walk over them, some prefixes at a time, that marks what is there. One walk for
 * all peers. What changes meanwhile is marked by the change itself, so that it does not matter on which side of the walk it is.
 */
import type { Rib } from '../rib/index.ts';

export class InitialDump {
  readonly #ribs: readonly Rib[];
  readonly #visit: (rib: Rib, prefix: number) => void;
  #rib = 0;
  #prefix = 0;

  /** @param visit is called for each prefix that has a path, or a route of the Loc-RIB. */
  constructor(ribs: readonly Rib[], visit: (rib: Rib, prefix: number) => void) {
    this.#ribs = ribs;
    this.#visit = visit;
  }

  /** Walks over up to `limit` prefixes; whether that was the end. */
  step(limit: number): boolean {
    let left = limit;
    for (; this.#rib < this.#ribs.length; this.#rib++, this.#prefix = 0) {
      const rib = this.#ribs[this.#rib]!;
      for (; this.#prefix < rib.prefixes.limit; this.#prefix++) {
        if (left-- === 0) return false;
        if (rib.firstPath(this.#prefix) !== 0 || rib.locPeer[this.#prefix] !== 0) this.#visit(rib, this.#prefix);
      }
    }
    return true;
  }
}
