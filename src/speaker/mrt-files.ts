/**
 * MRT on disk: messages as they come, in files that are rotated, and dumps of the tables.
 *
 * The speaker never waits for the disk and never fails by it. Records wait in memory up to `pendingBytesMax`; what comes while
 * that is full, or while the disk is, is counted and lost. A file holds whole records whatever happened: what a write left half
 * done is cut off, and a file of an earlier run, which may end in half a record, is not appended to but rotated away.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type MrtConfig, mrt, type Speaker } from '#bgp';
import { type Clock, errorText, type Logger } from '#kit';

const pendingBytesMax = 16 * 1024 * 1024;
/** After a failed write nothing is tried for so long. */
const retryMs = 10_000;
/** How often the age of a file is looked at. */
const ageCheckMs = 1000;
/** Rotated files that stay; the oldest go. */
const rotatedFilesMax = 96;
/** A slice of a table dump: some milliseconds. */
const dumpPrefixesPerSlice = 5000;

type UpdateFileConfig = NonNullable<MrtConfig['updates']>;

export interface UpdateFilesDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Milliseconds. */
  readonly wallMs: () => number;
}

export interface UpdateFilesStatus {
  readonly recordsBytes: number;
  /** Bytes of records that were lost to a full disk or a slow one. */
  readonly lostBytes: number;
  readonly rotations: number;
  /** Empty: the last write went well. */
  readonly lastError: string;
}

/** The messages and states of all sessions in one row of files; `recorder` is the tap that fills them. */
export class UpdateFiles {
  readonly recorder: mrt.MrtRecorder;
  readonly #deps: UpdateFilesDeps;
  #config: UpdateFileConfig | undefined;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #working: Promise<void> | undefined;
  #handle: fs.FileHandle | undefined;
  /** The open file: its path, whole bytes, and when it was opened. */
  #open = { file: '', bytes: 0, sinceMs: 0 };
  #retryAtMs = 0;
  #cancelTimer: (() => void) | undefined;
  #recordsBytes = 0;
  #lostBytes = 0;
  #rotations = 0;
  #lastError = '';

  constructor(deps: UpdateFilesDeps) {
    this.#deps = deps;
    this.recorder = new mrt.MrtRecorder({
      write: (records) => this.#take(records),
      wallUsec: () => Math.floor(1000 * deps.wallMs()),
    });
  }

  status(): UpdateFilesStatus {
    const [recordsBytes, lostBytes, rotations, lastError] = [
      this.#recordsBytes,
      this.#lostBytes,
      this.#rotations,
      this.#lastError,
    ];
    return { recordsBytes, lostBytes, rotations, lastError };
  }

  /** Takes effect at once; without `updates` nothing is recorded. */
  configure(config: MrtConfig | undefined): void {
    this.#config = config?.updates;
    this.recorder.active = this.#config !== undefined;
    this.recorder.recordSent = this.#config?.sent ?? false;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (this.#config) this.#checkAge();
    else this.#work();
  }
  /** Writes what waits and closes. */
  async close(): Promise<void> {
    this.recorder.active = false;
    this.#cancelTimer?.();
    this.#retryAtMs = 0;
    do {
      this.#work();
      await this.#working;
      // A disk that fails now is not tried again.
    } while (this.#pending.length > 0 && this.#deps.clock.nowMs() >= this.#retryAtMs);
    this.#config = undefined;
    await this.#closeFile();
  }

  #take(records: Uint8Array): void {
    if (this.#pendingBytes + records.length > pendingBytesMax) {
      this.#lostBytes += records.length;
      return;
    }
    this.#pending.push(records);
    this.#pendingBytes += records.length;
    this.#work();
  }

  #checkAge(): void {
    this.#cancelTimer = this.#deps.clock.schedule(ageCheckMs, () => {
      this.#work();
      this.#checkAge();
    });
  }

  /** One at a time; comes again by itself while there is something to write. */
  #work(): void {
    if (this.#working) return;
    this.#working = this.#round().then(() => {
      this.#working = undefined;
      if (this.#pending.length > 0 && this.#deps.clock.nowMs() >= this.#retryAtMs) this.#work();
    });
  }

  async #round(): Promise<void> {
    try {
      if (this.#handle && this.#due()) await this.#rotate();
      if (this.#pending.length === 0) return;
      if (this.#deps.clock.nowMs() < this.#retryAtMs) return;
      await this.#write();
      if (this.#lastError) this.#deps.log.info({ file: this.#open.file }, 'MRT records are written again');
      this.#lastError = '';
    } catch (error) {
      this.#retryAtMs = this.#deps.clock.nowMs() + retryMs;
      if (!this.#lastError) {
        this.#deps.log.error({ file: this.#open.file, error: errorText(error) }, 'MRT records cannot be written');
      }
      this.#lastError = errorText(error);
      await this.#closeFile().catch(() => undefined); // The first error says it all.
    }
  }

  /** The open file is another than the wanted one, or too old, or too long. */
  #due(): boolean {
    const config = this.#config;
    if (!config || this.#open.file !== config.file) return true;
    const ageSec = (this.#deps.clock.nowMs() - this.#open.sinceMs) / 1000;
    return this.#open.bytes > 0 && (this.#open.bytes >= config.rotateBytes || ageSec >= config.rotateSec);
  }

  async #write(): Promise<void> {
    const config = this.#config;
    const bytes = this.#batch(config ? config.rotateBytes - this.#open.bytes : Number.POSITIVE_INFINITY);
    try {
      const file = config?.file ?? this.#open.file;
      if (file === '') return;
      this.#handle ??= await this.#openFile(file);
      await writeAll(this.#handle, bytes, this.#open.bytes);
    } catch (error) {
      this.#lostBytes += bytes.length;
      // Half a record must not stand before the next whole one.
      await this.#handle?.truncate(this.#open.bytes).catch(() => undefined);
      throw error;
    }
    this.#open.bytes += bytes.length;
    this.#recordsBytes += bytes.length;
  }

  /** Of what waits, as much as fits into the open file, but something. */
  #batch(room: number): Buffer {
    let count = 0;
    let bytes = 0;
    while (count < this.#pending.length && (count === 0 || bytes < room)) bytes += this.#pending[count++]!.length;
    this.#pendingBytes -= bytes;
    return Buffer.concat(this.#pending.splice(0, count));
  }

  async #openFile(file: string): Promise<fs.FileHandle> {
    const left = await fs.stat(file).catch(() => undefined);
    if (left?.isFile() && left.size > 0) await this.#moveAway(file, left.mtimeMs);
    this.#open = { file, bytes: 0, sinceMs: this.#deps.clock.nowMs() };
    return fs.open(file, 'w', 0o640);
  }
  async #closeFile(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  async #rotate(): Promise<void> {
    const { file, bytes } = this.#open;
    await this.#closeFile();
    if (bytes > 0) await this.#moveAway(file, this.#deps.wallMs());
    this.#rotations++;
  }

  /** `updates.mrt` becomes `updates.mrt.20260131T235959.123Z`. */
  async #moveAway(file: string, wallMs: number): Promise<void> {
    const stamp = new Date(wallMs).toISOString().replaceAll(/[-:]/g, '');
    let target = `${file}.${stamp}`;
    for (let n = 1; await exists(target); n++) target = `${file}.${stamp}-${n}`;
    await fs.rename(file, target);
    const { dir, base } = path.parse(file);
    const rotated = (await fs.readdir(dir || '.')).filter((name) => name.startsWith(`${base}.2`)).sort();
    for (const name of rotated.slice(0, -rotatedFilesMax)) await fs.rm(path.join(dir, name), { force: true });
  }
}

async function exists(file: string): Promise<boolean> {
  return (await fs.stat(file).catch(() => undefined)) !== undefined;
}

async function writeAll(handle: fs.FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, position + at);
    at += bytesWritten;
  }
}

export interface TableDumpCounts {
  readonly prefixes: number;
  readonly paths: number;
}

/**
 * Writes the tables of the speaker as MRT (RFC 6396 4.3) to `sink`, a slice at a time; sessions have their turn in between.
 *
 * @returns how much there was.
 */
export async function dumpTable(
  speaker: Pick<Speaker, 'tableDump'>,
  sink: (records: Uint8Array) => void | Promise<void>,
): Promise<TableDumpCounts> {
  const dump = speaker.tableDump();
  for (let slice = dump.next(dumpPrefixesPerSlice); slice; slice = dump.next(dumpPrefixesPerSlice)) {
    if (slice.length > 0) await sink(slice);
    await nextTurn();
  }
  return { prefixes: dump.prefixCount, paths: dump.pathCount };
}

/** A dump into a file, which is there whole or not at all. */
export async function dumpTableToFile(speaker: Pick<Speaker, 'tableDump'>, file: string): Promise<TableDumpCounts> {
  const temporary = `${file}.part`;
  const handle = await fs.open(temporary, 'w', 0o640);
  try {
    let at = 0;
    const counts = await dumpTable(speaker, async (records) => {
      await writeAll(handle, records, at);
      at += records.length;
    });
    await handle.close();
    await fs.rename(temporary, file);
    return counts;
  } catch (error) {
    await handle.close().catch(() => undefined);
    await fs.rm(temporary, { force: true });
    throw error;
  }
}
