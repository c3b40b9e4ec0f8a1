/**
 * Tells when something may have changed in a set of folders. Only a hint: what changed is found by walking again, and a
 * slow walk at intervals finds what was missed (inotify queue overrun, network file systems, exhausted watches).
 */
import fs from 'node:fs';
import type { Logger } from '#kit';
import type { FoundFolder } from './walk.ts';

export class FolderWatch {
  readonly #watchers = new Map<string, { readonly identity: string; readonly watcher: fs.FSWatcher }>();
  readonly #log: Logger;
  readonly #onHint: () => void;
  #failure = '';

  constructor(log: Logger, onHint: () => void) {
    this.#log = log;
    this.#onHint = onHint;
  }

  /** Some folder cannot be watched: walk often. */
  get degraded(): boolean {
    return this.#failure !== '';
  }

  /** Watches exactly `folders`. @returns whether one was added, whose content may have changed before it was. */
  set(folders: readonly FoundFolder[]): boolean {
    const wanted = new Map(folders.map((folder) => [folder.path, folder.identity]));
    for (const [path, { identity, watcher }] of this.#watchers) {
      if (wanted.get(path) === identity) continue;
      watcher.close();
      this.#watchers.delete(path);
    }
    let added = false;
    let failure = '';
    for (const [path, identity] of wanted) {
      if (this.#watchers.has(path)) continue;
      try {
        this.#watch(path, identity);
        added = true;
      } catch (error) {
        const { code = 'unknown' } = error as NodeJS.ErrnoException;
        // Gone since the walk: the next one will tell.
        if (code !== 'ENOENT') failure = code;
      }
    }
    if (failure !== this.#failure && failure !== '') {
      this.#log.warn({ code: failure }, 'cannot watch the datastore directory: looking at it at intervals instead');
    }
    this.#failure = failure;
    return added;
  }

  #watch(path: string, identity: string): void {
    const watcher = fs.watch(path, { persistent: false }, () => this.#onHint());
    watcher.on('error', () => {
      watcher.close();
      this.#watchers.delete(path);
      this.#onHint();
    });
    this.#watchers.set(path, { identity, watcher });
  }

  close(): void {
    for (const { watcher } of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }
}
