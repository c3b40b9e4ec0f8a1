/** One-shot timers by name: one that is set again starts anew. */
import type { Clock } from '#kit';

export class NamedTimers<Name extends string> {
  readonly #clock: Clock;
  readonly #cancels = new Map<Name, () => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `fn` after `delayMs`; the timer is no longer set then. */
  set(name: Name, delayMs: number, fn: () => void): void {
    this.stop(name);
    const cancel = this.#clock.schedule(delayMs, () => {
      this.#cancels.delete(name);
      fn();
    });
    this.#cancels.set(name, cancel);
  }
  has(name: Name): boolean {
    return this.#cancels.has(name);
  }
  stop(name: Name): void {
    this.#cancels.get(name)?.();
    this.#cancels.delete(name);
  }
  stopAll(): void {
    for (const cancel of this.#cancels.values()) cancel();
    this.#cancels.clear();
  }
}
