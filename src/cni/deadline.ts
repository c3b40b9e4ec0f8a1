import type { Clock } from '#kit';

/** The limit passed before the work was done. */
export class DeadlineError extends Error {}

/** Aborts the work once `limitMs` have passed, and throws a DeadlineError then; `signal` aborts it as well. */
export async function withDeadline<T>(
  clock: Clock,
  limitMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const cancel = clock.schedule(limitMs, () => limit.abort(new DeadlineError(`nothing within ${limitMs} ms`)));
  try {
    return await work(AbortSignal.any([signal, limit.signal]));
  } catch (error) {
    throw limit.signal.aborted && !signal.aborted ? limit.signal.reason : error;
  } finally {
    cancel();
  }
}
