/** Growing typed arrays: the tables of the RIB are columns indexed by small integers. */

type Column = Int32Array | Uint32Array | Uint16Array | Uint8Array | Float32Array;

/** Columns double up to so many elements; then they have room for the second number, and so on. */
const columnSteps: readonly number[] = [1 << 16, 1 << 22, 1 << 26];

/**
 * A copy of `array`, a column, with room for at least `size` elements, new ones zero.
 *
 * All columns of a table grow in the same moment, and to copy them when they hold half a million rows stalls the loop for longer than
 * anything else does. So they take room for more rows than there will be while they are still small. It is address space alone: a page of
 * it becomes memory when something is written there, for which whoever goes through a column stops at the rows that are in use.
 */
export function grow<T extends Column>(array: T, size: number): T {
  if (size <= array.length) return array;
  const least = Math.max(size, 2 * array.length, 16);
  return copyWith(array, least <= columnSteps[0]! ? least : (columnSteps.find((step) => step >= least) ?? least));
}

/** For work lists, which come and go: doubled. */
function double<T extends Column>(array: T, size: number): T {
  return size <= array.length ? array : copyWith(array, Math.max(size, 2 * array.length, 16));
}

function copyWith<T extends Column>(array: T, length: number): T {
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
