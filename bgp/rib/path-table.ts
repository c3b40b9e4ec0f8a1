/**
 * Paths of one family (the Adj-RIB-Ins, and what we originate as peer 0): rows of columns, chained per prefix. 17 bytes
 * a path, 19 where there are more than 65,536 next hops; a path has no object. Rows that were never used are not touched, so
 * that the room which is left after growing takes no memory.
 *
 * Path identifiers (RFC 7911) are two more columns of 4 bytes. Neither exists before it is needed: `pathId` until a peer
 * sends one that is not 0, `sentId` until some peer gets several paths.
 */
import { BitSet, grow, IntStack } from './arrays.ts';

/** The row of the peer table that stands for ourselves. */
export const localPeer = 0;

export const pathFlag = {
  /** Kept over a restart of the peer, not confirmed yet (RFC 4724 4.2). */
  stale: 1,
  /** Not announced again since the peer's BoRR (RFC 7313 4.2). */
  unconfirmed: 2,
  /** The import policy rejects it; kept with the attributes as received, and never chosen. */
  rejected: 0x80,
} as const;

export class PathTable {
  /** Next path of the same prefix, plus 1; 0: the last. */
  next = new Int32Array(256);
  /** Prefix id; -1: the row is free. Says nothing from `limit` on. */
  prefix = new Int32Array(256);
  peer = new Uint16Array(256);
  attributes = new Int32Array(256);
  /** Read-only: see `setNextHop`. */
  nextHop: Uint16Array | Int32Array = new Uint16Array(256);
  flags = new Uint8Array(256);
  /** As received; shorter than the others where the rest is 0. */
  #pathId = new Uint32Array(0);
  /** Under which a path is announced to peers that take several; 0: none yet. Shorter where the rest is 0. */
  #sentId = new Uint32Array(0);
  /** Empty between calls. */
  readonly #usedIds = new BitSet();
  /** Rows ever used are below this. */
  limit = 0;
  readonly #free = new IntStack();

  /** A row with all columns set but `next`. */
  make(prefix: number, peer: number, attributes: number, nextHop: number, pathId: number): number {
    const id = this.#free.length > 0 ? this.#free.pop() : this.limit++;
    if (id >= this.prefix.length) {
      this.next = grow(this.next, id + 1);
      this.prefix = grow(this.prefix, id + 1);
      this.peer = grow(this.peer, id + 1);
      this.attributes = grow(this.attributes, id + 1);
      this.nextHop = grow(this.nextHop, id + 1);
      this.flags = grow(this.flags, id + 1);
    }
    this.prefix[id] = prefix;
    this.peer[id] = peer;
    this.attributes[id] = attributes;
    this.setNextHop(id, nextHop);
    this.flags[id] = 0;
    if (id < this.#sentId.length) this.#sentId[id] = 0;
    if (id < this.#pathId.length) this.#pathId[id] = pathId;
    else if (pathId !== 0) {
      this.#pathId = grow(this.#pathId, this.prefix.length);
      this.#pathId[id] = pathId;
    }
    return id;
  }
  setNextHop(id: number, nextHop: number): void {
    if (nextHop > 0xffff && this.nextHop instanceof Uint16Array) this.nextHop = Int32Array.from(this.nextHop);
    this.nextHop[id] = nextHop;
  }
  /** Path identifier as received, unsigned 32 bit; 0 where the peer sends none. */
  pathId(id: number): number {
    return id < this.#pathId.length ? this.#pathId[id]! : 0;
  }
  /**
   * Path identifier under which the path is announced, 1 or more: given at the first call and kept for the life of the path,
   * unique among the paths of the prefix and no greater than the most paths it ever had at once.
   *
   * @param first row of the first path of the prefix plus 1.
   */
  sentId(id: number, first: number): number {
    if (id >= this.#sentId.length) this.#sentId = grow(this.#sentId, this.prefix.length);
    const sent = this.#sentId;
    if (sent[id] === 0) sent[id] = this.#freeSentId(first);
    return sent[id]!;
  }
  /** The lowest identifier that no path of the prefix has. */
  #freeSentId(first: number): number {
    const used = this.#usedIds;
    const { next } = this;
    const sent = this.#sentId;
    for (let link = first; link !== 0; link = next[link - 1]!) if (link <= sent.length) used.add(sent[link - 1]!);
    let free = 1;
    while (used.has(free)) free++;
    for (let link = first; link !== 0; link = next[link - 1]!) if (link <= sent.length) used.delete(sent[link - 1]!);
    return free;
  }
  free(id: number): void {
    this.prefix[id] = -1;
    this.#free.push(id);
  }
}

/** What the decision process knows of peers, by row; row 0 is ourselves. Shared by both families. */
export class PeerTable {
  ebgp = new Uint8Array(16);
  /** Route reflection (RFC 4456): the peer is internal and a client of ours. */
  client = new Uint8Array(16);
  /** Unsigned; from the OPEN. */
  routerId = new Uint32Array(16);
  /** Rank of the peer's address among all: the last tie-break (RFC 4271 9.1.2.2 g). */
  addressOrder = new Int32Array(16);
  /** Shortest prefix whose BLACKHOLE is obeyed (RFC 7999), by family; 0: that of none. */
  blackhole4 = new Uint8Array(16);
  blackhole6 = new Uint8Array(16);
  /** As configured; what filters and people call the peer. */
  readonly names: string[] = [''];
  limit = 1;
  readonly #free = new IntStack();

  make(): number {
    const row = this.#free.length > 0 ? this.#free.pop() : this.limit++;
    if (row > 0xffff) throw new Error('more than 65535 peers');
    if (row >= this.ebgp.length) {
      this.ebgp = grow(this.ebgp, row + 1);
      this.client = grow(this.client, row + 1);
      this.blackhole4 = grow(this.blackhole4, row + 1);
      this.blackhole6 = grow(this.blackhole6, row + 1);
      this.routerId = grow(this.routerId, row + 1);
      this.addressOrder = grow(this.addressOrder, row + 1);
    }
    return row;
  }
  /** Only when no path and no announcement names the row any more. */
  free(row: number): void {
    this.#free.push(row);
  }
}
