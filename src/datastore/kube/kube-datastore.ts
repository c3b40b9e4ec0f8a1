/**
 * The Kubernetes API as the datastore.
 *
 *   connection --> reflector of each resource --> model --pending--> flush --> batches --> handler
 *        |              | state of each kind        ^                             |
 *        |              v                           |                             v
 *        |         in-sync mark               last good model on disk <-- written behind
 *        +------> Secrets by name, Pods asked for by name --> model
 *
 * Changes are handed on at the end of the turn in which they came, or a few milliseconds after the last batch: a burst
 * becomes few batches, a single change is not held up.
 */
import { type Clock, type Logger, systemClock } from '#kit';
import { type Kind, kinds, type ModelUpdate, type ObjectKey, type PodObject } from '#model';
import type { Datastore, DatastoreStatus } from '../datastore.ts';
import { objectRef, shownObject } from '../manifest/decode.ts';
import { ApiGroups } from './api-groups.ts';
import { type KubeClient, KubeError, statusMessage } from './client.ts';
import { connectKube, type KubeConnection, type KubeConnectionOptions } from './connection.ts';
import { DiskFallback } from './disk-fallback.ts';
import { type ClusterIdentity, DiskModel } from './disk-model.ts';
import { KubeModel, keyOf } from './kube-model.ts';
import { kubeStatus, type ResourceHealth, waitingFor } from './kube-status.ts';
import { namedSecrets } from './named-secrets.ts';
import type { KubeObserver } from './observer.ts';
import type { RawObject } from './raw-object.ts';
import { Reflector, type ReflectorSink, type ReflectorState } from './reflector.ts';
import { compareResourceVersions } from './resource-version.ts';
import { type Resource, resources } from './resources.ts';
import { SecretReader } from './secret-reader.ts';

/** From one batch to the next under load. */
const batchIntervalMs = 10;
/** Nothing answers at all for so long, or refuses connections so often: what is on disk counts. */
const silentMs = 5_000;
const refusalsMax = 3;
/** Some kinds are there and others fail for so long: those are taken from disk. */
const incompleteMs = 30_000;

export interface KubeDatastoreDeps {
  readonly log: Logger;
  readonly clock?: Clock;
  /** 0 <= x < 1. */
  readonly random?: () => number;
  /** Shared with others; by default one of its own is made, and closed with the datastore. */
  readonly connection?: KubeConnection;
  /** For metrics. */
  readonly observer?: KubeObserver;
}

export interface KubeDatastoreOptions extends KubeConnectionOptions {
  /** The agent's own: Secrets are read there. */
  readonly namespace: string;
  /** The last good model is kept in `datastore/` below it. */
  readonly stateDir: string;
}

export interface KubeDatastore extends Datastore {
  readonly client: KubeClient;
  /**
   * The Pod as the API server has it now, taken into the model as if the watch had told it; undefined when there is none. Never
   * older than what the model holds.
   *
   * @throws KubeError when the API server cannot be asked or refuses.
   */
  fetchPod(key: ObjectKey, signal?: AbortSignal): Promise<PodObject | undefined>;
}

export function createKubeDatastore(deps: KubeDatastoreDeps, options: KubeDatastoreOptions): KubeDatastore {
  return new ApiDatastore(deps, options);
}

class ApiDatastore implements KubeDatastore {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #connection: KubeConnection;
  readonly #ownsConnection: boolean;
  readonly #model: KubeModel;
  readonly #health: readonly ResourceHealth[];
  readonly #reflectors: readonly Reflector[];
  readonly #groups: ApiGroups;
  readonly #secrets: SecretReader;
  readonly #disk: DiskModel;
  readonly #fallback: DiskFallback;
  readonly #observer: KubeObserver | undefined;
  /** When the oldest change of a kind came that is not handed on. */
  readonly #heardMs = new Map<Kind, number>();
  #handler: (batch: readonly ModelUpdate[]) => void = () => undefined;
  #inSyncHandler: () => void = () => undefined;

  #started = false;
  #announced = false;
  #lastUpdate: string | undefined;
  #flushedMs = Number.NEGATIVE_INFINITY;
  #cancelFlush: (() => void) | undefined;
  #cancelLooks: readonly (() => void)[] = [];

  constructor(deps: KubeDatastoreDeps, options: KubeDatastoreOptions) {
    const { log, random = Math.random } = deps;
    const clock = deps.clock ?? systemClock({ unref: true });
    this.#log = log;
    this.#clock = clock;
    this.#ownsConnection = deps.connection === undefined;
    this.#observer = deps.observer;
    const watched = deps.observer ? { observer: deps.observer } : {};
    this.#connection = deps.connection ?? connectKube({ log, clock, random, ...watched }, options);
    const parts = { connection: this.#connection, clock, random, log };
    this.#model = new KubeModel({
      now: () => new Date().toISOString(),
      pending: (kind) => {
        if (this.#observer && !this.#heardMs.has(kind)) this.#heardMs.set(kind, clock.nowMs());
        this.#scheduleFlush();
      },
      faulty: (kind, key, faults, lacking) => {
        const fault = { object: shownObject(objectRef(kind, key)), faults };
        log.warn(fault, 'the API server holds an object that cannot be read');
        if (lacking && !this.#announced) void this.#fallback.wantGood();
      },
      mended: (kind, key) => {
        log.info({ object: shownObject(objectRef(kind, key)) }, 'an object that could not be read is mended or gone');
        this.#settle();
      },
    });
    const identity = (): ClusterIdentity => ({
      server: this.#connection.server,
      uid: this.#model.stores.Namespace.listed ? this.#model.get('Namespace', 'kube-system')?.metadata.uid : undefined,
    });
    const { stateDir } = options;
    const model = this.#model;
    this.#disk = new DiskModel(log, clock, { stateDir, model, identity, now: () => new Date().toISOString() });
    this.#fallback = new DiskFallback({
      log,
      disk: this.#disk,
      model,
      identity,
      today: () => Date.now(),
      changed: () => this.#settle(),
    });
    this.#groups = new ApiGroups(parts);
    this.#health = resources.map((resource) => ({
      resource,
      state: undefined,
      heard: false,
      position: '',
      handedOn: '',
    }));
    this.#reflectors = this.#health.map((health) => this.#reflector(parts, health));
    this.#secrets = new SecretReader(parts, {
      namespace: options.namespace,
      sink: {
        found: (_, object) => this.#model.put('Secret', 0, object),
        gone: (name) => this.#model.stores.Secret.remove(0, `${options.namespace}/${name}`, ''),
        changed: () => this.#settle(),
      },
    });
  }

  get client(): KubeClient {
    return this.#connection;
  }
  onUpdates(handler: (batch: readonly ModelUpdate[]) => void): void {
    this.#handler = handler;
  }
  onInSync(handler: () => void): void {
    this.#inSyncHandler = handler;
  }

  /** Resolves at once; the API server may be away. */
  async start(): Promise<void> {
    this.#started = true;
    for (const [index, reflector] of this.#reflectors.entries()) {
      if (!this.#health[index]!.resource.onDemand) reflector.start();
    }
    this.#cancelLooks = [
      this.#clock.schedule(silentMs, () => this.#lookForAnswers()),
      this.#clock.schedule(incompleteMs, () => void this.#fallBack('some of the API does not answer')),
    ];
  }

  /** Nothing has been heard since the start: the model on disk is better than none. */
  #lookForAnswers(): void {
    if (this.#health.some(({ state, heard }) => heard || (state && !('unreachable' in state && state.unreachable)))) {
      return;
    }
    const failing = this.#health.find(({ state }) => state?.state === 'failing')?.state;
    const reason = failing && 'reason' in failing ? failing.reason : `no answer within ${silentMs / 1000} s`;
    void this.#fallBack(`API server ${this.#connection.server} cannot be reached: ${reason}`);
  }

  async #fallBack(reason: string): Promise<void> {
    if (this.#announced || !this.#started || this.#allListed()) return;
    await this.#fallback.takeOver(reason);
  }

  #allListed(): boolean {
    return kinds.every((kind) => this.#model.stores[kind].listed);
  }

  async stop(): Promise<void> {
    this.#started = false;
    this.#cancelFlush?.();
    for (const cancel of this.#cancelLooks) cancel();
    this.#secrets.stop();
    await Promise.all(this.#reflectors.map((reflector) => reflector.stop()));
    await this.#disk.flush();
    if (this.#ownsConnection) await this.#connection.close();
  }

  status(): DatastoreStatus {
    return kubeStatus({
      server: this.#connection.server,
      announced: this.#announced,
      model: this.#model,
      health: this.#health,
      secrets: this.#secrets,
      lastUpdate: this.#lastUpdate,
      stale: this.#fallback.stale,
    });
  }

  async fetchPod(key: ObjectKey, signal?: AbortSignal): Promise<PodObject | undefined> {
    const [namespace = '', name = ''] = key.split('/').map(encodeURIComponent);
    const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
    const response = await this.#connection.request({ method: 'GET', path, ...(signal ? { signal } : {}) });
    // A deletion is told by the watch.
    if (response.status === 404) return undefined;
    if (response.status !== 200) {
      const { server } = this.#connection;
      throw new KubeError(`Pod ${key}: ${statusMessage(response)}`, { code: 'UNREACHABLE', server });
    }
    const raw = response.body as RawObject;
    const { object } = this.#model.read('Pod', raw);
    const version = raw.metadata.resourceVersion ?? '';
    const position = this.#health.find(({ resource }) => resource.kind === 'Pod')?.position;
    const told = position !== undefined && position !== '' && compareResourceVersions(version, position) <= 0;
    if (object && !told) this.#model.stores.Pod.putAhead(key, object, version);
    return this.#model.get('Pod', key);
  }

  #reflector(parts: ConstructorParameters<typeof Reflector>[0], health: ResourceHealth): Reflector {
    const { resource } = health;
    const sink = this.#sink(health);
    const untilWorthALook = (signal: AbortSignal): Promise<void> => this.#groups.untilServed(resource, signal);
    return new Reflector(parts, { resource, sink, ...(resource.optional ? { untilWorthALook } : {}) });
  }

  /** What a reflector tells goes into the model at `index` among the resources of its kind. */
  #sink(health: ResourceHealth): ReflectorSink {
    const { resource } = health;
    const { kind } = resource;
    const index = indexInKind(resource);
    const store = this.#model.stores[kind];
    /** The list holds an object that it cannot be told of which one it is: it may be any. */
    let unnamed = false;
    return {
      listing: () => {
        unnamed = false;
        this.#observer?.listing(kind, store.listed);
        store.listing(index);
      },
      put: (object) => {
        health.heard = true;
        this.#model.put(kind, index, object);
      },
      remove: (object) => this.#model.remove(kind, index, object),
      oversized: (head, bytes) => {
        this.#observer?.oversized(kind);
        const key = keyInHead(head);
        unnamed ||= key === undefined;
        const message = `has ${bytes} bytes as JSON, which is too much to be read; make it smaller`;
        this.#model.putFaulty(kind, index, key ?? unnamedKey, [{ path: [], message }]);
      },
      listed: (resourceVersion) => {
        if (kind === 'EndpointSlice') this.#model.slicesListed();
        store.seenAll(index, resourceVersion, { keepUnseen: unnamed });
        this.#settle();
      },
      position: (resourceVersion) => {
        health.heard = true;
        health.position = resourceVersion;
        this.#observer?.heard(kind);
        store.moved(resourceVersion);
        if (this.#model.clean && !this.#model.holds(kind)) health.handedOn = resourceVersion;
      },
      absent: () => {
        if (kind === 'EndpointSlice') this.#model.slicesListed();
        store.absent(index);
        health.position = '';
        health.handedOn = '';
      },
      report: (state) => this.#report(health, state),
    };
  }

  #report(health: ResourceHealth, state: ReflectorState): void {
    const before = health.state;
    health.state = state;
    const same =
      before?.state === state.state &&
      ('reason' in before ? before.reason : '') === ('reason' in state ? state.reason : '');
    if (same) return;
    const { path, apiVersion, optional } = health.resource;
    // Of a server that does not answer the connection speaks, once for all.
    const worth = state.state === 'forbidden' || (state.state === 'failing' && !state.unreachable);
    const level = worth ? 'warn' : 'debug';
    this.#log[level]({ resource: path, ...state }, 'a resource of the API server changed its state');
    if (optional && state.state === 'synced' && before?.state === 'absent') this.#groups.hint(apiVersion);
    // A role that was given back is one for all kinds.
    if (state.state === 'synced' && before?.state === 'forbidden') for (const one of this.#reflectors) one.hint();
    if (this.#connection.failedAttempts >= refusalsMax) this.#lookForAnswers();
    this.#settle();
  }

  #scheduleFlush(): void {
    if (this.#cancelFlush) return;
    const waitMs = Math.max(0, this.#flushedMs + batchIntervalMs - this.#clock.nowMs());
    this.#cancelFlush = this.#clock.schedule(waitMs, () => {
      this.#cancelFlush = undefined;
      this.#flush();
    });
  }

  #flush(): void {
    if (!this.#started) return;
    const batch = this.#model.take();
    if (this.#model.wantsSlices) this.#followSlices();
    this.#flushedMs = this.#clock.nowMs();
    if (batch.length > 0) {
      this.#lastUpdate = new Date().toISOString();
      this.#handler(batch);
      this.#disk.record(batch);
      this.#observeBatch(batch);
      if (batch.some(({ kind }) => kind === 'BGPPeer' || kind === 'BGPConfiguration')) this.#wantSecrets();
    }
    if (this.#model.clean) {
      for (const health of this.#health) {
        if (!this.#model.holds(health.resource.kind)) health.handedOn = health.position;
      }
      this.#settle();
    } else this.#scheduleFlush();
  }

  #followSlices(): void {
    this.#reflectors[this.#health.findIndex(({ resource }) => resource.kind === 'EndpointSlice')]?.start();
  }

  #observeBatch(batch: readonly ModelUpdate[]): void {
    if (!this.#observer) return;
    const nowMs = this.#clock.nowMs();
    for (const kind of new Set(batch.map((update) => update.kind))) {
      const since = this.#heardMs.get(kind);
      if (since !== undefined) this.#observer.handedOn(kind, nowMs - since);
    }
    if (this.#model.clean) this.#heardMs.clear();
  }

  #wantSecrets(): void {
    this.#secrets.want(namedSecrets(this.#model.stores));
  }

  /** Gives the in-sync mark when everything that it needs is there and handed on. */
  #settle(): void {
    if (!this.#started) return;
    const { stores } = this.#model;
    if (!stores.Secret.listed && stores.BGPPeer.listed && stores.BGPConfiguration.listed && this.#model.clean) {
      if (this.#secrets.settled) stores.Secret.complete();
    }
    const policiesListed = stores.CalicoNetworkPolicy.listed && stores.GlobalNetworkPolicy.listed;
    if (!stores.EndpointSlice.listed && policiesListed && this.#model.clean && !this.#model.needsSlices) {
      stores.EndpointSlice.complete();
    }
    this.#fallback.settle(this.#model.clean);
    if (!this.#model.clean || this.#fallback.busy) return;
    if (!this.#announced && waitingFor(this.#model, this.#health, this.#secrets).length === 0) {
      this.#announced = true;
      this.#log.info({ server: this.#connection.server }, 'datastore is in sync');
      this.#inSyncHandler();
    }
    if (this.#announced && this.#allListed()) {
      this.#fallback.finish();
      this.#disk.begin();
      this.#disk.retry();
    }
  }
}

const unnamedKey = '(name not read)';

/** The key of an object of which only the beginning is known; undefined where its name stands further on. */
function keyInHead(head: string): ObjectKey | undefined {
  const metadata = head.slice(head.indexOf('"metadata":'));
  const name = /"name":"([^"]+)"/.exec(metadata)?.[1];
  const namespace = /"namespace":"([^"]*)"/.exec(metadata)?.[1] ?? '';
  return name === undefined ? undefined : keyOf({ metadata: { name, namespace } });
}

function indexInKind(resource: Resource): number {
  return resources.filter(({ kind }) => kind === resource.kind).indexOf(resource);
}
