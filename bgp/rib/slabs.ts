/**
 * Octets of any length, packed behind one another in slabs: no object apiece, nothing for the garbage collector to look at, and what a
 * withdrawn table leaves goes back to the system slab by slab.
 *
 * A block is its owner's number, its length, and the octets, padded with zeros to whole words. Blocks are only ever put at the end of the
 * open slab, where one that comes and goes alone is put in the same place each time: memory that was never touched is a page fault, 10 us
 * for whom it befalls. A slab whose last block was freed goes. When more than half of what was put into closed slabs is freed, the emptiest of them
 * is moved to the end of the open one, and its owners are told. So slabs are at most twice as large as what is in them and two slabs more
 * (more where blocks are so long that few fit behind one another), and an octet freed costs the move of one other.
 */
const slabBits = 16;
/** Of 4 octets: 256 KiB. */
const slabWords = 1 << slabBits;
const offsetMask = slabWords - 1;
/** Owner and length. */
const headWords = 2;
/** Longest block, in octets. */
export const blockOctetsMax = 4 * (slabWords - headWords);

/** Whoever frees a block, or is given another, need not look at it: that would be a read of cold memory. */
export interface BlockOwners {
  /** Whether the block at an address, which was put there for this owner, was not freed since. */
  has(owner: number, address: number): boolean;
  /** A block is now elsewhere. */
  moved(owner: number, address: number): void;
}

interface Slab {
  readonly words: Int32Array;
  readonly octets: Uint8Array;
  /** Words of blocks put here, and of those that were not freed. */
  filled: number;
  live: number;
}

export class Slabs {
  readonly #slabs: (Slab | undefined)[] = [];
  /** Index of the open slab. */
  #open = 0;
  /** Of closed slabs. */
  #filled = 0;
  #live = 0;
  readonly #owners: BlockOwners;

  constructor(owners: BlockOwners) {
    this.#owners = owners;
    this.#slabs.push(newSlab());
  }

  /** Octets that slabs have. */
  get capacity(): number {
    return 4 * slabWords * this.#slabs.filter((slab) => slab !== undefined).length;
  }

  /**
   * Puts a copy of the first `octets` octets of `from` behind the others; returns its address.
   *
   * @param from zero from there to the end of the word. @param octets at most `blockOctetsMax`.
   */
  put(owner: number, from: Int32Array, octets: number): number {
    return this.#put(owner, from, 0, octets);
  }

  /** Its owner does not have it any more. @param octets as it was put. */
  free(address: number, octets: number): void {
    const index = address >> slabBits;
    const slab = this.#slabs[index]!;
    const size = headWords + wordsOf(octets);
    slab.live -= size;
    if (index === this.#open) {
      if (slab.live === 0) slab.filled = 0;
      else if ((address & offsetMask) + size === slab.filled) slab.filled -= size;
      return;
    }
    this.#live -= size;
    if (slab.live === 0) this.#drop(index, slab);
    else if (2 * this.#live < this.#filled) this.#moveEmptiest();
  }

  /** Whether a block, which is as long, is the first `octets` octets of `words`, behind which the word is zero. */
  equals(address: number, words: Int32Array, octets: number): boolean {
    const own = this.#slabs[address >> slabBits]!.words;
    const base = (address & offsetMask) + headWords;
    const count = wordsOf(octets);
    for (let i = 0; i < count; i++) if (own[base + i] !== words[i]) return false;
    return true;
  }

  /** The slab of a block, and where it begins there: valid until the next `put` or `free`. */
  octets(address: number): Uint8Array {
    return this.#slabs[address >> slabBits]!.octets;
  }
  start(address: number): number {
    return 4 * ((address & offsetMask) + headWords);
  }

  #put(owner: number, from: Int32Array, start: number, octets: number): number {
    const count = wordsOf(octets);
    const slab = this.#room(headWords + count);
    const { words, filled: at } = slab;
    words[at] = owner;
    words[at + 1] = octets;
    const base = at + headWords;
    for (let i = 0; i < count; i++) words[base + i] = from[start + i]!;
    slab.filled = base + count;
    slab.live += headWords + count;
    return (this.#open << slabBits) | at;
  }

  /** The open slab, with room for so many words. */
  #room(size: number): Slab {
    const open = this.#slabs[this.#open]!;
    if (open.filled + size <= slabWords) return open;
    this.#filled += open.filled;
    this.#live += open.live;
    let index = this.#slabs.indexOf(undefined);
    if (index < 0) index = this.#slabs.length;
    this.#open = index;
    const slab = newSlab();
    this.#slabs[index] = slab;
    return slab;
  }

  #drop(index: number, slab: Slab): void {
    this.#filled -= slab.filled;
    this.#slabs[index] = undefined;
  }

  #moveEmptiest(): void {
    let emptiest = -1;
    let most = 0;
    for (let i = 0; i < this.#slabs.length; i++) {
      const slab = this.#slabs[i];
      if (i === this.#open || !slab || slab.filled - slab.live <= most) continue;
      emptiest = i;
      most = slab.filled - slab.live;
    }
    const slab = this.#slabs[emptiest]!;
    const { words, filled } = slab;
    this.#live -= slab.live;
    slab.live = 0;
    for (let at = 0; at < filled; at += headWords + wordsOf(words[at + 1]!)) {
      const owner = words[at]!;
      if (!this.#owners.has(owner, (emptiest << slabBits) | at)) continue;
      this.#owners.moved(owner, this.#put(owner, words, at + headWords, words[at + 1]!));
    }
    this.#drop(emptiest, slab);
  }
}

/** Its pages take no memory before something is put there. */
function newSlab(): Slab {
  const words = new Int32Array(slabWords);
  return { words, octets: new Uint8Array(words.buffer), filled: 0, live: 0 };
}

function wordsOf(octets: number): number {
  return (octets + 3) >> 2;
}
