import fs from 'node:fs';
import path from 'node:path';
import { EAGAIN, O_CLOEXEC, O_CREAT, O_RDWR } from './constants.ts';
import { openFile } from './fd.ts';
import * as libc from './libc.ts';
import { check } from './sys-error.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;
let sequence = 0;

function temporaryName(file: string): string {
  return path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}.${++sequence}.tmp`);
}

/**
 * Writes a file so that after a crash or a power cut it holds either the old or the new content, whole: temporary file, fsync,
 * rename, fsync of the directory. Durable when it returns. Blocks for as long as the disk takes: prefer `writeFileDurable` on the main thread.
 */
export function writeFileDurableSync(file: string, data: string | Uint8Array, mode = 0o600): void {
  const temporary = temporaryName(file);
  try {
    fs.writeFileSync(temporary, data, { mode, flush: true });
    fs.renameSync(temporary, file);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
  const directory = fs.openSync(path.dirname(file), 'r');
  try {
    fs.fsyncSync(directory);
  } finally {
    fs.closeSync(directory);
  }
}

/** The same without blocking the thread. Writers of one file must take turns. */
export async function writeFileDurable(file: string, data: string | Uint8Array, mode = 0o600): Promise<void> {
  const temporary = temporaryName(file);
  try {
    await fs.promises.writeFile(temporary, data, { mode, flush: true });
    await fs.promises.rename(temporary, file);
  } catch (error) {
    await fs.promises.rm(temporary, { force: true });
    throw error;
  }
  const directory = await fs.promises.open(path.dirname(file), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Content, or undefined when the file is not there. */
export function readFileIfThere(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

export interface DurableFile {
  /** Undefined when it is not there. */
  read(): string | undefined;
  /** Durable when it returns. */
  write(text: string): void;
  remove(): void;
}

/** A small state file of one owner. */
export function durableFile(file: string): DurableFile {
  return {
    read: () => readFileIfThere(file),
    write: (text) => writeFileDurableSync(file, text),
    remove: () => fs.rmSync(file, { force: true }),
  };
}

export type LockResult =
  | { readonly held: true; release(): void }
  /** `holderPid`: as the holder wrote it; 0 when it has not yet. */
  | { readonly held: false; readonly holderPid: number };

/** Takes an exclusive flock without waiting; the kernel releases it when the process ends, however it ends. */
export function acquireLock(file: string): LockResult {
  const fd = openFile(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o600);
  const result = libc.flock(fd.number, LOCK_EX | LOCK_NB);
  if (result === -EAGAIN) {
    fd.close();
    return { held: false, holderPid: Number.parseInt(fs.readFileSync(file, 'utf8'), 10) || 0 };
  }
  try {
    check('flock', result, file);
    fs.ftruncateSync(fd.number, 0);
    fs.writeSync(fd.number, `${process.pid}\n`, 0);
  } catch (error) {
    fd.close();
    throw error;
  }
  return { held: true, release: () => fd.close() };
}

export interface Flock {
  readonly descriptor: number;
  /** What a program that has the descriptor may lock in place of the file: for each process that opens it an inode of its own. */
  readonly ownFile: string;
  release(): void;
}

/** Takes an exclusive flock of a file that others lock too, without waiting and without a word in it. Undefined: somebody else has it. */
export function takeFlock(file: string): Flock | undefined {
  const fd = openFile(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o600);
  const result = libc.flock(fd.number, LOCK_EX | LOCK_NB);
  if (result >= 0) return { descriptor: fd.number, ownFile: '/proc/self/status', release: () => fd.close() };
  fd.close();
  if (result !== -EAGAIN) check('flock', result, file);
  return undefined;
}
