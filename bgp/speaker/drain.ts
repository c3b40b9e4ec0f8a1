/**
 * The time between GRACEFUL_SHUTDOWN and the end of the sessions (RFC 8326 4): peers must have heard of it, and have moved to
 * other paths, before ours go.
 *
 * It is over `drainSettleMs` after the last queue fell empty: what a peer makes of an UPDATE it makes in milliseconds (FRR
 * puts off its own for 50 ms, MRAI 0 is the practice of RFC 7938), and the rest is for those behind it. A peer that does not read
 * delays it by `drainTellMsMax` at most. With nobody who heard anything of us there is nothing to wait for.
 */
import type { Clock } from '#kit';
import { drainSettleMs, drainTellMsMax } from './limits.ts';

export interface DrainPeer {
  /** Prefixes it has of us. */
  readonly announcedCount: number;
  /** Everything due to it has been taken by TCP. */
  readonly told: boolean;
}

const lookMs = 20;

/** Calls `done`, later, once peers had their time. Returns what gives it up. */
export function awaitDrained(clock: Clock, peers: () => readonly DrainPeer[], done: () => void): () => void {
  const startedMs = clock.nowMs();
  let cancel: () => void;
  const look = (): void => {
    const heard = peers().filter(({ announcedCount }) => announcedCount > 0);
    if (heard.length === 0) done();
    else if (heard.every(({ told }) => told) || clock.nowMs() - startedMs >= drainTellMsMax) {
      cancel = clock.schedule(drainSettleMs, done);
    } else cancel = clock.schedule(lookMs, look);
  };
  // Not at once: what is to be told is worked out after the events of the moment.
  cancel = clock.schedule(lookMs, look);
  return () => cancel();
}
