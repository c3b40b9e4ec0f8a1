/**
 * Which manifest files a directory holds: `*.yaml`, `*.yml`, `*.json`, at any depth. Names that begin with a dot are
 * left out (editors' swap files, the `..data` folder behind a mounted ConfigMap); links are followed.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorText } from '#kit';

export interface FoundFile {
  /** Relative to the directory; what files are sorted by. */
  readonly path: string;
  /** Equal as long as the content is: device, inode, size, times. Empty when the file cannot be looked at. */
  readonly identity: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** Why the file cannot be read, if so. */
  readonly fault?: string;
  /** Of the system call that failed, if one did. */
  readonly code?: string;
}

export interface FoundFolder {
  /** Absolute. */
  readonly path: string;
  /** Device and inode: another folder may come under the same name. */
  readonly identity: string;
}

export interface Walk {
  readonly files: readonly FoundFile[];
  /** What to watch: the folders, and those that links point into. */
  readonly folders: readonly FoundFolder[];
  /** Folders that cannot be listed, relative to the directory (`''` is the directory itself). */
  readonly unreadable: readonly { readonly path: string; readonly message: string; readonly code: string }[];
}

/** Files below one datastore directory; beyond it the walk stops and says so. */
export const filesMax = 100_000;
const depthMax = 16;

export async function walk(directory: string): Promise<Walk> {
  const walker = new Walker(directory);
  await walker.visit('', []);
  return walker;
}

class Walker implements Walk {
  readonly files: FoundFile[] = [];
  readonly folders: FoundFolder[] = [];
  readonly unreadable: { path: string; message: string; code: string }[] = [];
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** `above`: identities of the folders on the way here, against links that lead back up. */
  async visit(relative: string, above: readonly string[]): Promise<void> {
    const full = path.join(this.#directory, relative);
    try {
      const stat = await fs.stat(full);
      const identity = `${stat.dev}:${stat.ino}`;
      if (above.includes(identity)) return;
      if (above.length > depthMax) throw new Error(`more than ${depthMax} folders deep`);
      const entries = await fs.readdir(full, { withFileTypes: true });
      this.folders.push({ path: full, identity });
      const plain: string[] = [];
      for (const entry of entries) {
        if (entry.name.startsWith('.')) continue;
        const name = relative === '' ? entry.name : `${relative}/${entry.name}`;
        if (entry.isDirectory()) await this.visit(name, [...above, identity]);
        else if (entry.isSymbolicLink()) await this.#visitLink(name, [...above, identity]);
        else if (isManifestName(name)) plain.push(name);
      }
      // One after the other, ten thousand files take a second on a busy machine.
      await inParallel(plain, (name) => this.#addFile(name));
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? '';
      // Removed since it was listed: gone, not out of sight. The directory itself is a mount point more often than not.
      if (code === 'ENOENT' && relative !== '') return;
      this.unreadable.push({ path: relative, message: errorText(error), code });
    }
  }

  async #visitLink(name: string, above: readonly string[]): Promise<void> {
    const full = path.join(this.#directory, name);
    const target = await fs.realpath(full).catch(() => undefined);
    const stat = target ? await fs.stat(target).catch(() => undefined) : undefined;
    if (stat?.isDirectory()) return this.visit(name, above);
    if (!isManifestName(name)) return;
    if (target) {
      const folder = path.dirname(target);
      const folderStat = await fs.stat(folder).catch(() => undefined);
      if (folderStat) this.folders.push({ path: folder, identity: `${folderStat.dev}:${folderStat.ino}` });
    }
    await this.#addFile(name, true);
  }

  async #addFile(name: string, isLink = false): Promise<void> {
    if (this.files.length >= filesMax) throw new Error(`more than ${filesMax} files`);
    const found = await lookAt(this.#directory, name);
    // Removed since it was listed. A link that leads nowhere is still listed.
    if (found.code === 'ENOENT' && !isLink) return;
    this.files.push(found);
  }
}

/** A file as it is now; `fault` when it is no readable regular file. */
export async function lookAt(directory: string, name: string): Promise<FoundFile> {
  try {
    const stat = await fs.stat(path.join(directory, name), { bigint: true });
    const identity = [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(':');
    const found = { path: name, identity, sizeBytes: Number(stat.size), modifiedMs: Number(stat.mtimeMs) };
    return stat.isFile() ? found : { ...found, fault: 'is not a regular file; remove it or rename it' };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    const fault = `cannot be read: ${errorText(error)}`;
    return { path: name, identity: '', sizeBytes: 0, modifiedMs: 0, fault, code };
  }
}

/** Calls to the file system that are under way at a time. */
const parallelMax = 32;

/** Runs `task` for every item, several at a time. Rejects with the first failure, after those under way have ended. */
export async function inParallel<T>(items: readonly T[], task: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += parallelMax) {
    const results = await Promise.allSettled(items.slice(at, at + parallelMax).map(task));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }
}

function isManifestName(name: string): boolean {
  return /\.(yaml|yml|json)$/.test(name);
}
