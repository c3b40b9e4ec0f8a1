/**
 * A directory of manifests as the datastore.
 *
 *   folder watch --hint--> debounce --> walk --> read what changed --> resolve --> diff --> one batch of updates
 *        poll timer ------------^         (by device, inode, size, times)   ^              '--> last-good journal
 *                                                        last good versions-'
 *
 * Every pass looks at the whole directory and is a function of what it finds and of the last good versions, so that it does
 * not matter which hints came, how many, or in what order. Passes never overlap.
 *
 * Known races, and what is done:
 * - A file seen half written: one that changed less than `settleMs` ago is read later (an emptied one, which is how shells
 *   begin to write, `emptySettleMs`), up to `settleMaxMs`; what it held before stays in force meanwhile.
 * - A file that changes while it is read: looked at again after reading; read again if it differs.
 * - A folder that comes into being with files in it: walked again after the watch on it is set.
 * - A directory or folder that cannot be listed (unmounted, permissions) is not an empty one: its objects stay.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { type Clock, errorText, type Logger, systemClock } from '#kit';
import type { ModelUpdate } from '#model';
import { type Datastore, type DatastoreFault, type DatastoreStatus, faultsReportedMax } from '../datastore.ts';
import { type ObjectRef, shownObject } from '../manifest/decode.ts';
import { runInSlices } from '../time-slice.ts';
import { type InForce, updatesBetween } from '../updates.ts';
import { withImpliedNamespaces } from './implied-namespaces.ts';
import { LastGood } from './last-good.ts';
import { type ManifestFile, readManifestFile } from './manifest-file.ts';
import { countKinds, type Held, type Resolution, type ResolvedFault, resolve } from './resolve.ts';
import { type FoundFile, inParallel, lookAt, type Walk, walk } from './walk.ts';
import { FolderWatch } from './watch.ts';

/** From the first hint to the pass: an editor's or `cp`'s burst becomes one pass. */
const debounceMs = 50;
const settleMs = 50;
const emptySettleMs = 300;
const settleMaxMs = 500;
/** Against hints that got lost. */
const pollMs = 5_000;
/** While the directory is missing or cannot be watched, and after a failed write. */
const pollOftenMs = 500;
/** Larger manifest files are refused. */
const fileBytesMax = 64 * 1024 * 1024;

export interface FileDatastoreOptions {
  /** Directory of manifests. */
  readonly directory: string;
  /** The last good versions are kept in `datastore/` below it. */
  readonly stateDir: string;
}

export interface FileDatastoreDeps {
  readonly log: Logger;
  readonly clock?: Clock;
}

export function createFileDatastore(deps: FileDatastoreDeps, options: FileDatastoreOptions): Datastore {
  return new FileDatastore(deps, options);
}

class FileDatastore implements Datastore {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #directory: string;
  readonly #lastGood: LastGood;
  readonly #watch: FolderWatch;
  #handler: (batch: readonly ModelUpdate[]) => void = () => undefined;
  #inSyncHandler: () => void = () => undefined;

  readonly #files = new Map<string, { readonly identity: string; readonly file: ManifestFile }>();
  /** Files that changed too lately to be read, and since when they are put off. */
  readonly #unsettled = new Map<string, number>();
  #held: ReadonlyMap<ObjectRef, Held> = new Map();
  #inForce: InForce = new Map();
  #resolution: Resolution = { held: this.#held, faults: [], notes: [], ignored: [] };
  #waitingFor: readonly string[] = ['the first look at the directory'];
  #faultsSince = new Map<string, string>();
  #lastUpdate: string | undefined;
  #announced = false;

  #stopped = true;
  #pass: Promise<void> | undefined;
  #again = false;
  #cancelPass: (() => void) | undefined;
  #cancelPoll: (() => void) | undefined;

  constructor(deps: FileDatastoreDeps, options: FileDatastoreOptions) {
    this.#log = deps.log;
    this.#clock = deps.clock ?? systemClock({ unref: true });
    this.#directory = path.resolve(options.directory);
    this.#lastGood = new LastGood(deps.log, this.#clock, { stateDir: options.stateDir, directory: this.#directory });
    this.#watch = new FolderWatch(deps.log, () => this.#hint(debounceMs));
  }

  onUpdates(handler: (batch: readonly ModelUpdate[]) => void): void {
    this.#handler = handler;
  }
  onInSync(handler: () => void): void {
    this.#inSyncHandler = handler;
  }

  /** Resolves after the first pass over the directory, in sync or not. */
  async start(): Promise<void> {
    this.#held = await this.#lastGood.load();
    this.#stopped = false;
    await this.#runPass();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelPass?.();
    this.#cancelPoll?.();
    this.#watch.close();
    await this.#pass;
    await this.#lastGood.flush();
  }

  status(): DatastoreStatus {
    const { faults, notes, ignored } = this.#resolution;
    const full = (file: string): string => path.join(this.#directory, file);
    return {
      source: 'file',
      location: this.#directory,
      inSync: this.#announced && this.#waitingFor.length === 0,
      waitingFor: this.#waitingFor,
      objects: countKinds(this.#held),
      faults: faults.slice(0, faultsReportedMax).map((fault) => this.#toStatus(fault)),
      faultsTotal: faults.length,
      notUsed: notes.slice(0, faultsReportedMax).map((note) => ({
        file: full(note.file),
        ...(note.line === undefined ? {} : { line: note.line }),
        object: note.object,
        field: note.field ?? '',
        message: note.message,
      })),
      notUsedTotal: notes.length,
      ignored,
      ...(this.#lastUpdate ? { lastUpdate: this.#lastUpdate } : {}),
    };
  }

  #toStatus(fault: ResolvedFault): DatastoreFault {
    return {
      ...fault,
      file: path.join(this.#directory, fault.file),
      since: this.#faultsSince.get(faultId(fault)) ?? new Date().toISOString(),
    };
  }

  /** Something may have changed: a pass follows within `delayMs`. */
  #hint(delayMs: number): void {
    if (this.#stopped || this.#cancelPass) return;
    this.#cancelPass = this.#clock.schedule(delayMs, () => {
      this.#cancelPass = undefined;
      void this.#runPass();
    });
  }

  /** One pass at a time; what is asked for meanwhile follows as one more. */
  #runPass(): Promise<void> {
    if (this.#pass) {
      this.#again = true;
      return this.#pass;
    }
    this.#pass = this.#passes().finally(() => {
      this.#pass = undefined;
    });
    return this.#pass;
  }

  async #passes(): Promise<void> {
    do {
      this.#again = false;
      await this.#onePass();
    } while (this.#again && !this.#stopped);
  }

  async #onePass(): Promise<void> {
    this.#cancelPoll?.();
    let found = await walk(this.#directory);
    // What came between the walk and the new watch gave no hint.
    while (!this.#stopped && this.#watch.set(found.folders)) found = await walk(this.#directory);
    if (this.#stopped) return;
    await this.#readChanged(found.files);
    if (this.#stopped) return;
    this.#settleWith(found);
    const often = this.#watch.degraded || found.unreadable.length > 0 || this.#lastGood.error !== undefined;
    this.#cancelPoll = this.#clock.schedule(often ? pollOftenMs : pollMs, () => void this.#runPass());
    this.#lastGood.retry();
  }

  async #readChanged(found: readonly FoundFile[]): Promise<void> {
    const now = this.#clock.nowMs();
    const due: FoundFile[] = [];
    for (const file of found) {
      if (file.identity !== '' && this.#files.get(file.path)?.identity === file.identity) {
        this.#unsettled.delete(file.path);
        continue;
      }
      const waitMs = this.#settleTimeLeft(file, now);
      if (waitMs > 0) this.#hint(waitMs);
      else due.push(file);
    }
    await inParallel(due, async (file) => {
      if (!this.#stopped) await this.#read(file);
    });
  }

  /** How much longer `file` is put off, in milliseconds; 0 when it is to be read now. */
  #settleTimeLeft(file: FoundFile, nowMs: number): number {
    if (file.fault) return 0;
    const since = this.#unsettled.get(file.path) ?? nowMs;
    const ageMs = Date.now() - file.modifiedMs;
    const needMs = file.sizeBytes === 0 && this.#files.has(file.path) ? emptySettleMs : settleMs;
    // A time in the future (another machine's clock) says nothing: do not wait for it.
    if (ageMs >= needMs || ageMs < 0 || nowMs - since >= settleMaxMs) return 0;
    this.#unsettled.set(file.path, since);
    return Math.ceil(needMs - ageMs) + 1;
  }

  async #read(found: FoundFile): Promise<void> {
    const file = await this.#readFile(found);
    const after = found.fault ? found : await lookAt(this.#directory, found.path);
    if (after.identity !== found.identity) {
      const since = this.#unsettled.get(found.path) ?? this.#clock.nowMs();
      this.#unsettled.set(found.path, since);
      // Changed while being read. A file that never rests is taken as it was read.
      if (this.#clock.nowMs() - since < settleMaxMs) return this.#hint(settleMs);
    }
    this.#unsettled.delete(found.path);
    this.#files.set(found.path, { identity: found.identity, file });
  }

  async #readFile(found: FoundFile): Promise<ManifestFile> {
    const broken = (message: string): ManifestFile => ({ path: found.path, state: 'broken', fault: { message } });
    if (found.fault) return broken(found.fault);
    if (found.sizeBytes > fileBytesMax) {
      return broken(`has ${found.sizeBytes} bytes, more than the ${fileBytesMax} allowed; split it`);
    }
    try {
      const bytes = await fs.readFile(path.join(this.#directory, found.path));
      const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
      return await runInSlices(readManifestFile(found.path, text));
    } catch (error) {
      const encoding = error instanceof TypeError;
      return broken(encoding ? 'is not UTF-8 text; save it as UTF-8' : `cannot be read: ${errorText(error)}`);
    }
  }

  /** Files and folders as found -> objects in force -> updates, faults, in-sync mark. */
  #settleWith(found: Walk): void {
    const present = new Set(found.files.map((file) => file.path));
    const outOfSight = found.unreadable.map((folder) => folder.path);
    const hidden = (file: string): boolean =>
      outOfSight.some((folder) => folder === '' || file.startsWith(`${folder}/`));
    for (const name of this.#files.keys()) {
      if (present.has(name) || hidden(name)) continue;
      this.#files.delete(name);
      this.#unsettled.delete(name);
    }
    const files = [...this.#files.values()].map(({ file }) => file);
    // Not read by this run, but not gone either: as the last run left them.
    const known = new Set(this.#files.keys());
    const unseen = new Set(
      [...this.#held.values()]
        .map(({ file }) => file)
        .filter((file) => !known.has(file) && (hidden(file) || present.has(file))),
    );
    for (const name of unseen) files.push({ path: name, state: 'parsed', entries: this.#entriesOf(name) });
    const resolution = resolve(files, this.#held);
    this.#adopt(resolution, found);
  }

  #entriesOf(file: string): (ManifestFile & { state: 'parsed' })['entries'] {
    return [...this.#held]
      .filter(([, held]) => held.file === file)
      .map(([ref, { version }]) => {
        const { kind } = version.typed;
        return { type: 'object', ref, kind, key: version.key, version, faults: [], notes: [] };
      });
  }

  #adopt(resolution: Resolution, found: Walk): void {
    const before = this.#held;
    const folders = found.unreadable.map((folder) => this.#folderFault(folder, before.size > 0));
    this.#resolution = { ...resolution, faults: [...folders, ...resolution.faults] };
    this.#held = resolution.held;
    this.#noteFaults();
    const changes = new Map<ObjectRef, Held | undefined>();
    for (const [ref, held] of this.#held) {
      const old = before.get(ref);
      if (!old || old.file !== held.file || old.version.document !== held.version.document) changes.set(ref, held);
    }
    for (const ref of before.keys()) if (!this.#held.has(ref)) changes.set(ref, undefined);
    this.#lastGood.record(changes, this.#held);
    const inForce = withImpliedNamespaces(this.#held);
    const updates = updatesBetween(this.#inForce, inForce);
    this.#inForce = inForce;
    if (updates.length > 0) {
      this.#lastUpdate = new Date().toISOString();
      this.#log.debug({ updates: updates.length }, 'datastore changed');
      this.#handler(updates);
    }
    this.#announce();
  }

  #folderFault(folder: Walk['unreadable'][number], known: boolean): ResolvedFault {
    const gone = folder.code === 'ENOENT';
    return {
      file: folder.path,
      message: gone
        ? 'there is no such directory; create it, or give another with --datastore-dir'
        : `cannot be listed: ${folder.message}`,
      effect: known ? 'what it held stays in force' : 'nothing of it is known',
      blocking: !known,
    };
  }

  /** Logs each fault once when it comes and once when it is gone, and remembers since when it is there. */
  #noteFaults(): void {
    const since = new Map<string, string>();
    for (const fault of this.#resolution.faults) {
      const id = faultId(fault);
      const known = this.#faultsSince.get(id);
      since.set(id, known ?? new Date().toISOString());
      if (known === undefined && since.size <= faultsReportedMax) {
        this.#log.warn({ fault: this.#toStatus(fault) }, 'a manifest is not as it should be');
      }
    }
    const gone = [...this.#faultsSince.keys()].filter((id) => !since.has(id)).length;
    this.#faultsSince = since;
    if (gone > 0) this.#log.info({ mended: gone, left: since.size }, 'manifest faults are mended');
    const { faults } = this.#resolution;
    const blocking = faults.filter((fault) => fault.blocking);
    const waiting = blocking.slice(0, faultsReportedMax).map((fault) => {
      const where = [path.join(this.#directory, fault.file), fault.line].filter((part) => part !== undefined).join(':');
      return `${fault.object ? shownObject(fault.object) : where}: ${fault.object ? `never valid, see ${where}` : fault.message}`;
    });
    const unread = [...this.#unsettled.keys()].filter((name) => !this.#files.has(name));
    if (!this.#announced && unread.length > 0) waiting.push(`${unread.length} files that are being written`);
    this.#waitingFor = [...new Set(waiting)];
  }

  #announce(): void {
    if (this.#announced || this.#waitingFor.length > 0) return;
    this.#announced = true;
    this.#log.info({ objects: this.#held.size, directory: this.#directory }, 'datastore is in sync');
    this.#inSyncHandler();
  }
}

function faultId(fault: ResolvedFault): string {
  return JSON.stringify([fault.file, fault.object, fault.field, fault.message]);
}
