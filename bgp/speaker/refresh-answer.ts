/**
 * How a peer's requests for our routes of one family are answered (RFC 2918 4, RFC 7313 4.1): everything announced becomes
 * the member's backlog again, with BoRR before and EoRR after it where both sides know them.
 *
 * - BoRR waits for End-of-RIB: before it the receiver would have to ignore it (RFC 7313 4.2).
 * - Requests that come while an answer is under way are answered by one more, after it: however many there are, no more
 *   than one pass over the table is made for each time that it was sent.
 */
import { encodeRouteRefresh, type Family } from '../wire/index.ts';
import type { Membership } from './groups.ts';

export interface RefreshAnswerOptions {
  readonly family: Family;
  /** Both sides offered RFC 7313. */
  readonly enhanced: boolean;
  readonly send: (message: Uint8Array) => void;
  /** The membership of the moment; undefined: nothing of the family is announced. */
  readonly membership: () => Membership | undefined;
}

export class RefreshAnswer {
  readonly #options: RefreshAnswerOptions;
  #endOfRibSent = false;
  #running = false;
  #asked = false;

  constructor(options: RefreshAnswerOptions) {
    this.#options = options;
  }

  /** A request came. */
  ask(): void {
    const early = this.#options.enhanced && !this.#endOfRibSent;
    if (this.#running || early) this.#asked = true;
    else this.#begin();
  }

  /** All that was due was written. @param endOfRib End-of-RIB was part of it. */
  caughtUp(endOfRib: boolean): void {
    if (endOfRib) this.#endOfRibSent = true;
    if (this.#running) this.#end();
    if (!this.#asked || (this.#options.enhanced && !this.#endOfRibSent)) return;
    this.#asked = false;
    this.#begin();
  }

  #begin(): void {
    this.#running = true;
    this.#mark(1);
    const membership = this.#options.membership();
    membership?.group.refresh(membership.member);
    // With nothing to tell, nothing is pumped.
    if (!membership || membership.member.backlog.count === 0) this.#end();
  }
  #end(): void {
    this.#running = false;
    this.#mark(2);
  }
  #mark(subtype: 1 | 2): void {
    const { enhanced, family, send } = this.#options;
    if (enhanced) send(encodeRouteRefresh(family, subtype));
  }
}
