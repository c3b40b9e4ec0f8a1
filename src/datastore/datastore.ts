/** The one interface behind which manifests in a directory and the Kubernetes API look the same. */
import type { Startable } from '#kit';
import type { Kind, ModelUpdate } from '#model';
import { shownObject } from './manifest/decode.ts';

export interface Datastore extends Startable {
  /**
   * Called with what changed since the last call: at most one update for each object, in an order in which nothing
   * that restricts comes late (policies before pods) and deletions come last. Never called with an empty batch, and never
   * before `start`. The handler must not throw. One handler; set it before `start`.
   */
  onUpdates(handler: (batch: readonly ModelUpdate[]) => void): void;
  /**
   * Called once, after the batch that completed the first full view: every object that the source holds was valid, or
   * has an earlier valid version in force. Until then nothing may be written to the kernel.
   */
  onInSync(handler: () => void): void;
  /** A snapshot for people and probes. */
  status(): DatastoreStatus;
}

export interface DatastoreStatus {
  /** E.g. `file`. */
  readonly source: string;
  /** E.g. the directory. */
  readonly location: string;
  /** The in-sync mark was given and nothing came since that was never valid. */
  readonly inSync: boolean;
  /** Why not in sync, in plain words; empty when it is. */
  readonly waitingFor: readonly string[];
  readonly objects: Readonly<Record<Kind, number>>;
  /** Sorted by file and line; at most `faultsReportedMax`, `faultsTotal` counts all. */
  readonly faults: readonly DatastoreFault[];
  readonly faultsTotal: number;
  /** Valid fields that have no effect here. Same bound. */
  readonly notUsed: readonly DatastoreNote[];
  readonly notUsedTotal: number;
  /** Kinds that are none of ours, with how many documents of each. */
  readonly ignored: readonly { readonly apiVersion: string; readonly kind: string; readonly count: number }[];
  /** ISO 8601 time of the last batch of updates, if any. */
  readonly lastUpdate?: string;
  /** Sources that follow each kind by itself (the Kubernetes API) say how each stands. */
  readonly kinds?: Readonly<Partial<Record<Kind, KindStatus>>>;
  /** Set while what is in force comes from disk because the source cannot be reached: why, and since when. */
  readonly stale?: { readonly reason: string; readonly since: string };
}

/** How one kind stands at the API server. */
export interface KindStatus {
  /**
   * `synced`: followed. `absent`: the API server has no such kind (404), it counts as empty. `forbidden`: 403. `waiting`: not listed yet.
   * `failing`: listed once, the watch is broken now and retried.
   */
  readonly state: 'synced' | 'absent' | 'forbidden' | 'waiting' | 'failing';
  /** API version that it is read from, e.g. `projectcalico.org/v3`; two where an old installation's objects are read as well. */
  readonly apiVersions: readonly string[];
  /** Up to which everything was handed to the handler. */
  readonly resourceVersion?: string;
  /** Why not synced, in words. */
  readonly reason?: string;
}

/** One thing that is wrong with one object, document, file or folder. */
export interface DatastoreFault {
  /** Absent where objects come from an API server. */
  readonly file?: string;
  /** 1-based. */
  readonly line?: number;
  readonly column?: number;
  /** E.g. `NetworkPolicy default/web`. */
  readonly object?: string;
  /** E.g. `spec.ingress[0].ports[1].endPort`. */
  readonly field?: string;
  /** What is wrong, with the value, and what to do. */
  readonly message: string;
  /** What holds meanwhile. */
  readonly effect: string;
  /** Keeps the datastore out of sync. */
  readonly blocking: boolean;
  /** ISO 8601 time at which it was first seen by this run. */
  readonly since: string;
}

export interface DatastoreNote {
  readonly file?: string;
  readonly line?: number;
  readonly object: string;
  readonly field: string;
  readonly message: string;
}

/** A status lists no more faults and notes than this; the rest is counted. */
export const faultsReportedMax = 200;

/** `file:line:column: object: field: message (effect)`, as compilers print it, so that editors can jump there; without a file, from the object on. */
export function formatFault(fault: DatastoreFault): string {
  const where = [fault.file, fault.line, fault.column].filter((part) => part !== undefined).join(':');
  const object = fault.object === undefined ? undefined : shownObject(fault.object);
  const what = [object, fault.field, fault.message].filter((part) => part !== undefined).join(': ');
  return `${where && `${where}: `}${what} (${fault.effect})`;
}
