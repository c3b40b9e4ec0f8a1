/**
 * Octet strings as small integers, equal ones the same: an open-addressing hash over typed arrays, keyed so that a peer cannot choose
 * strings that share a slot. Nothing is allocated a string; one costs 20 octets, at most 16 of hash, and its own length.
 *
 * Who sends the same strings again sends them in the same order: the one behind the last is compared first, before anything is hashed.
 */
import { grow, IntQueue } from './arrays.ts';
import { type HashKey, halfSipHash } from './half-sip-hash.ts';
import { blockOctetsMax, Slabs } from './slabs.ts';

/** Address of a number that stands for no string. */
const nowhere = -1;

export class OctetPool {
  /** A string is written here before it is looked for or added. */
  readonly octets: Uint8Array;
  readonly #words: Int32Array;
  readonly #key: HashKey;
  readonly #slabs: Slabs;
  #address = new Int32Array(64);
  #length = new Int32Array(64);
  #hashes = new Int32Array(64);
  /** id + 1; 0 is an empty slot. At most half of the slots are taken. */
  #slots = new Int32Array(256);
  #mask = 255;
  #size = 0;
  /** Ids ever given are below this. */
  #limit = 0;
  /** In the order in which they became free, so that what comes again has ascending ones again. */
  readonly #free = new IntQueue();
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
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      id = this.#slots[slot]! - 1;
      if (id < 0) return -1;
      if (this.#hashes[id] === hash && this.#is(id, length)) break;
    }
    this.#expected = id + 1;
    return id;
  }

  /** Adds `octets[0..length)`, of which `find` has just said that it is not there. */
  add(length: number): number {
    if (2 * this.#size >= this.#mask) this.#grow();
    let id = this.#limit;
    if (this.#free.length > 0) {
      id = this.#free.shift();
      this.#free.compact();
    } else {
      this.#limit++;
      this.#address = grow(this.#address, id + 1);
      this.#length = grow(this.#length, id + 1);
      this.#hashes = grow(this.#hashes, id + 1);
    }
    this.#hashes[id] = this.#hash;
    this.#length[id] = length;
    this.#address[id] = this.#slabs.put(id, this.#words, length);
    this.#put(id);
    this.#size++;
    this.#expected = id + 1;
    return id;
  }

  remove(id: number): void {
    const slots = this.#slots;
    const mask = this.#mask;
    let gap = this.#hashes[id]! & mask;
    while (slots[gap] !== id + 1) gap = (gap + 1) & mask;
    for (let slot = (gap + 1) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = this.#hashes[slots[slot]! - 1]! & mask;
      // Who is nearer to home than the gap stays.
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      slots[gap] = slots[slot]!;
      gap = slot;
    }
    slots[gap] = 0;
    const address = this.#address[id]!;
    this.#address[id] = nowhere;
    this.#slabs.free(address, this.#length[id]!);
    this.#free.push(id);
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
    return address !== nowhere && this.#length[id] === length && this.#slabs.equals(address, this.#words, length);
  }

  /** Zeros behind the last octet: what is compared and hashed is words. */
  #pad(length: number): void {
    const { octets } = this;
    for (let at = length; (at & 3) !== 0; at++) octets[at] = 0;
  }

  #put(id: number): void {
    let slot = this.#hashes[id]! & this.#mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#slots[slot] = id + 1;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(2 * old.length);
    this.#mask = this.#slots.length - 1;
    for (const entry of old) if (entry !== 0) this.#put(entry - 1);
  }
}
