/**
 * What peers said of their paths before the import policy changed it (Adj-RIB-In proper), by row of the path table. Only for peers
 * that keep it: 8 bytes a path, and nothing until the first such peer is there.
 */
import { ColumnGrowth, resized } from './arrays.ts';
import type { AttributePool } from './attribute-pool.ts';

export class ReceivedTable {
  readonly #pool: AttributePool;
  /** Attribute set plus 1; 0: not kept. */
  #attributes = new Int32Array(0);
  #nextHop = new Int32Array(0);
  readonly #growth = new ColumnGrowth(0, [
    (rows) => (this.#attributes = resized(this.#attributes, rows)),
    (rows) => (this.#nextHop = resized(this.#nextHop, rows)),
  ]);

  constructor(pool: AttributePool) {
    this.#pool = pool;
  }

  /** The attribute set as received, or -1. */
  attributes(path: number): number {
    return path < this.#attributes.length ? this.#attributes[path]! - 1 : -1;
  }
  nextHop(path: number): number {
    return this.#nextHop[path] ?? 0;
  }

  /** Whether the path was kept, with these. */
  isSame(path: number, attributes: number, nextHop: number): boolean {
    return this.attributes(path) === attributes && this.#nextHop[path] === nextHop;
  }
  note(path: number, attributes: number, nextHop: number): void {
    if (path >= this.#growth.due) this.#growth.makeRoom(path);
    this.#nextHop[path] = nextHop;
    if (this.#attributes[path] === attributes + 1) return;
    this.#pool.retain(attributes);
    this.forget(path);
    this.#attributes[path] = attributes + 1;
  }

  forget(path: number): void {
    if (path >= this.#attributes.length || this.#attributes[path] === 0) return;
    this.#pool.release(this.#attributes[path]! - 1);
    this.#attributes[path] = 0;
  }

  /** @param limit rows of the path table that were ever used are below it. */
  markHops(hops: Uint8Array, limit: number): void {
    for (let path = 0; path < Math.min(limit, this.#attributes.length); path++) {
      if (this.#attributes[path] !== 0) hops[this.#nextHop[path]!] = 1;
    }
  }
}
