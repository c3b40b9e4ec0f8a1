/**
 * A state kept on disk as a journal of lines, mode 0600: one line for each change, written behind the changes in one append;
 * rewritten whole (temporary file, fsync, rename) when it has grown to twice what it says.
 *
 * The first line names what the rest is about. A line torn by a crash is left out when reading, and the next write then rewrites
 * the file. What a crash loses is at most what was not written yet and the append under way.
 */
import { createReadStream } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import { type Clock, errorText, type Logger } from '#kit';
import { JsonLines } from './json-lines.ts';
import { breathe } from './time-slice.ts';

/** Lines beyond twice the state's before the journal is rewritten. */
const spareLinesMax = 1000;
const linesPerWrite = 500;

export interface JournalSource {
  /** First line of a journal that is written now. */
  header(): string;
  /** Lines for what changed since the last call. Called once for each write. */
  changes(): readonly string[];
  /** Lines for the whole state; what changes while they are taken is in `changes` again. */
  all(): Iterable<string>;
  /** How many `all` are, about. */
  size(): number;
}

export interface JournalOptions {
  readonly path: string;
  /** What it holds, for messages. */
  readonly what: string;
  /** From the first change to the write, so that many changes cost one. Default 0. */
  readonly delayMs?: number;
  /** The same where the next write is a whole one. Default: `delayMs`. */
  readonly rewriteDelayMs?: number;
}

export class Journal {
  readonly path: string;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #what: string;
  readonly #delayMs: number;
  readonly #rewriteDelayMs: number;
  readonly #source: JournalSource;
  #linesOnDisk = 0;
  #mustRewrite = true;
  #changed = false;
  #cancelWrite: (() => void) | undefined;
  #writing: Promise<void> | undefined;
  #error: string | undefined;

  constructor(log: Logger, clock: Clock, options: JournalOptions, source: JournalSource) {
    this.#log = log;
    this.#clock = clock;
    this.path = options.path;
    this.#what = options.what;
    this.#delayMs = options.delayMs ?? 0;
    this.#rewriteDelayMs = options.rewriteDelayMs ?? this.#delayMs;
    this.#source = source;
  }

  /** Why the last write failed, if it did. */
  get error(): string | undefined {
    return this.#error;
  }

  /**
   * Gives each line after the first to `visit`, which says whether it could read it, if `accept` takes the first. A file that is
   * not taken is as good as none. In slices, and never the whole in memory.
   */
  async read(accept: (header: unknown) => boolean, visit: (line: unknown) => boolean): Promise<void> {
    const lines = new JsonLines();
    const found = { accepted: undefined as boolean | undefined, lines: 0, bad: 0 };
    const take = (text: string): void => {
      const value = parseLine(text);
      found.lines++;
      if (found.accepted === undefined) found.accepted = accept(value);
      else if (value === undefined || !visit(value)) found.bad++;
    };
    try {
      for await (const chunk of createReadStream(this.path)) {
        lines.push(chunk as Buffer);
        for (let line = lines.next(); line; line = lines.next()) {
          if (line.type === 'line') take(line.text);
          else found.bad++;
          if (found.accepted === false) return;
          await breathe();
        }
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        this.#log.error({ path: this.path, error: errorText(error) }, `cannot read ${this.#what}`);
      }
      return;
    }
    if (!found.accepted) return;
    if (found.bad > 0)
      this.#log.warn({ path: this.path, lines: found.bad }, `left out unreadable lines of ${this.#what}`);
    this.#linesOnDisk = found.lines;
    // Everything written ends with a newline: what stands after the last one was torn.
    this.#mustRewrite = lines.pendingBytes > 0 || found.bad > 0;
  }

  /** The state changed; the write happens behind. */
  changed(): void {
    this.#changed = true;
    if (this.#writing || this.#cancelWrite) return;
    const delayMs = this.#mustRewrite ? this.#rewriteDelayMs : this.#delayMs;
    if (delayMs === 0) this.#startWriting();
    else {
      this.#cancelWrite = this.#clock.schedule(delayMs, () => {
        this.#cancelWrite = undefined;
        this.#startWriting();
      });
    }
  }

  /** The next write is a whole one: what is on disk is about something else. */
  rewrite(): void {
    this.#mustRewrite = true;
    this.changed();
  }

  /** Tries again what failed, if something did. */
  retry(): void {
    if (this.#error) this.changed();
  }

  /** Resolves when everything is on disk, or could not be written. */
  async flush(): Promise<void> {
    this.#cancelWrite?.();
    this.#cancelWrite = undefined;
    if (this.#changed) this.#startWriting();
    while (this.#writing) await this.#writing;
  }

  #startWriting(): void {
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
      if (this.#changed && !this.#error) this.changed();
    });
  }

  async #write(): Promise<void> {
    this.#changed = false;
    const lines = this.#source.changes();
    try {
      const tooLong = this.#linesOnDisk + lines.length > 2 * this.#source.size() + spareLinesMax;
      if (this.#mustRewrite || tooLong) await this.#rewriteFile();
      else if (lines.length > 0) await this.#append(lines);
      this.#error = undefined;
    } catch (error) {
      this.#mustRewrite = true;
      if (!this.#error) {
        this.#log.error({ path: this.path, error: errorText(error) }, `cannot keep ${this.#what} on disk`);
      }
      this.#error = errorText(error);
    }
  }

  async #append(lines: readonly string[]): Promise<void> {
    await fs.appendFile(this.path, `${lines.join('\n')}\n`, { mode: 0o600 });
    this.#linesOnDisk += lines.length;
  }

  async #rewriteFile(): Promise<void> {
    await fs.mkdir(path.dirname(this.path), { recursive: true, mode: 0o700 });
    const temporary = `${this.path}.new`;
    await fs.rm(temporary, { force: true });
    const file = await fs.open(temporary, 'wx', 0o600);
    let written = 1;
    try {
      let lines = [this.#source.header()];
      for (const line of this.#source.all()) {
        lines.push(line);
        written++;
        if (lines.length < linesPerWrite) continue;
        await file.writeFile(`${lines.join('\n')}\n`);
        lines = [];
      }
      if (lines.length > 0) await file.writeFile(`${lines.join('\n')}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await fs.rename(temporary, this.path);
    this.#linesOnDisk = written;
    this.#mustRewrite = false;
  }
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
