/**
 * Finds the objects that a new selector may match without walking all of them.
 *
 * Objects are filed by the value of a label only for those keys that selectors asked for: the first question about a key files
 * every object once, after that it is kept up. Labels that no selector mentions (most of them) cost nothing.
 */
import { type Labels, labelValue } from '#model';
import { MultiMap } from '../few.ts';
import type { Requirement } from '../selector/label-index.ts';

/** Below this many objects a plain walk is cheaper than filing them. */
const walkItemsMax = 64;

/** All objects that count for a question, asked for when the walk begins: there may be more of them then. */
export interface Walk<T> {
  readonly items: () => Iterable<T>;
  /** What walking them costs, in objects; `least` says so at once, and never too much. */
  readonly size: () => number;
  readonly least: () => number;
}

export class LabelledItems<T> {
  readonly #byKey = new Map<string, MultiMap<string, T>>();
  readonly #labelsOf: (item: T) => Labels;

  constructor(labelsOf: (item: T) => Labels) {
    this.#labelsOf = labelsOf;
  }

  /** The labels of `item` change; `{}` stands for an object that is not there. */
  update(item: T, before: Labels, after: Labels): void {
    if (this.#byKey.size === 0) return;
    for (const key of Object.keys(before)) {
      if (before[key] !== labelValue(after, key)) this.#byKey.get(key)?.remove(before[key]!, item);
    }
    for (const key of Object.keys(after)) {
      if (after[key] !== labelValue(before, key)) this.#byKey.get(key)?.add(after[key]!, item);
    }
  }

  /**
   * A superset of the objects of `walk` that meet `requirement`: all of them, or those of all objects that are filed under the required
   * label, whichever are fewer. `everything` is what to file when nobody has asked for that label before.
   *
   * May be walked slowly: an object that changes meanwhile comes, unless it ceased to meet the requirement, began to, or its values that the
   * requirement names changed. One that is gone may come too.
   */
  *candidates(requirement: Requirement | undefined, walk: Walk<T>, everything: () => Iterable<T>): Generator<T> {
    if (!requirement || (walk.least() <= walkItemsMax && walk.size() <= walkItemsMax)) {
      yield* walk.items();
      return;
    }
    const byValue = this.#fileBy(requirement.key, everything());
    const values = requirement.values ?? [...byValue.keys()];
    let size = 0;
    for (const value of values) size += byValue.count(value);
    if (size > walk.least() && size >= walk.size()) yield* walk.items();
    else if (requirement.values) for (const value of values) yield* byValue.of(value);
    // A copy, because an object may get another value meanwhile, one that was walked, and still meet the requirement.
    else yield* values.flatMap((value) => [...byValue.of(value)]);
  }

  #fileBy(key: string, everything: Iterable<T>): MultiMap<string, T> {
    const known = this.#byKey.get(key);
    if (known) return known;
    const byValue = new MultiMap<string, T>();
    this.#byKey.set(key, byValue);
    for (const item of everything) {
      const value = labelValue(this.#labelsOf(item), key);
      if (value !== undefined) byValue.add(value, item);
    }
    return byValue;
  }
}
