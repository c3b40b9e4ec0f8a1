/** Pauses between attempts: decorrelated jitter, so that many agents that failed together do not try together. */
import type { Clock } from '#kit';

export class Backoff {
  readonly #random: () => number;
  readonly #baseMs: number;
  readonly #maxMs: number;
  #lastMs: number;

  constructor(random: () => number, options: { readonly baseMs: number; readonly maxMs: number }) {
    this.#random = random;
    this.#baseMs = options.baseMs;
    this.#maxMs = options.maxMs;
    this.#lastMs = options.baseMs;
  }

  /** Milliseconds until the next attempt: anything between the base and three times the last pause, within the bound. */
  next(): number {
    const spread = Math.min(this.#maxMs, this.#lastMs * 3) - this.#baseMs;
    this.#lastMs = this.#baseMs + this.#random() * Math.max(0, spread);
    return this.#lastMs;
  }
  reset(): void {
    this.#lastMs = this.#baseMs;
  }
}

/** Resolves after `delayMs`, or at once when `signal` aborts. */
export function sleep(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.schedule(delayMs, done);
    if (signal.aborted) done();
    else signal.addEventListener('abort', done);
  });
}
