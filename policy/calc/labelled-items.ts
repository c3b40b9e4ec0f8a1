/**
 * Finds the objects that a new selector may match without walking all of them.
 *
 * Objects are filed by the value of a label only for those keys that selectors asked for: the first question about a key files
 * every object once, after that it is kept up. Labels that no selector mentions (most of them) cost nothing.
 */
import { type Labels, labelValue } from '#model';
import type { Requirement } from '../selector/label-index.ts';

/** Below this many objects a plain walk is cheaper than filing them. */
const walkItemsMax = 64;

export class LabelledItems<T extends { readonly labels: Labels }> {
  readonly #byKey = new Map<string, Map<string, Set<T>>>();

  /** The labels of `item` change; `{}` stands for an object that is not there. */
  update(item: T, before: Labels, after: Labels): void {
    if (this.#byKey.size === 0) return;
    for (const key of Object.keys(before)) {
      if (before[key] !== labelValue(after, key)) this.#unfile(key, before[key]!, item);
    }
    for (const key of Object.keys(after)) {
      if (after[key] === labelValue(before, key)) continue;
      const byValue = this.#byKey.get(key);
      if (byValue) this.#file(byValue, after[key]!, item);
    }
  }

  /**
   * A superset of the objects that meet `requirement`: all of `walk` (`walkSize` objects), or those filed under the required
   * label, whichever are fewer. `everything` is what to file when nobody has asked for that label before.
   */
  *candidates(
    requirement: Requirement | undefined,
    walk: () => Iterable<T>,
    walkSize: number,
    everything: () => Iterable<T>,
  ): Generator<T> {
    if (!requirement || walkSize <= walkItemsMax) {
      yield* walk();
      return;
    }
    const byValue = this.#fileBy(requirement.key, everything());
    const filed = requirement.values ? requirement.values.map((value) => byValue.get(value)) : [...byValue.values()];
    let size = 0;
    for (const items of filed) size += items?.size ?? 0;
    if (size >= walkSize) yield* walk();
    else for (const items of filed) if (items) yield* items;
  }

  #fileBy(key: string, everything: Iterable<T>): Map<string, Set<T>> {
    const known = this.#byKey.get(key);
    if (known) return known;
    const byValue = new Map<string, Set<T>>();
    this.#byKey.set(key, byValue);
    for (const item of everything) {
      const value = labelValue(item.labels, key);
      if (value !== undefined) this.#file(byValue, value, item);
    }
    return byValue;
  }

  #unfile(key: string, value: string, item: T): void {
    const byValue = this.#byKey.get(key);
    const items = byValue?.get(value);
    items?.delete(item);
    if (items?.size === 0) byValue?.delete(value);
  }

  #file(byValue: Map<string, Set<T>>, value: string, item: T): void {
    const items = byValue.get(value);
    if (items) items.add(item);
    else byValue.set(value, new Set([item]));
  }
}
