/**
 * The apply loop: changes mark it dirty, one run at a time brings the kernel to what is wanted, and whoever waits learns when all that
 * was handed in before is in force. A run that fails is repeated with back-off and told to read everything back first.
 *
 *   markDirty -> (throttle) -> run(resync) -> waiters of that generation
 *                    ^             | throws: resync next time, after a growing delay
 *                    +-------------+
 *
 * Changes that come in while a run is under way belong to the next one. Removals are work of their own (`tidy`), done in a pause: nobody waits
 * for them, and with nft each makes the kernel wait, which a pod that comes at the same moment should not: when something is changed meanwhile they
 * stop at the next step and go on behind it, though not time after time.
 */
import { type Clock, errorText, type Logger } from '#kit';

/** So often in a row changes stop a tidying; the one after them is done to its end. */
const interruptionsMax = 4;

export interface ApplyOptions {
  /** Between the end of a run and the start of the next, unless somebody waits: changes that come in a burst share a run. */
  readonly throttleMs: number;
  readonly retryFirstMs: number;
  readonly retryMaxMs: number;
  /** Everything is read back and compared this often. */
  readonly refreshMs: number;
  /** Removals wait for so long a pause between runs, */
  readonly tidyAfterMs: number;
  /** but no longer than this. */
  readonly tidyWithinMs: number;
}
const defaultApplyOptions: ApplyOptions = {
  throttleMs: 10,
  retryFirstMs: 100,
  retryMaxMs: 5_000,
  refreshMs: 60_000,
  tidyAfterMs: 100,
  tidyWithinMs: 2_000,
};

/** How long it took, for metrics. */
export interface ApplyTiming {
  readonly runMs: number;
  /** Since the first of the changes that it brought in force was handed in; absent where there was none, and when it failed. */
  readonly changeMs?: number;
  readonly ok: boolean;
}

export interface ApplyDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly onRun?: ((timing: ApplyTiming) => void) | undefined;
  /** Brings the kernel to what is wanted now; `resync` asks to read it back first. Throws when it could not. */
  run(resync: boolean): Promise<void>;
  /**
   * What nobody waits for: removals, a step at a time while `goOn` says so. False when something is left; it begins anew then. Throws when it
   * could not.
   */
  tidy(goOn: () => boolean): Promise<boolean>;
}

interface Waiter {
  readonly generation: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class ApplyLoop {
  readonly #deps: ApplyDeps;
  readonly #options: ApplyOptions;
  #waiters: Waiter[] = [];
  /** Counts changes; what is in force is `#applied`. */
  #generation = 0;
  #applied = 0;
  #open = false;
  #stopped = false;
  #running: Promise<void> | undefined;
  #cancel: (() => void) | undefined;
  #cancelRefresh: (() => void) | undefined;
  #cancelTidy: (() => void) | undefined;
  #untidySinceMs: number | undefined;
  /** Tidyings in a row that stopped for a change. */
  #interruptions = 0;
  /** The first change that is not in force. */
  #dirtySinceMs: number | undefined;
  #resync = false;
  #failures = 0;
  #lastError: string | undefined;

  constructor(deps: ApplyDeps, options: Partial<ApplyOptions> = {}) {
    this.#deps = deps;
    this.#options = { ...defaultApplyOptions, ...options };
  }

  get pending(): boolean {
    return this.#applied < this.#generation || this.#resync;
  }
  /** Runs that failed in a row. */
  get failures(): number {
    return this.#failures;
  }
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** From now on runs happen; the first at once. */
  open(): void {
    if (this.#open || this.#stopped) return;
    this.#open = true;
    this.#generation++;
    this.#arm(0);
    this.#armRefresh();
  }

  markDirty(): void {
    this.#generation++;
    this.#dirtySinceMs ??= this.#deps.clock.nowMs();
    this.#arm(0);
  }
  /** Something has to be removed; it happens in a pause. */
  markUntidy(): void {
    this.#untidySinceMs ??= this.#deps.clock.nowMs();
    this.#armTidy();
  }
  requestResync(): void {
    this.#resync = true;
    this.#arm(0);
  }

  /** Resolves when everything marked before this call is in force. @throws Error when the loop is stopped first. */
  whenApplied(): Promise<void> {
    if (this.#stopped) return Promise.reject(new Error('the dataplane is stopped'));
    if (this.#open && !this.pending && !this.#running) return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // Opening counts as a change: whoever waits before it waits for the first run.
    this.#waiters.push({ generation: this.#generation + (this.#open ? 0 : 1), resolve, reject });
    this.#settle();
    this.#wake();
    return promise;
  }

  /** Ends after the run that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    this.#cancelRefresh?.();
    this.#cancelTidy?.();
    await this.#running;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(new Error('the dataplane is stopped'));
  }

  #arm(delayMs: number): void {
    if (!this.#open || this.#stopped || this.#running || this.#cancel) return;
    this.#cancel = this.#deps.clock.schedule(delayMs, () => {
      this.#cancel = undefined;
      // A tidying that is under way arms it again at its end.
      if (!this.#running) this.#work(this.#once(), () => this.#pauseMs());
    });
  }

  /** Somebody waits: the throttle is for changes that nobody waits for. Back-off stays. */
  #wake(): void {
    if (!this.#cancel || this.#failures > 0 || this.#waiters.length === 0) return;
    this.#cancel();
    this.#cancel = undefined;
    this.#arm(0);
  }

  /** One thing at a time: a run or a tidying. @param pauseMs before the next run */
  #work(work: Promise<void>, pauseMs: () => number): void {
    this.#running = work.finally(() => {
      this.#running = undefined;
      if (this.pending) this.#arm(pauseMs());
      if (this.#untidySinceMs !== undefined) this.#armTidy();
    });
  }

  #armTidy(): void {
    if (!this.#open || this.#stopped) return;
    const { tidyAfterMs, tidyWithinMs } = this.#options;
    const leftMs = this.#untidySinceMs! + tidyWithinMs - this.#deps.clock.nowMs();
    this.#cancelTidy?.();
    this.#cancelTidy = this.#deps.clock.schedule(Math.max(0, Math.min(tidyAfterMs, leftMs)), () => {
      this.#cancelTidy = undefined;
      // The end of the run arms it again.
      const overdue = this.#deps.clock.nowMs() - this.#untidySinceMs! >= tidyWithinMs;
      if (!this.#running && (overdue || !this.#cancel) && this.#failures === 0) this.#work(this.#tidyOnce(), () => 0);
    });
  }

  #armRefresh(): void {
    this.#cancelRefresh = this.#deps.clock.schedule(this.#options.refreshMs, () => {
      if (this.#stopped) return;
      this.requestResync();
      this.#armRefresh();
    });
  }

  #pauseMs(): number {
    if (this.#failures > 0) return this.#retryMs();
    return this.#waiters.length > 0 ? 0 : this.#options.throttleMs;
  }

  #retryMs(): number {
    return Math.min(this.#options.retryMaxMs, this.#options.retryFirstMs * 2 ** (this.#failures - 1));
  }

  async #once(): Promise<void> {
    const generation = this.#generation;
    const resync = this.#resync;
    const dirtySinceMs = this.#dirtySinceMs;
    const startedMs = this.#deps.clock.nowMs();
    this.#resync = false;
    this.#dirtySinceMs = undefined;
    try {
      await this.#deps.run(resync);
      this.#applied = generation;
      const endedMs = this.#deps.clock.nowMs();
      const change = dirtySinceMs === undefined ? {} : { changeMs: endedMs - dirtySinceMs };
      this.#deps.onRun?.({ runMs: endedMs - startedMs, ...change, ok: true });
      this.#untidySinceMs ??= this.#deps.clock.nowMs();
      this.#settle();
      if (this.#failures > 0) this.#deps.log.info({ failures: this.#failures }, 'dataplane is written again');
      this.#failures = 0;
      this.#lastError = undefined;
    } catch (error) {
      this.#failures++;
      this.#resync = true;
      this.#dirtySinceMs = dirtySinceMs ?? this.#dirtySinceMs;
      this.#deps.onRun?.({ runMs: this.#deps.clock.nowMs() - startedMs, ok: false });
      this.#lastError = errorText(error);
      this.#deps.log.warn(
        { reason: errorText(error), failures: this.#failures, retryMs: this.#retryMs() },
        'writing the dataplane failed',
      );
      return;
    }
  }

  async #tidyOnce(): Promise<void> {
    const sinceMs = this.#untidySinceMs;
    this.#untidySinceMs = undefined;
    try {
      const isDone = await this.#deps.tidy(() => !this.pending || this.#interruptions >= interruptionsMax);
      this.#interruptions = isDone ? 0 : this.#interruptions + 1;
      if (!isDone) this.#untidySinceMs = sinceMs;
    } catch (error) {
      // What should be gone harms nobody while nothing refers to it: the next run reads everything back and the next tidying tries again.
      this.#deps.log.warn({ reason: errorText(error) }, 'removing what is no longer needed failed');
    }
  }

  #settle(): void {
    const due = this.#waiters.filter((waiter) => waiter.generation <= this.#applied);
    if (due.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => waiter.generation > this.#applied);
    for (const waiter of due) waiter.resolve();
  }
}
