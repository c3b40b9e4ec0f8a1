/**
 * The path attributes of a peer's last announcement, as received, and what became of them. A node announces its blocks one by one with the same
 * ones, and a route that flaps comes back with those that it had: they are compared, and nothing of them is decoded, judged and looked up again. What
 * counts then is how little code and memory one change needs, all of it cold.
 */
import { copy, read16 } from '../wire/bytes.ts';
import { headerBytes, type UpdateView } from '../wire/index.ts';

/** Longer ones are not remembered: a copy is kept for each peer. */
export const repeatedBytesMax = 64;

const nothing = new Uint8Array(0);

export class RepeatedAttributes {
  /** The set that was made of them. */
  set = 0;
  /** Id of the NEXT_HOP. */
  nextHop = 0;
  communityFlags = 0;
  /** Made when there is something to remember. */
  #octets = nothing;
  /** -1: nothing is remembered. */
  #length = -1;
  #era = 0;

  /**
   * What is remembered of the UPDATE in `view`, which was accepted whole and announces IPv4 prefixes alone, in the fields of RFC 4271, with
   * a next hop that may be used.
   *
   * @param era for how long `set` and `nextHop` are what they are.
   */
  note(view: UpdateView, set: number, nextHop: number, era: number): void {
    const { bytes, attributesStart, attributesEnd } = view;
    const length = attributesEnd - attributesStart;
    this.#length = -1;
    if (length > repeatedBytesMax) return;
    if (this.#octets.length === 0) this.#octets = new Uint8Array(repeatedBytesMax);
    copy(bytes, attributesStart, attributesEnd, this.#octets, 0);
    this.#length = length;
    this.#era = era;
    this.set = set;
    this.nextHop = nextHop;
    this.communityFlags = view.communityFlags;
  }

  /**
   * Whether the UPDATE at `bytes[start..end)` withdraws nothing and has the same attributes, and it is the same era.
   *
   * @returns where its NLRI begins, which is not empty and not looked at; -1: no.
   */
  nlriIn(bytes: Uint8Array, start: number, end: number, era: number): number {
    const length = this.#length;
    const body = start + headerBytes;
    const from = body + 4;
    const nlri = from + length;
    if (length < 0 || nlri >= end || this.#era !== era) return -1;
    if (read16(bytes, body) !== 0 || read16(bytes, body + 2) !== length) return -1;
    const octets = this.#octets;
    for (let i = 0; i < length; i++) if (octets[i] !== bytes[from + i]) return -1;
    return nlri;
  }
}
