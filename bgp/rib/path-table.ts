/**
 * Paths of one family (the Adj-RIB-Ins, and what we originate as peer 0): rows of columns, chained per prefix. 17 bytes
 * a path; a path has no object.
 */
import { grow, IntStack } from './arrays.ts';

/** The row of the peer table that stands for ourselves. */
export const localPeer = 0;

export const pathFlag = {
  /** Kept over a restart of the peer, not confirmed yet (RFC 4724 4.2). */
  stale: 1,
  /** Not announced again since the peer's BoRR (RFC 7313 4.2). */
  unconfirmed: 2,
} as const;

export class PathTable {
  /** Next path of the same prefix, plus 1; 0: the last. */
  next = new Int32Array(256);
  /** Prefix id; -1: the row is free. */
  prefix = new Int32Array(256).fill(-1);
  peer = new Uint16Array(256);
  attributes = new Int32Array(256);
  nextHop = new Int32Array(256);
  flags = new Uint8Array(256);
  /** Rows ever used are below this. */
  limit = 0;
  readonly #free = new IntStack();

  /** A row with all columns set but `next`. */
  make(prefix: number, peer: number, attributes: number, nextHop: number): number {
    const id = this.#free.length > 0 ? this.#free.pop() : this.limit++;
    if (id >= this.prefix.length) {
      this.next = grow(this.next, id + 1);
      this.prefix = grow(this.prefix, id + 1, -1);
      this.peer = grow(this.peer, id + 1);
      this.attributes = grow(this.attributes, id + 1);
      this.nextHop = grow(this.nextHop, id + 1);
      this.flags = grow(this.flags, id + 1);
    }
    this.prefix[id] = prefix;
    this.peer[id] = peer;
    this.attributes[id] = attributes;
    this.nextHop[id] = nextHop;
    this.flags[id] = 0;
    return id;
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
  limit = 1;
  readonly #free = new IntStack();

  make(): number {
    const row = this.#free.length > 0 ? this.#free.pop() : this.limit++;
    if (row > 0xffff) throw new Error('more than 65535 peers');
    if (row >= this.ebgp.length) {
      this.ebgp = grow(this.ebgp, row + 1);
      this.client = grow(this.client, row + 1);
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
