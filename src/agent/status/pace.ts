/** When an object may be written again: rarely for what merely moves, soon for what somebody waits for, and now and then as a sign of life. */

export interface Pace {
  /** Least time between two writes. */
  readonly intervalMs: number;
  /** The same when a condition has changed. */
  readonly urgentIntervalMs: number;
  /** Longest time without a write. */
  readonly heartbeatMs: number;
}

export const NODE_PACE: Pace = { intervalMs: 10_000, urgentIntervalMs: 1_000, heartbeatMs: 300_000 };

export type Change = 'none' | 'content' | 'condition';

/**
 * Milliseconds until the write is due, 0 for now.
 *
 * @param lastWriteMs undefined: never written.
 * @param jitter 0 <= x < 1, drawn once for each write: heartbeats of many nodes do not meet.
 */
export function writeDueInMs(
  pace: Pace,
  change: Change,
  nowMs: number,
  lastWriteMs: number | undefined,
  jitter: number,
): number {
  if (lastWriteMs === undefined) return 0;
  const afterMs = {
    none: pace.heartbeatMs * (0.8 + 0.4 * jitter),
    content: pace.intervalMs,
    condition: pace.urgentIntervalMs,
  }[change];
  return Math.max(0, lastWriteMs + afterMs - nowMs);
}

/** Delay before try number `failures` + 1, 1 s to 60 s, the upper half at random. */
export function retryDelayMs(failures: number, jitter: number): number {
  const fullMs = Math.min(60_000, 1_000 * 2 ** Math.max(0, failures - 1));
  return fullMs * (0.5 + 0.5 * jitter);
}
