/**
 * Prefixes of one family as small integers: an open-addressing hash over typed arrays.
 *
 * An id stays the same until it is released and indexes the columns of everybody who keeps something per prefix. Cost:
 * 4 + 1 bytes (IPv4) or 16 + 1 (IPv6) a prefix and at most 16 of hash; nothing is allocated per prefix.
 *
 * Whoever walks a table walks it in the same order each time: a peer that announces it, announces it again, or withdraws it, and the next
 * peer with the same one. So the id behind the last one is looked at first, and then the last one itself, which one peer says after another, or the same
 * takes back: reads of the same cache line. The hash, whose every slot is a cold one in a full table, comes after that, and what is in
 * another's slot is known by some bits of its hash that stand there.
 *
 * What is released stays where it is, marked, and is there again when the prefix comes back: to look up the slot of each prefix that a
 * withdrawn table leaves would be a read of cold memory apiece. Once there are many of them, prefixes that are new take them away: each clears a few
 * slots of the hash on its turn, so that a whole round is over before those that come meanwhile fill it.
 */
import { type Cidr, formatIp, type IpFamily, parseCidr } from '#kit';
import { BitSet, ColumnGrowth, firstRows, IntStack, resized } from './arrays.ts';

/** The length column of an id that is in `#free`. */
const freeBits = 255;
/** Slots of the hash that a new prefix clears of released ones. That begins when a slot in so many has one, and goes on until none is left. */
const sweepSlots = 16;
/** It does not begin with fewer: so many may come and go in the smallest table. */
const sweptMin = 256;
/** Of a slot: id + 1, and above that the first bits of the hash. 0: it is empty. */
const idBits = 26;
const idMask = (1 << idBits) - 1;
/**
 * Slots of the outgrown hash that one new prefix moves: each costs two reads of cold memory, and one UPDATE may have a thousand prefixes. All are
 * moved when half as many prefixes have come as let the hash be outgrown again.
 */
const moveSlots = 4;
const nothing = new Int32Array(0);

/** Zeros for a table whose every look-up is elsewhere, in whatever memory suits that. */
export type Zeroes = (length: number) => Int32Array;
const plainZeroes: Zeroes = (length) => new Int32Array(length);

export interface PrefixTableOptions {
  /** Any 32 bits that no peer can know. Default 0. */
  readonly seed?: number;
  /** Of the hash. Default: `Int32Array`s as they come. */
  readonly zeroes?: Zeroes;
}

export class PrefixTable {
  readonly family: IpFamily;
  /** 1 (IPv4) or 4 (IPv6) words a prefix, big-endian order, host bits clear. */
  readonly stride: 1 | 4;
  words: Int32Array;
  bits: Uint8Array;
  readonly #growth = new ColumnGrowth(firstRows, [
    (rows) => (this.words = resized(this.words, rows * this.stride)),
    (rows) => (this.bits = resized(this.bits, rows)),
  ]);
  /** Ids ever given are below this. */
  limit = 0;
  /** Of `touch`: so that its reads count. */
  touched = 0;
  /** The id after the one that was found or made last. */
  #expected = 0;
  /** Of the prefix that was looked up last and is not there: the hash value, and the slot where it would be. */
  #missedHash = 0;
  #missedSlot = 0;
  /** Released ids that the hash still has. */
  readonly #released = new BitSet();
  /** See `idBits`. At most half of the slots are live prefixes, and five eighths (13 of 16 in the smallest) those and released ones. */
  #hash: Int32Array = new Int32Array(1024);
  /**
   * The hash that was outgrown, until all of it is moved: empty otherwise. To move a million prefixes at once takes longer than anything
   * else that one UPDATE can cause. Runs are moved whole, one after the other from an empty slot on: a prefix is still here when its own
   * slot is not behind the front.
   */
  #old: Int32Array = nothing;
  #oldStart = 0;
  /** Slots from `#oldStart` on that were moved: the front, where a slot is empty. */
  #oldMoved = 0;
  /** Prefixes in the hash, live or released. */
  #taken = 0;
  #sweeping = false;
  /** Where the sweep goes on. */
  #sweepAt = 0;
  /** Ids that the hash does not have. */
  readonly #free = new IntStack();

  /** Of the hash: whoever chooses prefixes must not know which of them share a slot. */
  readonly #seed: number;
  readonly #zeroes: Zeroes;

  constructor(family: IpFamily, { seed = 0, zeroes = plainZeroes }: PrefixTableOptions = {}) {
    this.family = family;
    this.#seed = seed;
    this.#zeroes = zeroes;
    this.stride = family === 4 ? 1 : 4;
    this.words = new Int32Array(firstRows * this.stride);
    this.bits = new Uint8Array(firstRows);
  }

  /** Live prefixes. */
  get size(): number {
    return this.#taken - this.#released.count;
  }
  /** Released prefixes that the hash still has. */
  get releasedCount(): number {
    return this.#released.count;
  }

  /** The id of a prefix, or -1. `words` holds at least `stride` words with host bits clear. */
  find(words: Int32Array, bits: number): number {
    const id = this.lookUp(words, bits);
    return id >= 0 && !this.#released.has(id) ? id : -1;
  }

  /** The id of a prefix, live or released; -1: there is none. */
  lookUp(words: Int32Array, bits: number): number {
    let id = this.#expected;
    if (!this.expects(words, bits)) {
      if (id > 0 && this.#equals(id - 1, words, bits)) return id - 1;
      const h = prefixHash(words, 0, this.stride, bits, this.#seed);
      const hash = this.#tableOf(h);
      const mask = hash.length - 1;
      for (let slot = h & mask; ; slot = (slot + 1) & mask) {
        const entry = hash[slot]!;
        if (entry === 0) {
          this.#missedHash = h;
          this.#missedSlot = slot;
          return -1;
        }
        id = idOf(entry);
        if ((entry ^ h) >>> idBits === 0 && this.#equals(id, words, bits)) break;
      }
    }
    this.#expected = id + 1;
    return id;
  }

  /** Whether it is the prefix behind the one that was found or made last: then nothing else will be looked at. */
  expects(words: Int32Array, bits: number): boolean {
    return this.#expected < this.limit && this.#equals(this.#expected, words, bits);
  }

  /**
   * Loads what `find` and `intern` will look at: several of these one after the other wait for memory together, where the
   * look-ups themselves would each wait on their own.
   */
  touch(words: Int32Array, bits: number): void {
    const h = prefixHash(words, 0, this.stride, bits, this.#seed);
    const hash = this.#tableOf(h);
    this.touched ^= hash[h & (hash.length - 1)]!;
  }

  /** The id of a prefix, made when absent. */
  intern(words: Int32Array, bits: number): number {
    return this.claim(this.lookUp(words, bits), words, bits);
  }

  /** The same, right after `lookUp`, which said `known`. */
  claim(known: number, words: Int32Array, bits: number): number {
    if (known >= 0) {
      this.#released.delete(known);
      return known;
    }
    const id = this.#free.length > 0 ? this.#free.pop() : this.#newId();
    if (id >= this.#growth.due) this.#growth.makeRoom(id);
    this.bits[id] = bits;
    const base = id * this.stride;
    for (let i = 0; i < this.stride; i++) this.words[base + i] = words[i]!;
    this.#tableOf(this.#missedHash)[this.#missedSlot] = entryOf(id, this.#missedHash);
    this.#taken++;
    this.#expected = id + 1;
    if (this.#old.length > 0) this.#move();
    if (2 * this.size >= this.#hash.length) this.#outgrow();
    else if (this.#old.length === 0 && this.#sweepDue()) this.#sweep();
    return id;
  }

  #newId(): number {
    if (this.limit === idMask) throw new RangeError(`more than ${idMask} prefixes of IPv${this.family}`);
    return this.limit++;
  }

  /** Forgets a prefix; its id will be given again. */
  release(id: number): void {
    this.#released.add(id);
  }

  /** Slots of an outgrown hash that are still to be moved. */
  get unmoved(): number {
    return this.#old.length === 0 ? 0 : this.#old.length - this.#oldMoved;
  }
  /** Of the hash. */
  get slots(): number {
    return this.#hash.length;
  }

  isLive(id: number): boolean {
    return id < this.limit && this.bits[id] !== freeBits && !this.#released.has(id);
  }

  text(id: number): Cidr {
    return `${formatIp(wordsToBytes(this.words, id * this.stride, this.stride))}/${this.bits[id]}` as Cidr;
  }

  /** The id of a prefix given as text: made when absent and `make`, otherwise -1. Undefined when it is none of this family. */
  byText(text: string, make: boolean): number | undefined {
    const parsed = parseCidr(text);
    if (!parsed || parsed.family !== this.family) return undefined;
    const words = bytesToWords(parsed.bytes);
    return make ? this.intern(words, parsed.length) : this.find(words, parsed.length);
  }

  #equals(id: number, words: Int32Array, bits: number): boolean {
    if (this.bits[id] !== bits) return false;
    if (this.stride === 1) return this.words[id] === words[0];
    const base = id * 4;
    const own = this.words;
    return (
      own[base] === words[0] && own[base + 1] === words[1] && own[base + 2] === words[2] && own[base + 3] === words[3]
    );
  }

  /** The hash that a prefix with such a hash value is in. */
  #tableOf(h: number): Int32Array {
    const old = this.#old;
    if (old.length === 0) return this.#hash;
    return ((h - this.#oldStart) & (old.length - 1)) < this.#oldMoved ? this.#hash : old;
  }

  #sweepDue(): boolean {
    const { count } = this.#released;
    this.#sweeping = count > (this.#sweeping ? 0 : Math.max(sweptMin, this.#hash.length / sweepSlots));
    return this.#sweeping;
  }

  /** Takes released prefixes out of `sweepSlots` slots and the rest of the run, and puts the others where they are without them. */
  #sweep(): void {
    const hash = this.#hash;
    const mask = hash.length - 1;
    let at = this.#sweepAt;
    let left = sweepSlots;
    // In the middle of a run it may begin but not stop: what is behind a cleared slot would not be found.
    while (left > 0 || hash[at] !== 0) {
      const id = idOf(hash[at]!);
      hash[at] = 0;
      if (id >= 0 && !this.#discard(id)) this.#put(id);
      at = (at + 1) & mask;
      left--;
    }
    this.#sweepAt = at;
  }

  /** True: the id was released, and may be given again from now on: it is no more in the hash. */
  #discard(id: number): boolean {
    if (!this.#released.delete(id)) return false;
    this.bits[id] = freeBits;
    this.#taken--;
    this.#free.push(id);
    return true;
  }

  #put(id: number): void {
    const hash = this.#hash;
    const mask = hash.length - 1;
    const h = prefixHash(this.words, id * this.stride, this.stride, this.bits[id]!, this.#seed);
    let slot = h & mask;
    while (hash[slot] !== 0) slot = (slot + 1) & mask;
    hash[slot] = entryOf(id, h);
  }

  /** Begins to move into a hash of twice the size: done long before that one is outgrown in turn. */
  #outgrow(): void {
    while (this.#old.length > 0) this.#move();
    this.#old = this.#hash;
    this.#oldStart = this.#old.indexOf(0);
    this.#oldMoved = 0;
    this.#hash = this.#zeroes(2 * this.#old.length);
    this.#sweepAt = 0;
    // Ahead of what may yet be pushed from the last slots over the start, one slot a prefix.
    this.#move();
  }

  /** Moves whole runs of the outgrown hash, without what was released, until `moveSlots` were looked at. */
  #move(): void {
    const old = this.#old;
    let moved = this.#oldMoved;
    for (let left = moveSlots; ; left--, moved++) {
      const at = (this.#oldStart + moved) & (old.length - 1);
      const id = idOf(old[at]!);
      // At the end the last run may have grown past the start.
      if (id < 0 && (left <= 0 || moved >= old.length)) break;
      old[at] = 0;
      if (id >= 0 && !this.#discard(id)) this.#put(id);
    }
    this.#oldMoved = moved;
    if (moved >= old.length) this.#old = nothing;
  }
}

function entryOf(id: number, h: number): number {
  return (h & ~idMask) | (id + 1);
}
/** -1: the slot is empty. */
function idOf(entry: number): number {
  return (entry & idMask) - 1;
}

/** 32 bits, signed; the low ones are as good as the others. */
export function prefixHash(words: Int32Array, base: number, stride: number, bits: number, seed: number): number {
  let h = Math.imul(words[base]! ^ Math.imul(bits, 0x9e3779b1) ^ seed, 0x85ebca6b);
  // Once more: with a product alone the low bits of the hash would depend on the low bits of the address.
  h = Math.imul((h ^ (h >>> 15)) + seed, 0x2c1b3c6d);
  for (let i = 1; i < stride; i++) h = Math.imul((h ^ (h >>> 15)) + words[base + i]!, 0xc2b2ae35);
  h ^= h >>> 16;
  h = Math.imul(h, 0x7feb352d);
  return h ^ (h >>> 15);
}

/** Big-endian words of 4 or 16 address bytes. */
export function bytesToWords(bytes: Uint8Array): Int32Array {
  const words = new Int32Array(bytes.length >> 2);
  for (let i = 0; i < words.length; i++) {
    words[i] = (bytes[4 * i]! << 24) | (bytes[4 * i + 1]! << 16) | (bytes[4 * i + 2]! << 8) | bytes[4 * i + 3]!;
  }
  return words;
}

/** Address bytes of `count` words at `base`. */
export function wordsToBytes(words: Int32Array, base: number, count: number): Uint8Array {
  const bytes = new Uint8Array(4 * count);
  for (let i = 0; i < count; i++) {
    const word = words[base + i]!;
    bytes[4 * i] = word >>> 24;
    bytes[4 * i + 1] = (word >>> 16) & 255;
    bytes[4 * i + 2] = (word >>> 8) & 255;
    bytes[4 * i + 3] = word & 255;
  }
  return bytes;
}
