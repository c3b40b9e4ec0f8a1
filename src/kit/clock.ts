/** Time and timers, handed in so that pure parts can be tested without waiting. */
export interface Clock {
  /** Monotonic milliseconds. */
  nowMs(): number;
  /**
   * Calls `fn` once after `delayMs`, with 0 as soon as what is readable now has been served; the returned function cancels and may be called at any
   * time, any number of times.
   */
  schedule(delayMs: number, fn: () => void): () => void;
}

/** What `performance.now` does besides, to look who calls it, is most of its code; this is asked several times a message. */
const { hrtime } = process;

/** Monotonic milliseconds, of a zero of its own: to be compared with itself alone. */
export function nowMs(): number {
  const [seconds, nanoseconds] = hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

class SystemClock implements Clock {
  readonly #unref: boolean;

  constructor(unref: boolean) {
    this.#unref = unref;
  }
  nowMs(): number {
    return nowMs();
  }
  schedule(delayMs: number, fn: () => void): () => void {
    if (delayMs <= 0) {
      const immediate = setImmediate(fn);
      if (this.#unref) immediate.unref();
      return () => clearImmediate(immediate);
    }
    const timer = setTimeout(fn, delayMs);
    if (this.#unref) timer.unref();
    return () => clearTimeout(timer);
  }
}

/** The real clock. Timers keep the process alive unless `unref` is set. */
export function systemClock(options: { readonly unref?: boolean } = {}): Clock {
  return new SystemClock(options.unref === true);
}

/** A clock that moves only when told to; due timers run in order of time, then of scheduling. */
export class FakeClock implements Clock {
  #now = 0;
  #sequence = 0;
  readonly #timers = new Map<number, { readonly at: number; readonly fn: () => void }>();

  nowMs(): number {
    return this.#now;
  }
  schedule(delayMs: number, fn: () => void): () => void {
    const id = ++this.#sequence;
    this.#timers.set(id, { at: this.#now + delayMs, fn });
    return () => void this.#timers.delete(id);
  }
  /** Moves forward by `ms`, running everything that falls due on the way, timers set by timers included. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      let next: { id: number; at: number; fn: () => void } | undefined;
      for (const [id, timer] of this.#timers) {
        if (timer.at <= end && (!next || timer.at < next.at)) next = { id, ...timer };
      }
      if (!next) break;
      this.#timers.delete(next.id);
      this.#now = Math.max(this.#now, next.at);
      next.fn();
    }
    this.#now = end;
  }
}
