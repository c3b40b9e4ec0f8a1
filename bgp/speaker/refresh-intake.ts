/**
 * A peer's enhanced route refresh of one family as its receiver (RFC 7313 4.2): from BoRR on every route of the peer has to be
 * announced again; what was not by EoRR, or when the time for it is over, goes. Routes stay in use meanwhile.
 *
 * The mark is another one than graceful restart's: that one belongs to routes of a session that ended, this to the session.
 */
import type { Clock, Logger } from '#kit';
import type { Rib } from '../rib/index.ts';
import { refreshSecMax, refreshSpacingMs } from './limits.ts';

export interface RefreshIntakeOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly rib: Rib;
  /** Of the peer. */
  readonly row: number;
  /** Routes went: a flush is due. */
  readonly changed: () => void;
}

export class RefreshIntake {
  readonly #options: RefreshIntakeOptions;
  #cancelTimer: (() => void) | undefined;
  #begunMs = Number.NEGATIVE_INFINITY;

  constructor(options: RefreshIntakeOptions) {
    this.#options = options;
  }

  /** BoRR. A pass over the table each; those that come too fast are taken as part of the one before. */
  begin(): void {
    const { clock, rib, row, log } = this.#options;
    const now = clock.nowMs();
    if (now - this.#begunMs < refreshSpacingMs) return;
    this.#begunMs = now;
    this.cancel();
    rib.beginRefresh(row);
    this.#cancelTimer = clock.schedule(refreshSecMax * 1000, () => {
      log.warn({ family: rib.family, refreshSecMax }, 'no EoRR in time: routes not announced again are dropped');
      this.end();
    });
  }

  /** EoRR. Without a BoRR before it there is nothing to drop. */
  end(): void {
    if (!this.#cancelTimer) return;
    this.cancel();
    const { rib, row, log, changed } = this.#options;
    const dropped = rib.endRefresh(row);
    if (dropped > 0) log.info({ family: rib.family, dropped }, 'routes that a refresh did not confirm are dropped');
    changed();
  }

  /** The session ended. */
  cancel(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }
}
