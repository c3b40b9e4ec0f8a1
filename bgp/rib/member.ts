import type { BitSet } from './arrays.ts';

/** Where a member's bytes go. */
export interface MemberSink {
  /**
   * Takes whole messages: the first `length` octets, of which all of `bytes` may be kept, but not part of them. Always takes them; a full
   * sink only says so in `writable`.
   */
  write(bytes: Uint8Array, length: number): void;
  /** False: the member falls behind and is pumped later. */
  readonly writable: boolean;
  /** The backlog was written in full, with End-of-RIB after it where `endOfRib`. */
  caughtUp?(endOfRib: boolean): void;
}

export interface Member {
  readonly peer: number;
  readonly sink: MemberSink;
  /** Prefixes (rows, see above) the member must still be told of. */
  readonly backlog: BitSet;
  /** Where the last pump stopped. */
  cursor: number;
  endOfRibDue: boolean;
}

/** Members that a pass has to do with, written over by the next one: to empty an array gives away its room, for each change. */
export class MemberList {
  readonly items: Member[] = [];
  length = 0;

  push(member: Member): void {
    this.items[this.length++] = member;
  }
  clear(): void {
    this.length = 0;
  }
  /** Also of what is left of earlier passes. */
  forget(): void {
    this.items.length = this.length = 0;
  }
}
