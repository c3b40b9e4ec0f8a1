/**
 * Rows of an Adj-RIB-Out that holds several paths of a prefix (RFC 7911): one for each prefix and path identifier that is
 * announced, or of which a member must still be told that it is gone. 16 bytes a row and 4 a prefix, in groups that send
 * several paths only. The prefix of a row is pinned.
 */
import { ColumnGrowth, firstRows, grow, IntStack, resized } from './arrays.ts';
import type { Rib } from './rib.ts';

export class PathSlots {
  prefix = new Int32Array(firstRows);
  /** As sent. */
  pathId = new Uint32Array(firstRows);
  /** Next row of the same prefix, plus 1; 0: the last. */
  next = new Int32Array(firstRows);
  /** Who needs the row: what is announced, and the backlog of each member that has it. */
  #holds = new Uint16Array(firstRows);
  readonly #growth = new ColumnGrowth(firstRows, [
    (rows) => (this.prefix = resized(this.prefix, rows)),
    (rows) => (this.pathId = resized(this.pathId, rows)),
    (rows) => (this.next = resized(this.next, rows)),
    (rows) => (this.#holds = resized(this.#holds, rows)),
  ]);
  /** By prefix, plus 1. */
  #first = new Int32Array(firstRows);
  /** Rows ever used are below this. */
  limit = 0;
  readonly #free = new IntStack();
  readonly #rib: Pick<Rib, 'pin' | 'unpin' | 'settle'>;

  constructor(rib: Pick<Rib, 'pin' | 'unpin' | 'settle'>) {
    this.#rib = rib;
  }

  /** First row of a prefix plus 1, for walking `next`; 0: none. */
  first(prefix: number): number {
    return this.#first[prefix] ?? 0;
  }
  /** The row of a prefix and path identifier; a new one, which nobody holds yet, when absent. */
  row(prefix: number, pathId: number): number {
    for (let link = this.first(prefix); link !== 0; link = this.next[link - 1]!) {
      if (this.pathId[link - 1] === pathId) return link - 1;
    }
    const slot = this.#free.length > 0 ? this.#free.pop() : this.limit++;
    if (slot >= this.#growth.due) this.#growth.makeRoom(slot);
    if (prefix >= this.#first.length) this.#first = grow(this.#first, prefix + 1);
    this.prefix[slot] = prefix;
    this.pathId[slot] = pathId;
    this.#holds[slot] = 0;
    this.next[slot] = this.#first[prefix]!;
    this.#first[prefix] = slot + 1;
    this.#rib.pin(prefix);
    return slot;
  }
  hold(slot: number): void {
    this.#holds[slot]!++;
  }
  /** Frees the row, and its prefix, when nobody else holds it. */
  unhold(slot: number): void {
    if (--this.#holds[slot]! > 0) return;
    const prefix = this.prefix[slot]!;
    let previous = -1;
    for (let link = this.#first[prefix]!; link !== slot + 1; link = this.next[link - 1]!) previous = link - 1;
    if (previous < 0) this.#first[prefix] = this.next[slot]!;
    else this.next[previous] = this.next[slot]!;
    this.#free.push(slot);
    this.#rib.unpin(prefix);
    this.#rib.settle(prefix);
  }
}
