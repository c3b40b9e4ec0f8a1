/**
 * Graceful restart as helper: which routes of one peer outlive its session, and how long (RFC 4724 4.2, RFC 8538 4, RFC 9494 4.2).
 * Per family:
 *
 *            session lost            restart time over              stale time over
 *   fresh ----------------> restart -------------------> longLived -----------------> gone
 *     ^                        |         (RFC 9494)          |
 *     +--- announced again ----+---- End-of-RIB sweeps ------+
 *
 * - A peer that is back without a family's forwarding state (F bit) loses what was kept at once; otherwise it has until
 *   End-of-RIB, `staleRoutesSecMax` at most.
 * - The long-lived timer runs on when the session is back, until End-of-RIB, and is never set again before that. When it ends
 *   first, what was not announced again goes, and a session that is lost then keeps nothing.
 * - Consecutive restarts: what was still stale goes (RFC 4724 4.2), unless the family has a long-lived stale time: then it
 *   stays until restart time and stale time after the first loss are over (RFC 9494 4.2).
 */
import type { Clock, Logger } from '#kit';
import { markLongLived, pathFlag, type Rib } from '../rib/index.ts';
import type { Negotiated } from '../wire/index.ts';
import type { Family } from './config.ts';
import { staleRoutesSecMax } from './limits.ts';

export interface StaleRoutesDeps {
  readonly clock: Clock;
  readonly log: Logger;
  rib(family: Family): Rib;
  /** Paths changed: a flush is due. */
  schedule(): void;
}

/** `expired`: the long-lived time ended while the peer was telling its routes anew. */
type Phase = 'fresh' | 'restart' | 'longLived' | 'expired';

interface FamilyState {
  phase: Phase;
  /** When the session was lost that made the oldest stale route stale. */
  lostAtMs: number;
  cancelTimer: (() => void) | undefined;
}

/** A stale time may be 194 days, a timer of Node 24. */
const timerSecMax = 14 * 86_400;

const families = ['ipv4-unicast', 'ipv6-unicast'] as const;

export class StaleRoutes {
  readonly #deps: StaleRoutesDeps;
  readonly #row: number;
  readonly #states = new Map<Family, FamilyState>(
    families.map((family) => [family, { phase: 'fresh', lostAtMs: 0, cancelTimer: undefined }]),
  );
  #up = false;

  /** @param row of the peer in the RIBs. */
  constructor(deps: StaleRoutesDeps, row: number) {
    this.#deps = deps;
    this.#row = row;
  }

  /** Absent: no route of the family is kept over a restart now. */
  phase(family: Family): 'restart' | 'longLived' | undefined {
    const { phase } = this.#states.get(family)!;
    return phase === 'restart' || phase === 'longLived' ? phase : undefined;
  }

  /** @param preserve whether the end of the session leaves routes in place at all. */
  sessionLost(negotiated: Negotiated, preserve: boolean): void {
    this.#up = false;
    for (const family of families) {
      const { restartSec, longLivedSec } = retention(negotiated, family);
      const { phase } = this.#states.get(family)!;
      if (!preserve || restartSec + longLivedSec === 0 || phase === 'expired') this.#dropFamily(family);
      else if (phase === 'longLived' && longLivedSec > 0) this.#stayLongLived(family);
      else this.#keep(family, restartSec, longLivedSec);
    }
    this.#deps.schedule();
  }

  sessionUp(negotiated: Negotiated): void {
    this.#up = true;
    for (const family of families) {
      this.#deps.rib(family).removals.setApart(this.#row);
      const state = this.#states.get(family)!;
      if (state.phase === 'fresh') continue;
      if (!forwarded(negotiated, family, state.phase)) this.#sweep(family);
      else if (state.phase === 'restart') {
        this.#startTimer(family, staleRoutesSecMax, () => this.#timedOut(family, 'no End-of-RIB after the restart'));
      }
    }
    this.#deps.schedule();
  }

  /** Everything the peer has of the family it has announced again. */
  endOfRib(family: Family): void {
    this.#sweep(family);
    this.#deps.schedule();
  }

  /** Drops all routes of the peer, stale or not: of all families, or but those. */
  drop(except: readonly Family[] = []): void {
    for (const family of families) if (!except.includes(family)) this.#dropFamily(family);
    this.#deps.schedule();
  }

  /** Another import policy judged the peer's routes by what was received: those of last resort are so still. */
  judgedAnew(): void {
    for (const family of families) {
      if (this.#states.get(family)!.phase === 'longLived') markLongLived(this.#deps.rib(family), this.#row);
    }
  }

  #keep(family: Family, restartSec: number, longLivedSec: number): void {
    const rib = this.#deps.rib(family);
    const state = this.#states.get(family)!;
    const now = this.#deps.clock.nowMs();
    const spent = state.phase === 'fresh' || now - state.lostAtMs >= (restartSec + longLivedSec) * 1000;
    const keepOlder = longLivedSec > 0 && !spent;
    rib.markStale(this.#row, keepOlder);
    if ((rib.staleCount[this.#row] ?? 0) === 0) {
      this.#reset(family);
      return;
    }
    if (!keepOlder) state.lostAtMs = now;
    state.phase = 'restart';
    if (restartSec === 0) this.#enterLongLived(family, longLivedSec);
    else {
      this.#startTimer(family, restartSec, () => {
        if (longLivedSec > 0) this.#enterLongLived(family, longLivedSec);
        else this.#timedOut(family, 'restart time is over');
      });
    }
  }

  /** RFC 9494 4.2: marked, less preferred than any other, kept for the peer's long-lived stale time. */
  #enterLongLived(family: Family, longLivedSec: number): void {
    this.#states.get(family)!.phase = 'longLived';
    this.#deps.log.warn({ family, longLivedSec }, 'restart time is over: routes are kept as those of last resort');
    markLongLived(this.#deps.rib(family), this.#row);
    this.#startTimer(family, longLivedSec, () => this.#timedOut(family, 'long-lived stale time is over'));
    this.#deps.schedule();
  }

  /** Lost again before End-of-RIB: what had come anew shares the fate of the rest, and the timer is not touched. */
  #stayLongLived(family: Family): void {
    const rib = this.#deps.rib(family);
    rib.markStale(this.#row, true);
    markLongLived(rib, this.#row);
  }

  #timedOut(family: Family, why: string): void {
    const state = this.#states.get(family)!;
    const expired = this.#up && state.phase === 'longLived';
    const staleCount = this.#deps.rib(family).staleCount[this.#row] ?? 0;
    this.#deps.log.warn({ family, staleCount, why }, 'stale routes dropped');
    this.#sweep(family);
    if (expired) state.phase = 'expired';
    this.#deps.schedule();
  }

  #sweep(family: Family): void {
    this.#reset(family);
    this.#deps.rib(family).removals.begin(this.#row, pathFlag.stale);
  }
  #dropFamily(family: Family): void {
    this.#reset(family);
    this.#deps.rib(family).removals.begin(this.#row, 0);
  }
  #reset(family: Family): void {
    const state = this.#states.get(family)!;
    state.cancelTimer?.();
    state.cancelTimer = undefined;
    state.phase = 'fresh';
  }

  #startTimer(family: Family, delaySec: number, fn: () => void): void {
    const state = this.#states.get(family)!;
    state.cancelTimer?.();
    const nowSec = Math.min(delaySec, timerSecMax);
    state.cancelTimer = this.#deps.clock.schedule(nowSec * 1000, () => {
      state.cancelTimer = undefined;
      if (delaySec > nowSec) this.#startTimer(family, delaySec - nowSec, fn);
      else fn();
    });
  }
}

/** RFC 9494 4.2: a family that a capability does not list has that time 0. */
function retention(negotiated: Negotiated, family: Family): { restartSec: number; longLivedSec: number } {
  const { gracefulRestart, longLived } = negotiated;
  const listed = gracefulRestart?.families.some((entry) => entry.family === family) ?? false;
  return {
    restartSec: listed ? gracefulRestart!.restartTimeSec : 0,
    longLivedSec: longLived.find((entry) => entry.family === family)?.staleTimeSec ?? 0,
  };
}

/** Whether a peer that is back says that it went on forwarding, in the capability that its routes were kept for where it lists the family. */
function forwarded(negotiated: Negotiated, family: Family, phase: Phase): boolean {
  if (!negotiated.families.includes(family)) return false;
  const of = (entries: readonly { readonly family: Family; readonly forwarding: boolean }[]): boolean | undefined =>
    entries.find((entry) => entry.family === family)?.forwarding;
  const restart = of(negotiated.gracefulRestart?.families ?? []);
  const longLived = of(negotiated.longLived);
  return (phase === 'longLived' ? (longLived ?? restart) : (restart ?? longLived)) ?? false;
}
