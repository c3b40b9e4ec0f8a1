/**
 * How much all connections together are read in one turn of the event loop, before the deferred work, timers and others get theirs.
 *
 * What a read costs depends on what came: an octet of withdrawals is more work than one of communities, and some peers mean it. So it is
 * time that is shared out, and each read is as long as reads of late let expect to fit. A thousand connections may be readable at
 * once: who finds nothing left is asked again in the next turn, in which those go first that were read least recently.
 *
 * A turn in which next to nothing is read need not be told from the one after it: several such count as one, until they have had a small part of
 * what a turn may have. So a single message costs no call at the end of its turn.
 */

/** Octets of all connections in one turn. */
export const readBytesPerTurnMax = 64 * 1024;
/**
 * Octets in one read. A longer one is no faster, and is worked off in one piece, however slow the code is right then: not compiled yet, or taken
 * back.
 */
export const readBytesMax = 32 * 1024;
export const readBytesMin = 4 * 1024;
/** The first ones: what comes may be more work than it looks, and code that has not run yet takes several times as long. */
const readBytesFirst = 16 * 1024;
/** Reads of one turn end once they took so long; one read is to take no more. */
export const readMsPerTurn = 4;
/** Up to this, little was read. */
export const littleBytes = 4 * 1024;
const littleMs = readMsPerTurn / 8;

export class ReadBudget {
  readonly #nowMs: () => number;
  readonly #defer: (fn: () => void) => void;
  turn = 1;
  /** When the last read had been worked off. */
  readAtMs = 0;
  /** Read in this turn, and in those before it that are not told from it. */
  #bytes = 0;
  #ms = 0;
  /** Of those who found nothing left in this turn: the least of their last turns; and of the turn before, whose turn it is now. */
  #waitingSince = Number.POSITIVE_INFINITY;
  #firstAre = Number.POSITIVE_INFINITY;
  #length = readBytesFirst;
  #begun = false;

  /** @param defer calls when all that is readable in this turn has been asked. */
  constructor(nowMs: () => number, defer: (fn: () => void) => void) {
    this.#nowMs = nowMs;
    this.#defer = defer;
  }

  /** Octets that a connection may read now; 0: later. @param lastTurn what `read` returned last, or `turn` of when there was the connection. */
  allowance(lastTurn: number): number {
    if (this.little) return this.#length;
    this.#begin();
    const spent = this.#bytes >= readBytesPerTurnMax || this.#ms >= readMsPerTurn;
    if (!spent && lastTurn < this.turn && lastTurn <= this.#firstAre) return this.#length;
    this.#waitingSince = Math.min(this.#waitingSince, lastTurn);
    return 0;
  }

  /** Hardly anything has been read, and nobody waits for his turn. */
  get little(): boolean {
    return !this.#begun && this.#firstAre === Number.POSITIVE_INFINITY;
  }

  /** All others had theirs, and nobody waits for his turn: what was read before counts no more. */
  readonly quiet = (): void => {
    if (!this.little) return;
    this.#bytes = 0;
    this.#ms = 0;
  };

  /** Accounts for a read and what became of it; returns the turn. */
  read(bytes: number, startedMs: number): number {
    this.readAtMs = this.#nowMs();
    const ms = this.readAtMs - startedMs;
    this.#bytes += bytes;
    this.#ms += ms;
    if (!this.#begun && (this.#bytes > littleBytes || this.#ms > littleMs)) {
      // Whoever has read up to now is behind those who have not.
      this.turn++;
      this.#begin();
    }
    if (ms > readMsPerTurn) this.#length = Math.max(readBytesMin, this.#length >> 1);
    else if (bytes === this.#length && 3 * ms < readMsPerTurn) this.#length = Math.min(readBytesMax, 2 * this.#length);
    return this.turn;
  }

  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#defer(this.#next);
  }
  readonly #next = (): void => {
    this.#begun = false;
    this.turn++;
    this.#bytes = 0;
    this.#ms = 0;
    this.#firstAre = this.#waitingSince;
    this.#waitingSince = Number.POSITIVE_INFINITY;
  };
}
