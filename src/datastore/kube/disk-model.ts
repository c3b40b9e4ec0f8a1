/**
 * The last good model on disk: what an agent has in force when it starts while the API server is away, and the last good
 * version of an object whose present one cannot be read. Changes are appended a moment behind; the whole is written a second after
 * the model is whole. Read only when needed. One file for one cluster: told apart by the UID of Namespace kube-system, and while
 * that is not known by the server's URL.
 */
import path from 'node:path';
import { type Clock, type Logger, Secret } from '#kit';
import { type Kind, kinds, type ModelUpdate, type ObjectKey } from '#model';
import { Journal } from '../journal.ts';
import type { AnyObject } from './kind-store.ts';
import type { KubeModel } from './kube-model.ts';

/** Raised whenever model objects change their shape: they are stored as they are. */
const formatVersion = 2;
/** A pod whose Pod is not on disk has no traffic when the agent is killed and starts again while the API server is away. */
const appendDelayMs = 250;
/** A start has better things to do first; until then there is what the last run left. */
const rewriteDelayMs = 1_000;

export interface ClusterIdentity {
  readonly server: string;
  /** UID of Namespace kube-system, if known. */
  readonly uid: string | undefined;
}

export interface DiskObjects {
  readonly cluster: ClusterIdentity;
  /** ISO 8601, of the last write. */
  readonly savedAt: string;
  readonly objects: Readonly<Record<Kind, ReadonlyMap<ObjectKey, AnyObject>>>;
}

export interface DiskModelOptions {
  readonly stateDir: string;
  readonly model: KubeModel;
  readonly identity: () => ClusterIdentity;
  /** ISO 8601. */
  readonly now: () => string;
}

/** Header, and again with each write, as the time moves. */
interface About extends ClusterIdentity {
  readonly version: number;
  readonly savedAt: string;
}

export class DiskModel {
  readonly #options: DiskModelOptions;
  readonly #journal: Journal;
  readonly #changed = new Map<Kind, Set<ObjectKey>>();
  /** Nothing is written before the model is whole: a part of one would be taken for all there is. */
  #whole = false;

  constructor(log: Logger, clock: Clock, options: DiskModelOptions) {
    this.#options = options;
    const file = path.join(options.stateDir, 'datastore', 'last-good-kube.jsonl');
    this.#journal = new Journal(
      log,
      clock,
      { path: file, what: 'the last good model', delayMs: appendDelayMs, rewriteDelayMs },
      {
        header: () => this.#about(),
        changes: () => this.#changes(),
        all: () => this.#all(),
        size: () => kinds.reduce((sum, kind) => sum + options.model.stores[kind].size, 0),
      },
    );
  }

  /** The model is whole and the API server's: from now on the disk follows it. */
  begin(): void {
    if (this.#whole) return;
    this.#whole = true;
    this.#journal.rewrite();
  }

  record(batch: readonly ModelUpdate[]): void {
    if (!this.#whole) return;
    for (const { kind, key } of batch) {
      let keys = this.#changed.get(kind);
      if (!keys) {
        keys = new Set();
        this.#changed.set(kind, keys);
      }
      keys.add(key);
    }
    this.#journal.changed();
  }

  flush(): Promise<void> {
    return this.#journal.flush();
  }
  retry(): void {
    this.#journal.retry();
  }

  /** What an earlier run wrote; undefined when there is nothing that can be used. */
  async load(): Promise<DiskObjects | undefined> {
    const objects = Object.fromEntries(kinds.map((kind) => [kind, new Map()])) as unknown as Record<
      Kind,
      Map<ObjectKey, AnyObject>
    >;
    let about: About | undefined;
    await this.#journal.read(
      (header) => {
        about = readAbout(header);
        return about !== undefined;
      },
      (line) => {
        if (Array.isArray(line)) return applyLine(this.#options.model, objects, line);
        about = readAbout(line) ?? about;
        return true;
      },
    );
    if (!about) return undefined;
    return { cluster: { server: about.server, uid: about.uid }, savedAt: about.savedAt, objects };
  }

  #about(): string {
    const { server, uid } = this.#options.identity();
    const about: About = { version: formatVersion, server, uid, savedAt: this.#options.now() };
    return JSON.stringify(about);
  }

  #changes(): string[] {
    const lines: string[] = [];
    for (const [kind, keys] of this.#changed) {
      for (const key of keys) lines.push(objectLine(kind, key, this.#options.model.stores[kind].get(key)));
    }
    this.#changed.clear();
    if (lines.length > 0) lines.push(this.#about());
    return lines;
  }

  *#all(): Generator<string> {
    for (const kind of kinds) {
      for (const [key, object] of this.#options.model.stores[kind].entries()) yield objectLine(kind, key, object);
    }
  }
}

/** May hold passwords, which are not shown where anything else is written. */
const withSecrets: ReadonlySet<Kind> = new Set<Kind>(['Secret', 'BGPPeer', 'BGPConfiguration']);
const secretField = '$secret';

function objectLine(kind: Kind, key: ObjectKey, object: AnyObject | undefined): string {
  if (!object) return JSON.stringify([kind, key]);
  if (!withSecrets.has(kind)) return `["${kind}",${JSON.stringify(key)},${JSON.stringify(object)}]`;
  return JSON.stringify([kind, key, object], function (this: Record<string, unknown>, field, value: unknown) {
    const raw = this[field];
    return raw instanceof Secret ? { [secretField]: raw.reveal() } : value;
  });
}

function applyLine(
  model: KubeModel,
  objects: Record<Kind, Map<ObjectKey, AnyObject>>,
  line: readonly unknown[],
): boolean {
  const [kind, key, value] = line;
  const known = kinds.find((one) => one === kind);
  if (!known || typeof key !== 'string') return false;
  if (value === undefined) return objects[known].delete(key) || true;
  if (typeof value !== 'object' || value === null) return false;
  const object = (withSecrets.has(known) ? reviveSecrets(value) : value) as AnyObject;
  objects[known].set(key, model.shared(known, object));
  return true;
}

function reviveSecrets(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(reviveSecrets);
  const secret = (value as Record<string, unknown>)[secretField];
  if (typeof secret === 'string') return new Secret(secret);
  return Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, reviveSecrets(inner)]));
}

function readAbout(value: unknown): About | undefined {
  const { version, server, uid, savedAt } = (value ?? {}) as Partial<Record<keyof About, unknown>>;
  if (version !== formatVersion || typeof server !== 'string' || typeof savedAt !== 'string') return undefined;
  return { version, server, uid: typeof uid === 'string' ? uid : undefined, savedAt };
}
