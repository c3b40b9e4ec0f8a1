/**
 * When the model on disk counts: for all that the API server has not told while nothing answers, so that an agent that starts
 * meanwhile gives its pods their network and their policies; and for objects whose present version cannot be read. Never
 * another cluster's.
 */
import type { Logger } from '#kit';
import { kinds } from '#model';
import type { DatastoreStatus } from '../datastore.ts';
import { pauseIfDue } from '../time-slice.ts';
import type { ClusterIdentity, DiskModel, DiskObjects } from './disk-model.ts';
import type { KubeModel } from './kube-model.ts';

export interface DiskFallbackParts {
  readonly log: Logger;
  readonly disk: DiskModel;
  readonly model: KubeModel;
  readonly identity: () => ClusterIdentity;
  /** Milliseconds since 1970. */
  readonly today: () => number;
  /** Something that the in-sync mark waits for may have changed. */
  readonly changed: () => void;
}

export class DiskFallback {
  readonly #parts: DiskFallbackParts;
  #objects: DiskObjects | undefined;
  #state: 'unread' | 'read' | 'done' = 'unread';
  #reading: Promise<DiskObjects | undefined> | undefined;
  #goodWanted = false;
  #takingOver = false;
  #stale: DatastoreStatus['stale'];

  constructor(parts: DiskFallbackParts) {
    this.#parts = parts;
  }

  /** Set while some of what is in force is from disk because nothing answers. */
  get stale(): DatastoreStatus['stale'] {
    return this.#stale;
  }
  /** It is not known yet what disk holds of what the API server does not tell. */
  get busy(): boolean {
    return this.#state !== 'done' && (this.#goodWanted || this.#takingOver);
  }

  /** An object that cannot be read came, and no good version is known. */
  async wantGood(): Promise<void> {
    if (this.#state === 'done') return;
    this.#goodWanted = true;
    await this.#read();
    this.settle(false);
    this.#parts.changed();
  }

  /** Nothing answers, for `reason`: what is on disk counts until something does. */
  async takeOver(reason: string): Promise<void> {
    if (this.#stale || this.#takingOver || this.#state === 'done') return;
    this.#takingOver = true;
    const objects = await this.#read();
    const { log, identity, today, changed } = this.#parts;
    if (objects && isSameCluster(objects.cluster, identity())) {
      const age = ageText(today() - Date.parse(objects.savedAt));
      this.#stale = {
        reason: `${reason}; in force is the model on disk of ${objects.savedAt}, ${age} old`,
        since: new Date(today()).toISOString(),
      };
      await this.#putInForce(objects);
      log.warn({ ...this.#stale }, 'the API server does not answer: the last good model on disk is in force');
    }
    this.#takingOver = false;
    changed();
  }

  async #putInForce({ objects }: DiskObjects): Promise<void> {
    const { stores } = this.#parts.model;
    for (const kind of kinds) stores[kind].beginDisk();
    for (const kind of kinds) {
      for (const [key, object] of objects[kind]) {
        stores[kind].addFromDisk(key, object);
        await pauseIfDue();
      }
    }
  }

  /** Called whenever a kind was listed. `clean`: everything known was handed on. */
  settle(clean: boolean): void {
    const { model, log, identity } = this.#parts;
    if (this.#objects && model.stores.Namespace.listed) {
      if (!isSameCluster(this.#objects.cluster, identity())) {
        log.warn({ ...this.#objects.cluster }, 'the model on disk is of another cluster and not used');
        this.#finish();
      } else if (this.#goodWanted && this.#state === 'read') {
        for (const kind of kinds) model.stores[kind].useGoodVersions(this.#objects.objects[kind]);
        this.#goodSettled();
      }
    } else if (this.#state === 'read' && !this.#objects && this.#goodWanted) {
      this.#goodSettled();
    }
    if (clean && !this.#takingOver && this.#stale && kinds.every((kind) => !model.stores[kind].stale)) {
      log.info(
        { since: this.#stale.since },
        'the API server has told everything: the model on disk is not needed any more',
      );
      this.#stale = undefined;
      this.#parts.changed();
    }
  }

  /** What disk had of objects that cannot be read is in force. */
  #goodSettled(): void {
    this.#goodWanted = false;
    for (const kind of kinds) this.#parts.model.stores[kind].useStandIns();
    this.#parts.changed();
  }

  /** The model is whole: nothing is taken from disk any more. */
  finish(): void {
    if (this.#state !== 'done') this.#finish();
  }

  #finish(): void {
    this.#state = 'done';
    this.#objects = undefined;
    this.#stale = undefined;
    for (const kind of kinds) {
      this.#parts.model.stores[kind].leaveDisk();
      this.#parts.model.stores[kind].useStandIns();
    }
  }

  /** Once; undefined when there is nothing, or nothing is needed any more. */
  async #read(): Promise<DiskObjects | undefined> {
    this.#reading ??= this.#parts.disk.load();
    const objects = await this.#reading;
    if (this.#state === 'done') return undefined;
    this.#state = 'read';
    this.#objects = objects;
    return objects;
  }
}

/** The UID tells when both are known; a server may have several URLs, and a URL may lead to another cluster later. */
function isSameCluster(a: ClusterIdentity, b: ClusterIdentity): boolean {
  return a.uid !== undefined && b.uid !== undefined ? a.uid === b.uid : a.server === b.server;
}

function ageText(ms: number): string {
  const minutes = Math.max(0, Math.round(ms / 60_000));
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}
