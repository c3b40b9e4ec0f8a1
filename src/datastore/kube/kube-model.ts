/**
 * All kinds as the API server tells them, and what of it has not been handed on yet. Pure.
 *
 *   reflectors --> project or decode --> KindStore of each kind --> pending (key, what was told) --> batches in order
 *
 * A change and its undoing before a batch is made tell nothing; of several changes of one object the last is told.
 * A policy that names a service is held back until the EndpointSlices are there: without them a rule that denies would deny nothing.
 */
import {
  type Kind,
  kinds,
  type ModelObjects,
  type ModelUpdate,
  type NetworkPolicyObject,
  type ObjectKey,
  type PodObject,
} from '#model';
import { clusterPolicyStandIn } from '../manifest/cluster-policy-stand-in.ts';
import { type Decoded, decodeObject, type ObjectRef, objectRef } from '../manifest/decode.ts';
import { standInFor } from '../manifest/network-policy.ts';
import type { FieldFault } from '../manifest/reader.ts';
import { sameObject } from '../same-object.ts';
import { inOrder } from '../updates.ts';
import { HeldBack } from './held-back.ts';
import { Interner } from './intern.ts';
import { type AnyObject, KindStore } from './kind-store.ts';
import { projectNamespace, projectNode, projectPod } from './project.ts';
import type { RawObject } from './raw-object.ts';
import { resources } from './resources.ts';

export interface ModelEvents {
  /** Something is to be handed on: the first change of this kind since the last batch. */
  pending(kind: Kind): void;
  /** ISO 8601. */
  now(): string;
  /** A version that cannot be read came; `lacking`: no good version is known. */
  faulty(kind: Kind, key: ObjectKey, faults: readonly FieldFault[], lacking: boolean): void;
  /** It can be read again, or is gone. */
  mended(kind: Kind, key: ObjectKey): void;
}

/** Until the objects of one batch are handed on, the main loop stands. */
const batchObjectsMax = 1_000;

export class KubeModel {
  readonly stores: Readonly<Record<Kind, KindStore>>;
  readonly #events: ModelEvents;
  readonly #intern = new Interner();
  readonly #pending = new Map<Kind, Map<ObjectKey, AnyObject | undefined>>();
  readonly #held = new HeldBack();
  #outbox: ModelUpdate[] = [];
  readonly #notes = new Map<ObjectRef, readonly FieldFault[]>();

  constructor(events: ModelEvents) {
    this.#events = events;
    const store = (kind: Kind): KindStore => {
      const count = resources.filter((resource) => resource.kind === kind).length;
      return new KindStore(Math.max(1, count), {
        changed: (key, before) => this.#changed(kind, key, before),
        mended: (key) => events.mended(kind, key),
      });
    };
    this.stores = Object.fromEntries(kinds.map((kind) => [kind, store(kind)])) as Record<Kind, KindStore>;
  }

  get clean(): boolean {
    return this.#pending.size === 0 && this.#outbox.length === 0;
  }
  /** Some policy that is no staged one names a service. */
  get needsSlices(): boolean {
    return this.#held.needsSlices;
  }
  /** Some policy does. */
  get wantsSlices(): boolean {
    return this.#held.wantsSlices;
  }
  /** Some change of the kind was told, and waits. */
  holds(kind: Kind): boolean {
    return this.#held.holds(kind);
  }
  /** The EndpointSlices are there. */
  slicesListed(): void {
    for (const [kind, key, told] of this.#held.release()) this.#changed(kind, key, told);
  }
  get notes(): ReadonlyMap<ObjectRef, readonly FieldFault[]> {
    return this.#notes;
  }
  get<K extends Kind>(kind: K, key: ObjectKey): ModelObjects[K] | undefined {
    return this.stores[kind].get(key) as ModelObjects[K] | undefined;
  }

  put(kind: Kind, index: number, raw: RawObject): void {
    const key = keyOf(raw);
    const { object, faults, notes } = this.read(kind, raw);
    const ref = objectRef(kind, key);
    if (notes && notes.length > 0) this.#notes.set(ref, notes);
    else if (this.#notes.size > 0) this.#notes.delete(ref);
    if (object) this.stores[kind].put(index, key, object, raw.metadata.resourceVersion ?? '');
    else this.putFaulty(kind, index, key, faults ?? [], raw);
  }

  /** @param raw what of it could be read */
  putFaulty(kind: Kind, index: number, key: ObjectKey, faults: readonly FieldFault[], raw?: RawObject): void {
    const store = this.stores[kind];
    const standIn = standInOf(kind, key, raw);
    const fault = { faults, since: this.#events.now(), ...(standIn ? { standIn } : {}) };
    const news = store.putFaulty(index, key, fault);
    if (news) this.#events.faulty(kind, key, faults, store.lacks(key) || store.standsIn(key));
  }

  remove(kind: Kind, index: number, raw: RawObject): void {
    const key = keyOf(raw);
    this.stores[kind].remove(index, key, raw.metadata.resourceVersion ?? '');
    this.#notes.delete(objectRef(kind, key));
  }

  /** An object from elsewhere, sharing what it has in common with others. */
  shared(kind: Kind, object: AnyObject): AnyObject {
    if (kind === 'Pod') return this.#intern.pod(object as PodObject);
    return kind === 'NetworkPolicy' ? this.#intern.policy(object as NetworkPolicyObject) : object;
  }

  /** Fast where there are many; the decoder says what is wrong. */
  read(kind: Kind, raw: RawObject): { object?: AnyObject } & Partial<Pick<Decoded, 'faults' | 'notes'>> {
    const object = this.#project(kind, raw);
    if (object) return { object };
    const { typed, faults, notes } = decodeObject(kind, raw, 'api');
    return { ...(typed ? { object: typed.object } : {}), faults, notes };
  }

  #project(kind: Kind, raw: RawObject): AnyObject | undefined {
    if (kind === 'Pod') return projectPod(raw, this.#intern);
    if (kind === 'Node') return projectNode(raw, this.#intern);
    return kind === 'Namespace' ? projectNamespace(raw, this.#intern) : undefined;
  }

  #changed(kind: Kind, key: ObjectKey, before: AnyObject | undefined): void {
    let changes = this.#pending.get(kind);
    if (!changes) {
      changes = new Map();
      this.#pending.set(kind, changes);
      this.#events.pending(kind);
    }
    if (!changes.has(key)) changes.set(key, this.#held.take(kind, key, before));
  }

  /** The next batch; empty when everything was handed on, or what changed changed back. */
  take(): readonly ModelUpdate[] {
    if (this.#outbox.length === 0) this.#outbox = this.#collect();
    return this.#outbox.splice(0, batchObjectsMax);
  }

  #collect(): ModelUpdate[] {
    const updates: ModelUpdate[] = [];
    const { stale } = this.stores.EndpointSlice;
    for (const [kind, changes] of this.#pending) {
      const store = this.stores[kind];
      for (const [key, told] of changes) {
        const object = store.get(key);
        if (this.#held.note({ kind, key, object, told }, stale)) continue;
        if (object === told || (object && told && sameObject(object, told))) continue;
        updates.push((object ? { type: 'upsert', kind, key, object } : { type: 'delete', kind, key }) as ModelUpdate);
      }
    }
    this.#pending.clear();
    return inOrder(updates);
  }
}

const namespaceOf = (key: ObjectKey): string => (key.includes('/') ? key.slice(0, key.indexOf('/')) : '');

function standInOf(kind: Kind, key: ObjectKey, raw: RawObject | undefined): AnyObject | undefined {
  if (kind === 'NetworkPolicy') return namespaceOf(key) ? denyInstead(key, raw) : undefined;
  return clusterPolicyStandIn(kind, raw);
}

function denyInstead(key: ObjectKey, raw: RawObject | undefined): NetworkPolicyObject {
  const namespace = namespaceOf(key);
  const name = key.slice(namespace.length + 1);
  return standInFor(raw, { name, namespace, uid: raw?.metadata.uid ?? '', labels: {}, annotations: {} });
}

/** As `objectKey`; joined, since V8 would keep both parts of a concatenation beside the whole, for each of many pods. */
export function keyOf({ metadata: { namespace, name } }: RawObject): ObjectKey {
  return namespace ? [namespace, name].join('/') : name;
}
