/**
 * Prefixes of one family as small integers: an open-addressing hash over typed arrays.
 *
 * An id stays the same until it is released and indexes the columns of everybody who keeps something per prefix. Cost:
 * 4 + 1 bytes (IPv4) or 16 + 1 (IPv6) a prefix and at most 16 of hash; nothing is allocated per prefix.
 */
import { type Cidr, formatIp, type IpFamily, parseCidr } from '#kit';
import { grow, IntStack } from './arrays.ts';

/** The length column of an id that is free. */
const releasedBits = 255;
/** A slot of the hash whose prefix went while others were behind it. */
const tombstone = -1;
/** Slots that one release clears of tombstones while a sweep is under way. */
const sweepSlots = 16;

export class PrefixTable {
  readonly family: IpFamily;
  /** 1 (IPv4) or 4 (IPv6) words a prefix, big-endian order, host bits clear. */
  readonly stride: 1 | 4;
  words: Int32Array;
  bits: Uint8Array;
  /** Ids ever given are below this. */
  limit = 0;
  size = 0;
  /** Slots of the hash that are neither empty nor a prefix's. */
  tombstones = 0;
  /** Of `touch`: so that its reads count. */
  touched = 0;
  /** id + 1; 0 is an empty slot. At most half of the slots are prefixes. */
  #hash = new Int32Array(1024);
  #mask = 1023;
  /** Slots that the sweep has yet to look at, and the one it is at: the first of a run. */
  #sweepLeft = 0;
  #sweepAt = 0;
  readonly #free = new IntStack();

  /** Of the hash: whoever chooses prefixes must not know which of them share a slot. */
  readonly #seed: number;

  /** @param seed any 32 bits that no peer can know. */
  constructor(family: IpFamily, seed = 0) {
    this.family = family;
    this.#seed = seed;
    this.stride = family === 4 ? 1 : 4;
    this.words = new Int32Array(256 * this.stride);
    this.bits = new Uint8Array(256);
  }

  /** The id of a prefix, or -1. `words` holds at least `stride` words with host bits clear. */
  find(words: Int32Array, bits: number): number {
    const hash = this.#hash;
    let slot = this.#slotOf(words, 0, bits);
    for (;;) {
      const entry = hash[slot]!;
      if (entry === 0) return -1;
      if (entry !== tombstone && this.#equals(entry - 1, words, bits)) return entry - 1;
      slot = (slot + 1) & this.#mask;
    }
  }

  /**
   * Loads what `find` and `intern` will look at: several of these one after the other wait for memory together, where the
   * look-ups themselves would each wait on their own.
   */
  touch(words: Int32Array, bits: number): void {
    this.touched ^= this.#hash[this.#slotOf(words, 0, bits)]!;
  }

  /** The id of a prefix, made when absent. */
  intern(words: Int32Array, bits: number): number {
    const hash = this.#hash;
    let slot = this.#slotOf(words, 0, bits);
    let free = -1;
    for (;;) {
      const entry = hash[slot]!;
      if (entry === 0) break;
      if (entry === tombstone) {
        if (free < 0) free = slot;
      } else if (this.#equals(entry - 1, words, bits)) return entry - 1;
      slot = (slot + 1) & this.#mask;
    }
    const id = this.#free.length > 0 ? this.#free.pop() : this.limit++;
    if (id >= this.bits.length) {
      this.bits = grow(this.bits, id + 1);
      this.words = grow(this.words, (id + 1) * this.stride);
    }
    this.bits[id] = bits;
    const base = id * this.stride;
    for (let i = 0; i < this.stride; i++) this.words[base + i] = words[i]!;
    if (free >= 0) this.tombstones--;
    hash[free < 0 ? slot : free] = id + 1;
    this.size++;
    if (2 * this.size > this.#mask) this.#rehash();
    return id;
  }

  /**
   * Forgets a prefix; its id will be given again.
   *
   * To close the gap at once would mean to look up where each prefix behind it belongs: two reads of cold memory apiece. So a slot
   * with others behind it becomes a tombstone, which goes as soon as nothing is behind it any more. When churn leaves so many that
   * five eighths of the slots are taken, a sweep clears them, a few slots a release.
   */
  release(id: number): void {
    const hash = this.#hash;
    const mask = this.#mask;
    let slot = this.#slotOf(this.words, id * this.stride, this.bits[id]!);
    while (hash[slot] !== id + 1) slot = (slot + 1) & mask;
    this.bits[id] = releasedBits;
    this.size--;
    this.#free.push(id);
    if (hash[(slot + 1) & mask] === 0) {
      hash[slot] = 0;
      for (slot = (slot - 1) & mask; hash[slot] === tombstone; slot = (slot - 1) & mask) {
        hash[slot] = 0;
        this.tombstones--;
      }
    } else {
      hash[slot] = tombstone;
      this.tombstones++;
      if (this.#sweepLeft === 0 && 8 * (this.size + this.tombstones) > 5 * mask) this.#beginSweep();
    }
    if (this.#sweepLeft > 0) this.#sweep();
  }

  /** Of the hash. */
  get slots(): number {
    return this.#hash.length;
  }

  isLive(id: number): boolean {
    return id < this.limit && this.bits[id] !== releasedBits;
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

  #slotOf(words: Int32Array, base: number, bits: number): number {
    return prefixHash(words, base, this.stride, bits, this.#seed) & this.#mask;
  }

  /** A run begins after an empty slot; there is one, since not all slots are taken. */
  #beginSweep(): void {
    let slot = 0;
    while (this.#hash[slot] !== 0) slot++;
    this.#sweepAt = slot;
    this.#sweepLeft = this.#hash.length;
  }

  /** Puts the prefixes of whole runs where they would be without tombstones, until `sweepSlots` were looked at. */
  #sweep(): void {
    const hash = this.#hash;
    const mask = this.#mask;
    let at = this.#sweepAt;
    let left = sweepSlots;
    // In the middle of a run nothing may stop: what is behind a cleared slot would not be found.
    while (left > 0 || hash[at] !== 0) {
      const entry = hash[at]!;
      hash[at] = 0;
      if (entry === tombstone) this.tombstones--;
      else if (entry !== 0) {
        let slot = this.#slotOf(this.words, (entry - 1) * this.stride, this.bits[entry - 1]!);
        while (hash[slot] !== 0) slot = (slot + 1) & mask;
        hash[slot] = entry;
      }
      at = (at + 1) & mask;
      left--;
    }
    this.#sweepAt = at;
    this.#sweepLeft = Math.max(this.#sweepLeft - sweepSlots + left, 0);
  }

  #rehash(): void {
    const old = this.#hash;
    this.#hash = new Int32Array(2 * old.length);
    this.#mask = this.#hash.length - 1;
    this.tombstones = 0;
    this.#sweepLeft = 0;
    for (const entry of old) {
      if (entry <= 0) continue;
      let slot = this.#slotOf(this.words, (entry - 1) * this.stride, this.bits[entry - 1]!);
      while (this.#hash[slot] !== 0) slot = (slot + 1) & this.#mask;
      this.#hash[slot] = entry;
    }
  }
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
