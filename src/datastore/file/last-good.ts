/**
 * The last good version of every object, kept on disk, so that a restart does not turn a broken manifest into a missing
 * policy. A journal of JSON lines, mode 0600 as it holds passwords: one line for each change, written behind the changes in
 * one append; rewritten whole (temporary file, fsync, rename) when it has grown to twice what it says.
 *
 * A line torn by a crash is left out when reading, and the next write then rewrites the file. What a crash of the agent
 * loses is at most the append under way, about objects whose files are good at that moment.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorText, type Logger } from '#kit';
import type { ObjectRef } from '../manifest/decode.ts';
import { breathe } from '../time-slice.ts';
import { readVersion } from './manifest-file.ts';
import type { Held } from './resolve.ts';

const formatVersion = 1;
/** Lines beyond twice the objects before the journal is rewritten. */
const spareLinesMax = 1000;
const linesPerWrite = 500;

export class LastGood {
  readonly #path: string;
  readonly #directory: string;
  readonly #log: Logger;
  #lines: string[] = [];
  #linesOnDisk = 0;
  #mustRewrite = true;
  #writing: Promise<void> | undefined;
  #held: ReadonlyMap<ObjectRef, Held> = new Map();
  #error: string | undefined;

  /** `directory` is the datastore's: what was good elsewhere does not count here. */
  constructor(log: Logger, options: { readonly stateDir: string; readonly directory: string }) {
    this.#log = log;
    this.#directory = options.directory;
    this.#path = path.join(options.stateDir, 'datastore', 'last-good.jsonl');
  }

  get path(): string {
    return this.#path;
  }
  /** Why the last write failed, if it did. */
  get error(): string | undefined {
    return this.#error;
  }

  /** What is on disk; empty when there is nothing, or it is about another directory. */
  async load(): Promise<ReadonlyMap<ObjectRef, Held>> {
    const held = new Map<ObjectRef, Held>();
    this.#held = held;
    const text = await fs.readFile(this.#path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT')
        this.#log.error({ path: this.#path, error: errorText(error) }, 'cannot read the last good objects');
      return '';
    });
    const lines = text.split('\n');
    // Everything written ends with a newline: what stands after the last one was torn.
    const torn = lines.pop() !== '';
    const header = parseLine(lines[0] ?? '');
    if (header?.['version'] !== formatVersion || header['directory'] !== this.#directory) return held;
    let bad = 0;
    for (const line of lines.slice(1)) {
      if (!applyLine(held, parseLine(line))) bad++;
      await breathe();
    }
    if (bad > 0) this.#log.warn({ path: this.#path, lines: bad }, 'left out unreadable lines of the last good objects');
    this.#linesOnDisk = lines.length;
    this.#mustRewrite = torn || bad > 0;
    return held;
  }

  /** Notes what changed since the last call; the write happens behind. `held` is the whole that results. */
  record(changes: ReadonlyMap<ObjectRef, Held | undefined>, held: ReadonlyMap<ObjectRef, Held>): void {
    this.#held = held;
    for (const [ref, now] of changes) this.#lines.push(now ? heldLine(ref, now) : JSON.stringify({ ref }));
    if (this.#lines.length > 0) this.#startWriting();
  }

  /** Tries again what failed, if something did. */
  retry(): void {
    if (this.#error) this.#startWriting();
  }

  /** Resolves when everything recorded is on disk, or could not be written. */
  async flush(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  #startWriting(): void {
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
      if (this.#lines.length > 0 && !this.#error) this.#startWriting();
    });
  }

  async #write(): Promise<void> {
    const lines = this.#lines;
    this.#lines = [];
    try {
      const tooLong = this.#linesOnDisk + lines.length > 2 * this.#held.size + spareLinesMax;
      if (this.#mustRewrite || tooLong) await this.#rewrite();
      else await this.#append(lines);
      this.#error = undefined;
    } catch (error) {
      this.#mustRewrite = true;
      if (!this.#error)
        this.#log.error({ path: this.#path, error: errorText(error) }, 'cannot keep the last good objects on disk');
      this.#error = errorText(error);
    }
  }

  async #append(lines: readonly string[]): Promise<void> {
    await fs.appendFile(this.#path, `${lines.join('\n')}\n`, { mode: 0o600 });
    this.#linesOnDisk += lines.length;
  }

  async #rewrite(): Promise<void> {
    const held = this.#held;
    await fs.mkdir(path.dirname(this.#path), { recursive: true, mode: 0o700 });
    const temporary = `${this.#path}.new`;
    await fs.rm(temporary, { force: true });
    const file = await fs.open(temporary, 'wx', 0o600);
    try {
      let lines = [JSON.stringify({ version: formatVersion, directory: this.#directory })];
      for (const [ref, object] of held) {
        lines.push(heldLine(ref, object));
        if (lines.length < linesPerWrite) continue;
        await file.writeFile(`${lines.join('\n')}\n`);
        lines = [];
      }
      if (lines.length > 0) await file.writeFile(`${lines.join('\n')}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await fs.rename(temporary, this.#path);
    this.#linesOnDisk = held.size + 1;
    this.#mustRewrite = false;
  }
}

/** `document` is JSON text already. */
function heldLine(ref: ObjectRef, { file, version }: Held): string {
  return `{"ref":${JSON.stringify(ref)},"file":${JSON.stringify(file)},"document":${version.document}}`;
}

function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function applyLine(held: Map<ObjectRef, Held>, line: Record<string, unknown> | undefined): boolean {
  const ref = line?.['ref'];
  if (!line || typeof ref !== 'string') return false;
  const { file, document } = line as { file?: unknown; document?: unknown };
  if (document === undefined) return held.delete(ref) || true;
  const version = readVersion(document);
  if (!version || typeof file !== 'string') return false;
  held.set(ref, { version, file });
  return true;
}
