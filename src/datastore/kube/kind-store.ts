/**
 * What is known of one kind: from each resource that it is read from, and from disk while the API server has not said
 * it all. Pure. The rules:
 *
 * - Of resources that name the same object the first counts, valid or not.
 * - An object that cannot be read keeps its last good version, from memory or from disk. Without one its stand-in is in
 *   force, if it has one, but not before disk was asked.
 * - What came from disk is in force until every resource is listed (or absent), and goes then if nobody named it.
 *
 * Every change of what is in force is told with what it was before.
 */
import type { Kind, ModelObjects, ObjectKey } from '#model';
import type { FieldFault } from '../manifest/reader.ts';
import { sameObject } from '../same-object.ts';
import { compareResourceVersions } from './resource-version.ts';

export type AnyObject = ModelObjects[Kind];

export interface ObjectFault {
  readonly faults: readonly FieldFault[];
  /** ISO 8601. */
  readonly since: string;
  /** What counts while no good version is known. */
  readonly standIn?: AnyObject;
}

const isStandIn = (object: AnyObject | undefined): boolean => object !== undefined && 'standIn' in object;
const good = (object: AnyObject | undefined): AnyObject | undefined => (isStandIn(object) ? undefined : object);

interface ResourceStore {
  readonly objects: Map<ObjectKey, AnyObject>;
  /** Named by the API server, but its present version cannot be read. */
  readonly faulty: Map<ObjectKey, ObjectFault>;
  /** During a list: what it has not named yet. */
  unseen: Set<ObjectKey> | undefined;
  listed: boolean;
}

export interface KindStoreEvents {
  /** What is in force under `key` was `before`. */
  changed(key: ObjectKey, before: AnyObject | undefined): void;
  /** An object that could not be read is gone, or can be. */
  mended(key: ObjectKey): void;
}

export class KindStore {
  readonly #events: KindStoreEvents;
  readonly #resources: readonly ResourceStore[];
  /** In force where no resource names the key, while the API server has not told everything. */
  #disk: Map<ObjectKey, AnyObject> | undefined;
  /** Objects that were asked for by name, ahead of the watch: events before this are older. */
  readonly #ahead = new Map<ObjectKey, string>();
  #count = 0;
  #standIns = false;

  constructor(resourceCount: number, events: KindStoreEvents) {
    this.#events = events;
    this.#resources = Array.from({ length: resourceCount }, () => ({
      objects: new Map(),
      faulty: new Map(),
      unseen: undefined,
      listed: false,
    }));
  }

  /** Objects in force. */
  get size(): number {
    return this.#count;
  }
  /** Every resource said all it has. */
  get listed(): boolean {
    return this.#resources.every((resource) => resource.listed);
  }
  /** Some of what is in force is from disk only. */
  get stale(): boolean {
    return this.#disk !== undefined;
  }

  get(key: ObjectKey): AnyObject | undefined {
    for (const { objects, faulty } of this.#resources) {
      const object = objects.get(key);
      if (object) return object;
      const fault = faulty.get(key);
      if (fault) return this.#standIns ? fault.standIn : undefined;
    }
    return this.#disk?.get(key);
  }

  /** In force, in no order. */
  *entries(): Generator<readonly [ObjectKey, AnyObject]> {
    const [first, ...others] = this.#resources;
    if (first) yield* first.objects;
    for (const { faulty } of this.#resources) {
      for (const key of faulty.keys()) {
        const object = this.get(key);
        if (isStandIn(object)) yield [key, object!];
      }
    }
    for (const source of [...others.map(({ objects }) => objects), this.#disk]) {
      for (const [key, object] of source ?? []) if (this.get(key) === object) yield [key, object];
    }
  }

  *faults(): Generator<readonly [ObjectKey, ObjectFault]> {
    for (const { faulty } of this.#resources) yield* faulty;
  }
  /** Whether the present version cannot be read, and nothing is in force for it. */
  lacks(key: ObjectKey): boolean {
    return this.#resources.some(({ faulty }) => faulty.has(key)) && this.get(key) === undefined;
  }
  /** Whether what is in force is no version of the object, for want of one that can be read. */
  standsIn(key: ObjectKey): boolean {
    return isStandIn(this.get(key));
  }

  listing(index: number): void {
    const resource = this.#resources[index]!;
    resource.unseen = new Set([...resource.objects.keys(), ...resource.faulty.keys()]);
  }

  put(index: number, key: ObjectKey, object: AnyObject, resourceVersion: string): void {
    const resource = this.#resources[index]!;
    resource.unseen?.delete(key);
    if (this.#isOlder(key, resourceVersion)) return;
    // Most events change what means nothing here: the object that everybody holds stays.
    const same = sameObject(resource.objects.get(key), object);
    if (same && resource.faulty.size === 0) return;
    const before = this.get(key);
    const mended = resource.faulty.delete(key);
    if (!same) resource.objects.set(key, object);
    this.#note(key, before);
    if (mended) this.#events.mended(key);
  }

  /** The API server holds a version that cannot be read. @returns false when that is known, for the same reasons. */
  putFaulty(index: number, key: ObjectKey, fault: ObjectFault): boolean {
    const before = this.get(key);
    const resource = this.#resources[index]!;
    resource.unseen?.delete(key);
    const known = resource.faulty.get(key);
    if (known && sameObject(known.faults, fault.faults)) return false;
    resource.faulty.set(key, fault);
    const kept = resource.objects.get(key) ?? good(this.#disk?.get(key));
    if (kept) resource.objects.set(key, kept);
    this.#note(key, before);
    return true;
  }

  remove(index: number, key: ObjectKey, resourceVersion: string): void {
    if (this.#isOlder(key, resourceVersion)) return;
    this.#remove(this.#resources[index]!, key);
    const onDisk = this.#disk?.get(key);
    if (!onDisk) return;
    const before = this.get(key);
    this.#disk?.delete(key);
    this.#note(key, before);
  }

  /** The list is complete: what it did not name is gone. */
  seenAll(index: number, resourceVersion: string, options: { readonly keepUnseen?: boolean } = {}): void {
    const resource = this.#resources[index]!;
    for (const key of options.keepUnseen ? [] : (resource.unseen ?? [])) {
      const ahead = this.#ahead.get(key);
      if (ahead === undefined || compareResourceVersions(ahead, resourceVersion) <= 0) this.#remove(resource, key);
    }
    resource.unseen = undefined;
    resource.listed = true;
    this.moved(resourceVersion);
    if (this.listed) this.leaveDisk();
  }

  /** The watch is at `resourceVersion`: what was asked for by name before is no longer ahead of it. */
  moved(resourceVersion: string): void {
    if (this.#ahead.size === 0) return;
    for (const [key, version] of this.#ahead) {
      if (compareResourceVersions(version, resourceVersion) <= 0) this.#ahead.delete(key);
    }
  }

  /** Everything that is known by other means than a list is there. */
  complete(): void {
    for (const resource of this.#resources) resource.listed = true;
    this.leaveDisk();
  }

  absent(index: number): void {
    this.listing(index);
    this.seenAll(index, '0');
  }

  /** Asked for by name, and newer than anything the watch told so far. */
  putAhead(key: ObjectKey, object: AnyObject, resourceVersion: string): void {
    this.put(0, key, object, resourceVersion);
    this.#ahead.set(key, resourceVersion);
  }

  /** For objects that cannot be read. */
  useGoodVersions(objects: ReadonlyMap<ObjectKey, AnyObject>): void {
    for (const { objects: known, faulty } of this.#resources) {
      for (const key of faulty.keys()) {
        const kept = good(objects.get(key));
        if (known.has(key) || !kept) continue;
        const before = this.get(key);
        known.set(key, kept);
        this.#note(key, before);
      }
    }
  }

  /** There is no good version to be had from anywhere but the API server, now and later. */
  useStandIns(): void {
    if (this.#standIns) return;
    const keys = this.#resources.flatMap(({ faulty }) => [...faulty.keys()]);
    const before = keys.map((key) => this.get(key));
    this.#standIns = true;
    for (const [index, key] of keys.entries()) this.#note(key, before[index]);
  }

  /** From here on `addFromDisk` counts, until the API server has told everything. */
  beginDisk(): void {
    if (!this.listed) this.#disk = new Map();
  }

  addFromDisk(key: ObjectKey, object: AnyObject): void {
    if (!this.#disk) return;
    const before = this.get(key);
    this.#disk.set(key, object);
    for (const { objects, faulty } of this.#resources) {
      if (faulty.has(key) && !objects.has(key) && good(object)) objects.set(key, object);
    }
    this.#note(key, before);
  }

  /** What came from disk goes, unless the API server named it. */
  leaveDisk(): void {
    const disk = this.#disk;
    this.#disk = undefined;
    for (const [key, object] of disk ?? []) {
      const named = this.#resources.some(({ objects, faulty }) => objects.has(key) || faulty.has(key));
      if (!named) this.#note(key, object);
    }
  }

  #isOlder(key: ObjectKey, resourceVersion: string): boolean {
    const ahead = this.#ahead.size === 0 ? undefined : this.#ahead.get(key);
    return ahead !== undefined && compareResourceVersions(resourceVersion, ahead) < 0;
  }

  #remove(resource: ResourceStore, key: ObjectKey): void {
    const before = this.get(key);
    resource.unseen?.delete(key);
    const mended = resource.faulty.delete(key);
    resource.objects.delete(key);
    this.#note(key, before);
    if (mended) this.#events.mended(key);
  }

  #note(key: ObjectKey, before: AnyObject | undefined): void {
    const after = this.get(key);
    if (before === after) return;
    this.#count += (after ? 1 : 0) - (before ? 1 : 0);
    this.#events.changed(key, before);
  }
}
