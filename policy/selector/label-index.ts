/**
 * Which selectors can change their mind when labels change, without asking all of them.
 *
 * A selector's verdict is a function of its atoms (`k == v`, `has(k)`, a text test on k). Each selector is filed under all of
 * its atoms; a change of label k from v to w then concerns those filed under k=v, k=w, under "any value of k", and, when
 * the label comes or goes, under the presence of k. Nothing else can flip.
 */
import { type Labels, labelValue, type SelectorNode } from '#model';
import { type Few, fewValues, fewWith, fewWithout, MultiMap } from '../few.ts';

interface KeyEntry<T> {
  /** Selectors that test equality, by value. */
  byValue: MultiMap<string, T> | undefined;
  presence: Few<T>;
  anyValue: Few<T>;
}

type Atom =
  | { readonly key: string; readonly kind: 'value'; readonly value: string }
  | { readonly key: string; readonly kind: 'presence' | 'anyValue' };

function* atomsOf(node: SelectorNode): Generator<Atom> {
  switch (node.op) {
    case 'all':
    case 'none':
      return;
    case 'has':
      yield { key: node.key, kind: 'presence' };
      return;
    case 'in':
      for (const value of node.values) yield { key: node.key, kind: 'value', value };
      return;
    case 'contains':
    case 'startsWith':
    case 'endsWith':
      yield { key: node.key, kind: 'anyValue' };
      return;
    case 'not':
      yield* atomsOf(node.node);
      return;
    case 'and':
    case 'or':
      for (const term of node.nodes) yield* atomsOf(term);
      return;
  }
}

/** The labels that the selector's verdict depends on. */
export function keysOf(node: SelectorNode): Set<string> {
  return new Set([...atomsOf(node)].map(({ key }) => key));
}

/** A label that every match must carry, with the values it may have (absent: any). */
export interface Requirement {
  readonly key: string;
  readonly values?: readonly string[];
}

/** A necessary condition of the selector to search by, or undefined when it has none (it may match objects without labels). */
export function requirementOf(node: SelectorNode): Requirement | undefined {
  switch (node.op) {
    case 'in':
      return { key: node.key, values: node.values };
    case 'has':
    case 'contains':
    case 'startsWith':
    case 'endsWith':
      return { key: node.key };
    case 'and': {
      const found = node.nodes.map(requirementOf).filter((term) => term !== undefined);
      return found.sort((a, b) => (a.values?.length ?? 1e9) - (b.values?.length ?? 1e9))[0];
    }
    default:
      return undefined;
  }
}

export class LabelIndex<T> {
  readonly #keys = new Map<string, KeyEntry<T>>();

  add(node: SelectorNode, owner: T): void {
    for (const atom of atomsOf(node)) {
      let entry = this.#keys.get(atom.key);
      if (!entry) {
        entry = { byValue: undefined, presence: undefined, anyValue: undefined };
        this.#keys.set(atom.key, entry);
      }
      if (atom.kind === 'value') {
        entry.byValue ??= new MultiMap();
        entry.byValue.add(atom.value, owner);
      } else {
        entry[atom.kind] = fewWith(entry[atom.kind], owner);
      }
    }
  }

  remove(node: SelectorNode, owner: T): void {
    for (const atom of atomsOf(node)) {
      const entry = this.#keys.get(atom.key);
      if (!entry) continue;
      if (atom.kind === 'value') {
        entry.byValue?.remove(atom.value, owner);
        if (entry.byValue?.size === 0) entry.byValue = undefined;
      } else {
        entry[atom.kind] = fewWithout(entry[atom.kind], owner);
      }
      if (!entry.byValue && !entry.presence && !entry.anyValue) this.#keys.delete(atom.key);
    }
  }

  /** Every selector whose verdict may differ between the two label sets. */
  affected(before: Labels, after: Labels): Set<T> {
    const found = new Set<T>();
    for (const key of Object.keys(before)) this.#change(found, key, before[key], labelValue(after, key));
    for (const key of Object.keys(after)) {
      if (!Object.hasOwn(before, key)) this.#change(found, key, undefined, after[key]);
    }
    return found;
  }

  #change(found: Set<T>, key: string, before: string | undefined, after: string | undefined): void {
    if (before === after) return;
    const entry = this.#keys.get(key);
    if (!entry) return;
    for (const value of [before, after]) {
      if (value !== undefined && entry.byValue) for (const owner of entry.byValue.of(value)) found.add(owner);
    }
    for (const owner of fewValues(entry.anyValue)) found.add(owner);
    if (before === undefined || after === undefined) for (const owner of fewValues(entry.presence)) found.add(owner);
  }
}
