/**
 * Which selectors can change their mind when labels change, without asking all of them.
 *
 * A selector's verdict is a function of its atoms (`k == v`, `has(k)`, a text test on k). Each selector is filed under all of
 * its atoms; a change of label k from v to w then concerns those filed under k=v, k=w, under "any value of k", and, when
 * the label comes or goes, under the presence of k. Nothing else can flip.
 */
import { type Labels, labelValue, type SelectorNode } from '#model';

interface KeyEntry<T> {
  /** Selectors that test equality, by value. */
  readonly byValue: Map<string, Set<T>>;
  readonly presence: Set<T>;
  readonly anyValue: Set<T>;
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
        entry = { byValue: new Map(), presence: new Set(), anyValue: new Set() };
        this.#keys.set(atom.key, entry);
      }
      if (atom.kind !== 'value') {
        entry[atom.kind].add(owner);
        continue;
      }
      const owners = entry.byValue.get(atom.value);
      if (owners) owners.add(owner);
      else entry.byValue.set(atom.value, new Set([owner]));
    }
  }

  remove(node: SelectorNode, owner: T): void {
    for (const atom of atomsOf(node)) {
      const entry = this.#keys.get(atom.key);
      if (!entry) continue;
      if (atom.kind === 'value') {
        const owners = entry.byValue.get(atom.value);
        owners?.delete(owner);
        if (owners?.size === 0) entry.byValue.delete(atom.value);
      } else {
        entry[atom.kind].delete(owner);
      }
      if (entry.byValue.size + entry.presence.size + entry.anyValue.size === 0) this.#keys.delete(atom.key);
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
      if (value !== undefined) for (const owner of entry.byValue.get(value) ?? []) found.add(owner);
    }
    for (const owner of entry.anyValue) found.add(owner);
    if (before === undefined || after === undefined) for (const owner of entry.presence) found.add(owner);
  }
}
