/** Watches peers that exist by their connection alone: one that has been without, and holds no route, for a while is given up. */
import type { Clock } from '#kit';
import { rangePeerIdleSec } from './limits.ts';

export interface IdleHost {
  /** A connection, or stale routes kept over a restart of the peer (RFC 4724 4.2). */
  inUse(name: string): boolean;
  giveUp(name: string): void;
}

export class IdleWatch {
  readonly #clock: Clock;
  readonly #host: IdleHost;
  readonly #timers = new Map<string, () => void>();

  constructor(clock: Clock, host: IdleHost) {
    this.#clock = clock;
    this.#host = host;
  }

  /** Call when the peer may have lost its connection. */
  check(name: string): void {
    if (this.#timers.has(name)) return;
    this.#timers.set(
      name,
      this.#clock.schedule(rangePeerIdleSec * 1000, () => {
        this.#timers.delete(name);
        // It may be in use for its stale routes only, and nobody tells when those go.
        if (this.#host.inUse(name)) this.check(name);
        else this.#host.giveUp(name);
      }),
    );
  }
  stop(name?: string): void {
    for (const [each, cancel] of this.#timers) {
      if (name !== undefined && each !== name) continue;
      cancel();
      this.#timers.delete(each);
    }
  }
}
