/**
 * Where services are served, for the sets that ask it. A slice that changes touches those of its own service alone; what was there before
 * a set asked comes slice by slice.
 */
import { type EndpointSliceObject, type ObjectKey, objectKey, type ServiceName, serviceKeyOf } from '#model';
import { MultiMap } from '../few.ts';
import type { Work } from './work.ts';

/** Somebody who wants to know a service's slices. Made by `subscribe`, given back to `unsubscribe`. */
export interface ServiceSubscription<O> {
  readonly owner: O;
  readonly service: ObjectKey;
  /** Keys of slices that it was not told of yet. */
  readonly untold: Set<ObjectKey>;
}

export interface SliceListener<O> {
  came(owner: O, slice: EndpointSliceObject): void;
  left(owner: O, slice: EndpointSliceObject): void;
}

export class ServiceEndpoints<O> {
  readonly #slices = new Map<ObjectKey, EndpointSliceObject>();
  readonly #byService = new MultiMap<ObjectKey, ObjectKey>();
  readonly #subscriptions = new MultiMap<ObjectKey, ServiceSubscription<O>>();
  /** Those that were not told of everything. */
  readonly #behind = new Set<ServiceSubscription<O>>();
  readonly #listener: SliceListener<O>;
  readonly #work: Work;

  constructor(listener: SliceListener<O>, work: Work) {
    this.#listener = listener;
    this.#work = work;
  }

  /** Undefined: it is gone. */
  set(key: ObjectKey, slice: EndpointSliceObject | undefined): void {
    const before = this.#slices.get(key);
    // It comes before it leaves: what stays never goes.
    if (slice) {
      this.#slices.set(key, slice);
      for (const { owner, untold } of this.#subscriptions.of(serviceKeyOf(slice))) {
        if (!untold.has(key)) this.#tell(owner, 'came', slice);
      }
    } else this.#slices.delete(key);
    if (before) this.#forget(key, before, slice && serviceKeyOf(slice));
    if (slice) this.#byService.add(serviceKeyOf(slice), key);
  }

  #forget(key: ObjectKey, before: EndpointSliceObject, service: ObjectKey | undefined): void {
    const earlier = serviceKeyOf(before);
    const moved = service !== earlier;
    for (const { owner, untold } of this.#subscriptions.of(earlier)) {
      if (!untold.has(key)) this.#tell(owner, 'left', before);
      else if (moved) untold.delete(key);
    }
    if (moved) this.#byService.remove(earlier, key);
  }

  /** The listener hears of the slices that are there as `settleOne` comes to them, and from now on of every change. */
  subscribe(owner: O, service: ServiceName): ServiceSubscription<O> {
    const key = objectKey(service);
    const subscription = { owner, service: key, untold: new Set(this.#byService.of(key)) };
    this.#subscriptions.add(key, subscription);
    if (subscription.untold.size > 0) this.#behind.add(subscription);
    return subscription;
  }

  /** The listener hears nothing. */
  unsubscribe(subscription: ServiceSubscription<O>): void {
    this.#subscriptions.remove(subscription.service, subscription);
    this.#behind.delete(subscription);
  }

  /** Tells one of one slice that was there before; false when all were told of all. */
  settleOne(): boolean {
    for (const subscription of this.#behind) {
      const { owner, untold } = subscription;
      for (const key of untold) {
        untold.delete(key);
        this.#tell(owner, 'came', this.#slices.get(key)!);
        break;
      }
      if (untold.size === 0) this.#behind.delete(subscription);
      return true;
    }
    return false;
  }

  #tell(owner: O, what: 'came' | 'left', slice: EndpointSliceObject): void {
    this.#work.evaluations++;
    this.#listener[what](owner, slice);
  }
}
