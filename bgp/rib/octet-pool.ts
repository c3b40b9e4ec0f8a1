/**
 * Octet strings as small integers, equal ones the same: an open-addressing hash over typed arrays, keyed so that a peer cannot choose
 * strings that share a slot. Nothing is allocated a string; one costs 20 octets, at most 32 of hash, and its own length.
 *
 * Who sends the same strings again sends them in the same order: the one behind the last is compared first, before anything is hashed.
 *
 * The slot of a string that goes is left as it is, since to look for it would be a read of cold memory: it is no string's any more, as its
 * id says. A segment of the hash that is full is made again without those, larger where it is still half full: never all of the hash at once,
 * for which the loop would stand still for longer than for anything else.
 */
import { ColumnGrowth, resized } from './arrays.ts';
import { type HashKey, halfSipHash } from './half-sip-hash.ts';
import { blockOctetsMax, Slabs } from './slabs.ts';

/** Address of an id that stands for no string, the last of those; of others it is `nextFree - id` with the id that is given after them. */
const nowhere = -1;
const nextFree = -2;
/** The first bits of a hash are the segment it is in. */
const segmentBits = 6;

interface Segment {
  /** Two words a slot: id + 1 (0: it is empty), and the hash, so that whoever looks at the slots behind one another reads nothing else. */
  slots: Int32Array;
  /** Slots that are not empty: at most five eighths. */
  taken: number;
}

export class OctetPool {
  /** A string is written here before it is looked for or added. */
  readonly octets: Uint8Array;
  readonly #words: Int32Array;
  readonly #key: HashKey;
  readonly #slabs: Slabs;
  #address = new Int32Array(64);
  #length = new Int32Array(64);
  #hashes = new Int32Array(64);
  readonly #growth = new ColumnGrowth(64, [
    (rows) => (this.#address = resized(this.#address, rows)),
    (rows) => (this.#length = resized(this.#length, rows)),
    (rows) => (this.#hashes = resized(this.#hashes, rows)),
  ]);
  readonly #segments: readonly Segment[] = Array.from({ length: 1 << segmentBits }, () => ({
    slots: new Int32Array(2 * 16),
    taken: 0,
  }));
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
    return this.#segments.reduce((sum, { slots }) => sum + slots.length / 2, 0);
  }
  get leftSlots(): number {
    return this.#segments.reduce((sum, { taken }) => sum + taken, -this.#size);
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
    const { slots } = this.#segmentOf(hash);
    for (let slot = home(slots, hash); ; slot = (slot + 2) & (slots.length - 1)) {
      id = slots[slot]! - 1;
      if (id < 0) return -1;
      if (slots[slot + 1] === hash && this.#is(id, length)) break;
    }
    this.#expected = id + 1;
    return id;
  }

  /** Adds `octets[0..length)`, of which `find` has just said that it is not there. */
  add(length: number): number {
    let id = this.#firstFree;
    if (id >= 0) {
      const link = this.#address[id]!;
      this.#firstFree = link === nowhere ? -1 : nextFree - link;
      if (link === nowhere) this.#lastFree = -1;
    } else {
      id = this.#limit;
      this.#limit++;
      if (id >= this.#growth.due) this.#growth.makeRoom(id);
    }
    this.#hashes[id] = this.#hash;
    this.#length[id] = length;
    this.#address[id] = this.#slabs.put(id, this.#words, length);
    const segment = this.#segmentOf(this.#hash);
    put(segment, id + 1, this.#hash);
    // 16 words are 8 slots, of which 5 are taken.
    if (16 * segment.taken >= 5 * segment.slots.length) this.#renew(segment);
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

  #segmentOf(hash: number): Segment {
    return this.#segments[hash >>> (32 - segmentBits)]!;
  }

  /** Without the slots of strings that went. */
  #renew(segment: Segment): void {
    const old = segment.slots;
    let live = 0;
    for (let slot = 0; slot < old.length; slot += 2) if (this.#isLive(old[slot]!, old[slot + 1]!)) live++;
    segment.slots = new Int32Array(4 * live > old.length ? 2 * old.length : old.length);
    segment.taken = 0;
    for (let slot = 0; slot < old.length; slot += 2) {
      if (this.#isLive(old[slot]!, old[slot + 1]!)) put(segment, old[slot]!, old[slot + 1]!);
    }
  }
  #isLive(entry: number, hash: number): boolean {
    return entry !== 0 && this.#address[entry - 1]! >= 0 && this.#hashes[entry - 1] === hash;
  }
}

/** Where the search for a hash begins in its segment. */
function home(slots: Int32Array, hash: number): number {
  return (hash << 1) & (slots.length - 1);
}

/** Where the id left a slot with that hash, it is that one again. */
function put(segment: Segment, entry: number, hash: number): void {
  const { slots } = segment;
  let slot = home(slots, hash);
  while (slots[slot] !== 0) {
    if (slots[slot] === entry && slots[slot + 1] === hash) return;
    slot = (slot + 2) & (slots.length - 1);
  }
  slots[slot] = entry;
  slots[slot + 1] = hash;
  segment.taken++;
}
