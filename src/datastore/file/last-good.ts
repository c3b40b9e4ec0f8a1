/**
 * The last good version of every object, kept on disk, so that a restart does not turn a broken manifest into a missing
 * policy. What a crash of the agent loses is about objects whose files are good at that moment.
 */
import path from 'node:path';
import type { Clock, Logger } from '#kit';
import { Journal } from '../journal.ts';
import type { ObjectRef } from '../manifest/decode.ts';
import { readVersion } from './manifest-file.ts';
import type { Held } from './resolve.ts';

const formatVersion = 1;

export class LastGood {
  readonly #directory: string;
  readonly #journal: Journal;
  #lines: string[] = [];
  #held: ReadonlyMap<ObjectRef, Held> = new Map();

  /** `directory` is the datastore's: what was good elsewhere does not count here. */
  constructor(log: Logger, clock: Clock, options: { readonly stateDir: string; readonly directory: string }) {
    this.#directory = options.directory;
    const file = path.join(options.stateDir, 'datastore', 'last-good.jsonl');
    this.#journal = new Journal(
      log,
      clock,
      { path: file, what: 'the last good objects' },
      {
        header: () => JSON.stringify({ version: formatVersion, directory: this.#directory }),
        changes: () => this.#lines.splice(0),
        all: () => this.#held.entries().map(([ref, object]) => heldLine(ref, object)),
        size: () => this.#held.size,
      },
    );
  }

  /** Why the last write failed, if it did. */
  get error(): string | undefined {
    return this.#journal.error;
  }

  /** What is on disk; empty when there is nothing, or it is about another directory. */
  async load(): Promise<ReadonlyMap<ObjectRef, Held>> {
    const held = new Map<ObjectRef, Held>();
    this.#held = held;
    await this.#journal.read(
      (header) => {
        const { version, directory } = (header ?? {}) as { version?: unknown; directory?: unknown };
        return version === formatVersion && directory === this.#directory;
      },
      (line) => applyLine(held, line),
    );
    return held;
  }

  /** Notes what changed since the last call; the write happens behind. `held` is the whole that results. */
  record(changes: ReadonlyMap<ObjectRef, Held | undefined>, held: ReadonlyMap<ObjectRef, Held>): void {
    this.#held = held;
    for (const [ref, now] of changes) this.#lines.push(now ? heldLine(ref, now) : JSON.stringify({ ref }));
    if (this.#lines.length > 0) this.#journal.changed();
  }

  /** Tries again what failed, if something did. */
  retry(): void {
    this.#journal.retry();
  }

  /** Resolves when everything recorded is on disk, or could not be written. */
  flush(): Promise<void> {
    return this.#journal.flush();
  }
}

/** `document` is JSON text already. */
function heldLine(ref: ObjectRef, { file, version }: Held): string {
  return `{"ref":${JSON.stringify(ref)},"file":${JSON.stringify(file)},"document":${version.document}}`;
}

function applyLine(held: Map<ObjectRef, Held>, line: unknown): boolean {
  const { ref, file, document } = (line ?? {}) as { ref?: unknown; file?: unknown; document?: unknown };
  if (typeof ref !== 'string') return false;
  if (document === undefined) return held.delete(ref) || true;
  const version = readVersion(document);
  if (!version || typeof file !== 'string') return false;
  held.set(ref, { version, file });
  return true;
}
