/**
 * Programs of iptables-nft are done at their commit, which the kernel tells of, and not when they end: where something was deleted, also a rule that is
 * replaced, closing the socket waits for a grace period of the kernel, 15 to 30 ms, and no other program commits meanwhile. Therefore a program gets the end of
 * its input, and ends, when all that are under way beside it have committed, too: those of both families write together.
 *
 * Races:
 * - A packet may be on its way through the old rules while the commit is told: one turn of the loop passes before anybody acts on it.
 * - What was deleted holds the sets that it names, and packets may be anywhere in it, until the programs have ended (`ended`).
 * - A program whose commit is not told (it changed nothing, or another process has its number as the address of a socket) is done when it ends: it
 *   is not kept for long.
 */
import { type Clock, errorText } from '#kit';
import type { CommandOptions, CommandResult, CommandRunner } from '../command.ts';

/** Tells which socket each commit of nf_tables came from, until `close`; that of a program has its process's number. Handed in like the runner. */
export type WatchCommits = (onCommit: (port: number) => void) => { close(): void };

/** Without a commit, and for the others' commits. A program takes 5 to 10 ms to its own. */
const keptMsMax = 100;
const committed: CommandResult = { code: 0, stdout: '', stderr: '' };

export class CommittingPrograms {
  readonly #deps: { readonly run: CommandRunner['run']; readonly watch: WatchCommits; readonly clock: Clock };
  /** Have not committed yet. */
  #under = 0;
  #kept: (() => void)[] = [];
  #leaving: Promise<unknown> = Promise.resolve();

  constructor(deps: { readonly run: CommandRunner['run']; readonly watch: WatchCommits; readonly clock: Clock }) {
    this.#deps = deps;
  }

  /**
   * A program that commits once; resolves when that is in force, or when it ended.
   *
   * @param onLateFailure what it made of its end after its commit: what is there is not known.
   */
  async run(
    argv: readonly string[],
    options: CommandOptions & { readonly stdin: string },
    onLateFailure: (reason: string) => void,
  ): Promise<CommandResult> {
    const { run, watch, clock } = this.#deps;
    const commit = Promise.withResolvers<CommandResult>();
    const kept = Promise.withResolvers<void>();
    let pid: number | undefined;
    const passed = once(() => this.#passed());
    this.#under++;
    this.#kept.push(kept.resolve);
    const watching = watch((port) => {
      if (port !== pid) return;
      passed();
      clock.schedule(0, () => commit.resolve(committed));
    });
    const cancel = clock.schedule(keptMsMax, kept.resolve);
    try {
      const onStart = (started: number): void => {
        pid = started;
      };
      const stdin = openUntil(kept.promise, options.stdin);
      const end = run(argv, { ...options, onStart, stdin }).finally(cancel);
      const first = await Promise.race([end, commit.promise]);
      if (first === committed) this.#leaves(end, onLateFailure);
      return first;
    } finally {
      passed();
      watching.close();
    }
  }

  /** Resolves when all that committed so far have ended. */
  async ended(): Promise<void> {
    await this.#leaving;
  }

  #passed(): void {
    this.#under--;
    if (this.#under === 0) for (const release of this.#kept.splice(0)) release();
  }

  #leaves(end: Promise<CommandResult>, onLateFailure: (reason: string) => void): void {
    const told = end.then(
      ({ code, stderr }) => (code === 0 ? undefined : onLateFailure(stderr.trim())),
      (error: unknown) => onLateFailure(errorText(error)),
    );
    this.#leaving = Promise.all([this.#leaving, told]);
  }
}

/** Input that comes to its end when `end` settles. */
async function* openUntil(end: Promise<void>, text: string): AsyncGenerator<string> {
  yield text;
  await end;
}

function once(fn: () => void): () => void {
  let isDone = false;
  return () => {
    if (isDone) return;
    isDone = true;
    fn();
  };
}
