/** Growing typed arrays: the tables of the RIB are columns indexed by small integers. */

type Column = Int32Array | Uint32Array | Uint16Array | Uint8Array | Float32Array;

/** That columns by prefix, path or announcement have at first: a few hundred prefixes need no more. */
export const firstRows = 1 << 10;
/** Columns double up to so many rows; then they have room for the second number, and so on. */
const rowSteps: readonly number[] = [1 << 16, 1 << 22, 1 << 26];

/**
 * Rows that columns have after `rows`, when those no longer do.
 *
 * To copy columns when they hold half a million rows stalls the loop for longer than anything else does. So they take room for more rows
 * than there will be while they are still small. It is address space alone: a page of it becomes memory when something is written there,
 * for which whoever goes through a column stops at the rows that are in use.
 */
function roomAfter(rows: number): number {
  return rows < rowSteps[0]! ? Math.max(2 * rows, 16) : (rowSteps.find((step) => step > rows) ?? 2 * rows);
}

/** A copy of `array`, a column of its own, with room for at least `size` elements, new ones zero. */
export function grow<T extends Column>(array: T, size: number): T {
  if (size <= array.length) return array;
  let room = array.length;
  while (room < size) room = roomAfter(room);
  return resized(array, room);
}

/**
 * When the columns of a table get room for more rows: one after the other, while the last quarter of the rows that they have comes into
 * use. To copy them all in one turn of the loop is a page fault for each 4 KiB of them, which takes up to 26 us.
 */
export class ColumnGrowth {
  /** Rows below this have room, and until one at or above it is used there is nothing to do. */
  due: number;
  #rows: number;
  /** Columns that have more than `#rows` already. */
  #ahead = 0;
  readonly #columns: readonly ((rows: number) => unknown)[];

  /** @param rows that all columns have. @param columns each gives one of them room for so many. */
  constructor(rows: number, columns: readonly ((rows: number) => unknown)[]) {
    this.#rows = rows;
    this.#columns = columns;
    this.due = this.#nextDue();
  }

  /** Of a row that is not below `due`. */
  makeRoom(row: number): void {
    while (row >= this.due) {
      const room = roomAfter(this.#rows);
      this.#columns[this.#ahead++]!(room);
      if (this.#ahead === this.#columns.length) {
        this.#rows = room;
        this.#ahead = 0;
      }
      this.due = this.#nextDue();
    }
  }

  #nextDue(): number {
    const quarter = this.#rows >> 2;
    return this.#rows - quarter + Math.floor((quarter * this.#ahead) / this.#columns.length);
  }
}

/** For work lists, which come and go: doubled. */
function double<T extends Column>(array: T, size: number): T {
  return size <= array.length ? array : resized(array, Math.max(size, 2 * array.length, 16));
}

/** A copy with room for `length` elements, no fewer than there are; new ones zero. */
export function resized<T extends Column>(array: T, length: number): T {
  const Constructor = array.constructor as new (length: number) => T;
  const bigger = new Constructor(length);
  bigger.set(array);
  return bigger;
}

/** Room of a work list that is kept once it is empty: what a few turns of the event loop fill. */
const keptItemsMax = 1 << 16;

/** A growing stack of integers: work lists and free lists. */
export class IntStack {
  items: Int32Array;
  length = 0;

  constructor(capacity = 16) {
    this.items = new Int32Array(capacity);
  }
  push(value: number): void {
    if (this.length === this.items.length) this.items = double(this.items, this.length + 1);
    this.items[this.length++] = value;
  }
  /** Undefined behaviour when empty: check `length`. */
  pop(): number {
    return this.items[--this.length]!;
  }
  clear(): void {
    this.length = 0;
    if (this.items.length > keptItemsMax) this.items = new Int32Array(16);
  }
}

/** A growing queue of integers. What was taken off stays in front until half of it is that. */
export class IntQueue {
  #items = new Int32Array(16);
  #start = 0;
  #end = 0;

  get length(): number {
    return this.#end - this.#start;
  }
  push(value: number): void {
    if (this.#end === this.#items.length) this.#items = double(this.#items, this.#end + 1);
    this.#items[this.#end++] = value;
  }
  /** Undefined behaviour when empty: check `length`. */
  shift(): number {
    return this.#items[this.#start++]!;
  }
  /** Makes room after some `shift`s. */
  compact(): void {
    if (this.#start === this.#end) {
      this.#start = 0;
      this.#end = 0;
      if (this.#items.length > keptItemsMax) this.#items = new Int32Array(16);
    } else if (2 * this.#start > this.#end) {
      this.#items.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
  }
}

/** A growing set of small integers with a count and iteration from a position. */
export class BitSet {
  #words = new Int32Array(16);
  count = 0;

  has(index: number): boolean {
    const word = index >>> 5;
    return word < this.#words.length && (this.#words[word]! & (1 << (index & 31))) !== 0;
  }
  /** Whether it was not there before. */
  add(index: number): boolean {
    const word = index >>> 5;
    if (word >= this.#words.length) this.#words = double(this.#words, word + 1);
    const bit = 1 << (index & 31);
    if ((this.#words[word]! & bit) !== 0) return false;
    this.#words[word]! |= bit;
    this.count++;
    return true;
  }
  /** Whether it was there. */
  delete(index: number): boolean {
    const word = index >>> 5;
    if (word >= this.#words.length) return false;
    const bit = 1 << (index & 31);
    if ((this.#words[word]! & bit) === 0) return false;
    this.#words[word]! &= ~bit;
    this.count--;
    return true;
  }
  /** The first member at or after `from`, or -1. */
  next(from: number): number {
    let word = from >>> 5;
    if (word >= this.#words.length) return -1;
    let bits = this.#words[word]! & (-1 << (from & 31));
    while (bits === 0) {
      if (++word >= this.#words.length) return -1;
      bits = this.#words[word]!;
    }
    return (word << 5) + (31 - Math.clz32(bits & -bits));
  }
  clear(): void {
    this.#words.fill(0);
    this.count = 0;
  }
}
