/**
 * Paths of one family (the Adj-RIB-Ins, and what we originate as peer 0): rows of columns, chained per prefix. 10 bytes
 * a path, more where there are more than 256 peers or next hops; a path has no object. Rows that were never used are not touched, so
 * that the room which is left after growing takes no memory.
 *
 * What most tables do without is a column that does not exist before it is needed: flags (1 byte) until there is one, `pathId`
 * (4 bytes, RFC 7911) until a peer sends one that is not 0, `sentId` (4 bytes) until some peer gets several paths.
 */
import { BitSet, ColumnGrowth, firstRows, grow, IntStack, resized } from './arrays.ts';

/** The row of the peer table that stands for ourselves. */
export const localPeer = 0;

export const pathFlag = {
  /** Kept over a restart of the peer, not confirmed yet (RFC 4724 4.2). */
  stale: 1,
  /** Not announced again since the peer's BoRR (RFC 7313 4.2). */
  unconfirmed: 2,
  /** Of the past, and neither of those any more: goes in its turn unless the peer announces it again; see removals.ts. */
  going: 4,
  /** The import policy rejects it; kept with the attributes as received, and never chosen. */
  rejected: 0x80,
} as const;

/** Paths that were given a flag, and how many of them were `stale` and `unconfirmed` before. */
interface Turned {
  readonly turned: number;
  readonly stale: number;
  readonly unconfirmed: number;
}

/** A column as wide as what is in it. */
type Narrow = Uint8Array | Uint16Array | Int32Array;

/** `next` of the free row that is given last; of others less the row after them, plus 1. Prefix ids are fewer. */
const freeRow = -0x4000_0000;

export class PathTable {
  /** Next path of the same prefix, plus 1; of the last one -1 less the prefix id, so that no path has to say which its prefix is. */
  next = new Int32Array(firstRows);
  peer: Narrow = new Uint8Array(firstRows);
  attributes = new Int32Array(firstRows);
  /** Read-only: see `setNextHop`. */
  nextHop: Narrow = new Uint8Array(firstRows);
  readonly #growth = new ColumnGrowth(firstRows, [
    (rows) => (this.next = resized(this.next, rows)),
    (rows) => (this.peer = resized(this.peer, rows)),
    (rows) => (this.attributes = resized(this.attributes, rows)),
    (rows) => (this.nextHop = resized(this.nextHop, rows)),
  ]);
  /** Shorter than the others where the rest is 0. */
  #flags = new Uint8Array(0);
  /** As received; shorter than the others where the rest is 0. */
  #pathId = new Uint32Array(0);
  /** Under which a path is announced to peers that take several; 0: none yet. Shorter where the rest is 0. */
  #sentId = new Uint32Array(0);
  /** Empty between calls. */
  readonly #usedIds = new BitSet();
  /** Rows ever used are below this. */
  limit = 0;
  /** Free rows, plus 1, 0: none, chained in the order in which they became free: who announces a table again fills them in order. */
  #firstFree = 0;
  #lastFree = 0;

  /** A row in front of the other paths of a prefix. @param first of those, plus 1; 0: there are none. */
  make(prefix: number, first: number, peer: number, attributes: number, nextHop: number, pathId: number): number {
    const id = this.#firstFree > 0 ? this.#firstFree - 1 : this.limit++;
    if (this.#firstFree > 0) this.#firstFree = freeRow - this.next[id]!;
    if (id >= this.#growth.due) this.#growth.makeRoom(id);
    this.next[id] = first > 0 ? first : -1 - prefix;
    if (peer > largest(this.peer)) this.peer = this.#widened(this.peer, peer);
    this.peer[id] = peer;
    this.attributes[id] = attributes;
    this.setNextHop(id, nextHop);
    this.setFlags(id, 0);
    if (id < this.#sentId.length) this.#sentId[id] = 0;
    if (id < this.#pathId.length) this.#pathId[id] = pathId;
    else if (pathId !== 0) {
      this.#pathId = grow(this.#pathId, this.next.length);
      this.#pathId[id] = pathId;
    }
    return id;
  }
  setNextHop(id: number, nextHop: number): void {
    if (nextHop > largest(this.nextHop)) this.nextHop = this.#widened(this.nextHop, nextHop);
    this.nextHop[id] = nextHop;
  }
  /** Of `pathFlag`, or-ed. */
  flags(id: number): number {
    return id < this.#flags.length ? this.#flags[id]! : 0;
  }
  setFlags(id: number, flags: number): void {
    if (id >= this.#flags.length) {
      if (flags === 0) return;
      this.#flags = grow(this.#flags, this.next.length);
    }
    this.#flags[id] = flags;
  }
  /** Sets a flag of all paths of a peer that are not `going`; how many did not have it. */
  mark(peer: number, flag: number): number {
    return this.#turn(peer, 0, ~0, flag).turned;
  }
  /** Makes paths of a peer `going`: those that have `flag`; 0: all. How many, and how many of them were `stale` and `unconfirmed`. */
  condemn(peer: number, flag: number): Turned {
    return this.#turn(peer, flag, pathFlag.rejected, pathFlag.going);
  }
  /** Sets a flag of paths of a peer that are not `going`: of those that have `having`; 0: of all. Of their flags before, `kept` stay. */
  #turn(peer: number, having: number, kept: number, flag: number): Turned {
    if (this.#flags.length < this.limit) this.#flags = grow(this.#flags, this.next.length);
    const { limit, next } = this;
    const peers = this.peer;
    const flags = this.#flags;
    const unless = flag | pathFlag.going;
    let [turned, stale, unconfirmed] = [0, 0, 0];
    for (let id = 0; id < limit; id++) {
      if (peers[id] !== peer || (flags[id]! & unless) !== 0 || next[id]! <= freeRow) continue;
      const had = flags[id]!;
      if (having !== 0 && (had & having) === 0) continue;
      flags[id] = (had & kept) | flag;
      turned++;
      if ((had & pathFlag.stale) !== 0) stale++;
      if ((had & pathFlag.unconfirmed) !== 0) unconfirmed++;
    }
    return { turned, stale, unconfirmed };
  }
  /** Whether a row below `limit` is a path. */
  isPath(id: number): boolean {
    return this.next[id]! > freeRow;
  }
  /** Of a path: at the end of the chain, so a walk over the others of the prefix. */
  prefixOf(id: number): number {
    const { next } = this;
    let link = next[id]!;
    while (link > 0) link = next[link - 1]!;
    return -1 - link;
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
    if (id >= this.#sentId.length) this.#sentId = grow(this.#sentId, this.next.length);
    const sent = this.#sentId;
    if (sent[id] === 0) sent[id] = this.#freeSentId(first);
    return sent[id]!;
  }
  /** The lowest identifier that no path of the prefix has. */
  #freeSentId(first: number): number {
    const used = this.#usedIds;
    const { next } = this;
    const sent = this.#sentId;
    for (let link = first; link > 0; link = next[link - 1]!) if (link <= sent.length) used.add(sent[link - 1]!);
    let free = 1;
    while (used.has(free)) free++;
    for (let link = first; link > 0; link = next[link - 1]!) if (link <= sent.length) used.delete(sent[link - 1]!);
    return free;
  }
  /** Of a row that is in no chain any more. */
  free(id: number): void {
    this.next[id] = freeRow;
    if (this.#firstFree === 0) this.#firstFree = id + 1;
    else this.next[this.#lastFree - 1] = freeRow - (id + 1);
    this.#lastFree = id + 1;
  }

  #widened(column: Narrow, value: number): Narrow {
    const wider = value > 0xffff ? new Int32Array(column.length) : new Uint16Array(column.length);
    wider.set(column.subarray(0, this.limit));
    return wider;
  }
}

/** That a column can hold: of 32 bits, all that there is. */
function largest(column: Narrow): number {
  return column instanceof Uint8Array ? 0xff : column instanceof Uint16Array ? 0xffff : 0x7fff_ffff;
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
