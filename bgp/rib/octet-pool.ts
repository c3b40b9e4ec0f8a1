/**
 * Octet strings as small integers, equal ones the same: an open-addressing hash over typed arrays, keyed so that a peer cannot choose
 * strings that share a slot. Nothing is allocated a string; one costs 20 octets, at most 32 of hash, and its own length.
 *
 * Who sends the same strings again sends them in the same order: the one behind the last is compared first, before anything is hashed.
 *
 * The slot of a string that goes is left as it is, since to look for it would be a read of cold memory: it is no string's any more, as its
 * id says. Where there are many of those, each string that comes clears a few slots on its turn.
 */
import { grow } from './arrays.ts';
import { type HashKey, halfSipHash } from './half-sip-hash.ts';
import { blockOctetsMax, Slabs } from './slabs.ts';

/** Address of an id that stands for no string, the last of those; of others it is `nextFree - id` with the id that is given after them. */
const nowhere = -1;
const nextFree = -2;
/** Slots that a new string clears of left ones, while more than an eighth of all are that. */
const sweepSlots = 16;

export class OctetPool {
  /** A string is written here before it is looked for or added. */
  readonly octets: Uint8Array;
  readonly #words: Int32Array;
  readonly #key: HashKey;
  readonly #slabs: Slabs;
  #address = new Int32Array(64);
  #length = new Int32Array(64);
  #hashes = new Int32Array(64);
  /**
   * Two words a slot: id + 1 (0: it is empty), and the hash, so that whoever looks at the slots behind one another reads nothing else.
   * At most half of them are strings, and 11 in 16 those and left ones.
   */
  #slots = new Int32Array(512);
  /** Slots that are not empty. */
  #taken = 0;
  /** Where the sweep goes on. */
  #sweepAt = 0;
  /** Words of `#slots` less 2. */
  #mask = 510;
  #size = 0;
  /** Ids ever given are below this. */
  #limit = 0;
  /** Ids to be given again, -1: none, chained in the order in which they became free: what comes again has ascending ones again. */
  #firstFree = -1;
  #lastFree = -1;
  /** Of what was looked for last. */
  #hash = 0;
  /** The id after the one that was found or added last. */
  #expected = 0;

  /** @param octetsMax of a string, at most `blockOctetsMax`. @param key that no peer knows. */
  constructor(octetsMax: number, key: HashKey) {
    if (octetsMax > blockOctetsMax) throw new RangeError(`strings of ${octetsMax} octets do not fit a slab`);
    this.#words = new Int32Array((octetsMax + 3) >> 2);
    this.octets = new Uint8Array(this.#words.buffer, 0, octetsMax);
    this.#key = key;
    this.#slabs = new Slabs({
      has: (id, address) => this.#address[id] === address,
      moved: (id, address) => {
        this.#address[id] = address;
      },
    });
  }

  get size(): number {
    return this.#size;
  }
  /** Octets that the strings take, with what is not in use. */
  get capacity(): number {
    return this.#slabs.capacity;
  }

  /** Of the hash; and those of strings that went. */
  get slots(): number {
    return this.#slots.length / 2;
  }
  get leftSlots(): number {
    return this.#taken - this.#size;
  }

  /** The id of `octets[0..length)`, or -1. */
  find(length: number): number {
    this.#pad(length);
    let id = this.#expected;
    if (id < this.#limit && this.#is(id, length)) {
      this.#expected = id + 1;
      return id;
    }
    const hash = halfSipHash(this.#key, this.#words, length);
    this.#hash = hash;
    const slots = this.#slots;
    for (let slot = this.#home(hash); ; slot = (slot + 2) & this.#mask) {
      id = slots[slot]! - 1;
      if (id < 0) return -1;
      if (slots[slot + 1] === hash && this.#is(id, length)) break;
    }
    this.#expected = id + 1;
    return id;
  }

  /** Adds `octets[0..length)`, of which `find` has just said that it is not there. */
  add(length: number): number {
    if (4 * this.#size >= this.#mask) this.#grow();
    else if (16 * (this.#taken - this.#size) > this.#mask) this.#sweep();
    let id = this.#firstFree;
    if (id >= 0) {
      const link = this.#address[id]!;
      this.#firstFree = link === nowhere ? -1 : nextFree - link;
      if (link === nowhere) this.#lastFree = -1;
    } else {
      id = this.#limit;
      this.#limit++;
      if (id >= this.#length.length) {
        this.#address = grow(this.#address, id + 1);
        this.#length = grow(this.#length, id + 1);
        this.#hashes = grow(this.#hashes, id + 1);
      }
    }
    this.#hashes[id] = this.#hash;
    this.#length[id] = length;
    this.#address[id] = this.#slabs.put(id, this.#words, length);
    this.#put(id + 1, this.#hash);
    this.#size++;
    this.#expected = id + 1;
    return id;
  }

  remove(id: number): void {
    const address = this.#address[id]!;
    this.#address[id] = nowhere;
    this.#slabs.free(address, this.#length[id]!);
    if (this.#lastFree < 0) this.#firstFree = id;
    else this.#address[this.#lastFree] = nextFree - id;
    this.#lastFree = id;
    this.#size--;
  }

  /** Where a string is: `bytes(id)[start(id)..start(id) + length(id))`, until the next `add` or `remove`. */
  bytes(id: number): Uint8Array {
    return this.#slabs.octets(this.#address[id]!);
  }
  start(id: number): number {
    return this.#slabs.start(this.#address[id]!);
  }
  length(id: number): number {
    return this.#length[id]!;
  }

  #is(id: number, length: number): boolean {
    const address = this.#address[id]!;
    return address >= 0 && this.#length[id] === length && this.#slabs.equals(address, this.#words, length);
  }

  /** Zeros behind the last octet: what is compared and hashed is words. */
  #pad(length: number): void {
    const { octets } = this;
    for (let at = length; (at & 3) !== 0; at++) octets[at] = 0;
  }

  #home(hash: number): number {
    return (hash << 1) & this.#mask;
  }
  /** Where the id left a slot with that hash, it is that one again. */
  #put(entry: number, hash: number): void {
    const slots = this.#slots;
    let slot = this.#home(hash);
    while (slots[slot] !== 0) {
      if (slots[slot] === entry && slots[slot + 1] === hash) return;
      slot = (slot + 2) & this.#mask;
    }
    slots[slot] = entry;
    slots[slot + 1] = hash;
    this.#taken++;
  }
  #isLeft(entry: number, hash: number): boolean {
    return this.#address[entry - 1]! < 0 || this.#hashes[entry - 1] !== hash;
  }

  /** Takes left ones out of `sweepSlots` slots and the rest of the run, and puts the others where they are without them. */
  #sweep(): void {
    const slots = this.#slots;
    let at = this.#sweepAt;
    let left = sweepSlots;
    // In the middle of a run it may begin but not stop: what is behind a cleared slot would not be found.
    while (left > 0 || slots[at] !== 0) {
      const entry = slots[at]!;
      if (entry !== 0) {
        slots[at] = 0;
        this.#taken--;
        if (!this.#isLeft(entry, slots[at + 1]!)) this.#put(entry, slots[at + 1]!);
      }
      at = (at + 2) & this.#mask;
      left--;
    }
    this.#sweepAt = at;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(2 * old.length);
    this.#mask = this.#slots.length - 2;
    this.#taken = 0;
    this.#sweepAt = 0;
    for (let slot = 0; slot < old.length; slot += 2) {
      if (old[slot] !== 0 && !this.#isLeft(old[slot]!, old[slot + 1]!)) this.#put(old[slot]!, old[slot + 1]!);
    }
  }
}
