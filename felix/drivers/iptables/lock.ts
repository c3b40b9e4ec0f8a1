/**
 * The lock of iptables-legacy, taken by us for all of our programs that write at one time: it is one for both families, whose tables have nothing to
 * do with each other, and a program holds it for as long as the kernel takes to replace its table.
 *
 * Other programs wait as they do for any iptables. Ours have the lock's descriptor too, so that it stays taken until the last of them ends,
 * also when the agent dies meanwhile; for what they lock themselves they are given a file that is each one's own.
 */
import { type Clock, errorText } from '#kit';
import type { CommandOptions, HeldLock, TakeLock } from '../command.ts';

const triesEveryMs = 5;
/** As restoreArgv has the programs wait. */
const waitMsMax = 10_000;

export class LegacyLock {
  readonly #deps: { readonly take: TakeLock; readonly clock: Clock };
  readonly #file: string;
  #holders = 0;
  #taken: Promise<HeldLock | undefined> | undefined;

  constructor(deps: { readonly take: TakeLock; readonly clock: Clock }, file: string) {
    this.#deps = deps;
    this.#file = file;
  }

  /** Work that overlaps shares the lock. Undefined: another program has held it for 10 s, and nothing was done. */
  async during<T>(work: (held: Pick<CommandOptions, 'env' | 'inherit'>) => Promise<T>): Promise<T | undefined> {
    this.#holders++;
    this.#taken ??= this.#take();
    try {
      const taken = await this.#taken;
      return taken && (await work({ env: { XTABLES_LOCKFILE: taken.ownFile }, inherit: [taken.descriptor] }));
    } finally {
      this.#holders--;
      if (this.#holders === 0) {
        const taken = this.#taken;
        this.#taken = undefined;
        (await taken)?.release();
      }
    }
  }

  /** @throws Error when the file cannot be opened. */
  #tryTo(take: TakeLock): HeldLock | undefined {
    try {
      return take(this.#file);
    } catch (error) {
      const text = `can't open lock file ${this.#file}: ${errorText(error)}; it has to be the node's own, and writable`;
      throw new Error(text, { cause: error });
    }
  }

  async #take(): Promise<HeldLock | undefined> {
    const { take, clock } = this.#deps;
    const untilMs = clock.nowMs() + waitMsMax;
    for (;;) {
      const taken = this.#tryTo(take);
      if (taken || clock.nowMs() >= untilMs) return taken;
      await new Promise<void>((resolve) => void clock.schedule(triesEveryMs, resolve));
    }
  }
}
