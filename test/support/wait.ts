import { setTimeout as sleep } from 'node:timers/promises';

export interface UntilOptions {
  /** What is waited for; goes into the error. A function is asked when the wait has failed. */
  readonly what: string | (() => string);
  readonly deadlineMs?: number;
  readonly intervalMs?: number;
}

/**
 * Waits for a state instead of sleeping: polls `condition` until it is truthy and returns its value. A throw of the condition
 * counts as "not yet" and stands in the final error.
 *
 * @throws Error naming `what` once the deadline (default 20 s: long enough for a busy machine) has passed.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  options: UntilOptions,
): Promise<Exclude<T, false | 0 | '' | null | undefined>> {
  const deadlineMs = options.deadlineMs ?? 20_000;
  const end = performance.now() + deadlineMs;
  let cause: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value as Exclude<T, false | 0 | '' | null | undefined>;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= end) {
      const why = cause instanceof Error ? `: ${cause.message}` : '';
      const what = typeof options.what === 'string' ? options.what : options.what();
      throw new Error(`waited ${deadlineMs} ms in vain for ${what}${why}`, { cause });
    }
    await sleep(options.intervalMs ?? 20);
  }
}
