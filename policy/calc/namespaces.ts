/**
 * Namespaces and the namespace selectors in use: who matches whom, kept as either side changes.
 *
 * A namespace is here while its object exists or a pod in it does; one without an object has the default label only. The label
 * `kubernetes.io/metadata.name` always holds the name, as the API server enforces.
 */
import type { Labels, Selector } from '#model';
import { type Few, fewHas, fewValues, fewWith, fewWithout } from '../few.ts';
import { LabelIndex, requirementOf } from '../selector/label-index.ts';
import { LabelledItems } from './labelled-items.ts';
import type { Work } from './work.ts';

/** A namespace selector in use, with the namespaces it matches. */
export interface ScopeEntry {
  readonly selector: Selector;
  readonly namespaces: Set<string>;
  users: number;
}

export interface NamespaceEntry {
  readonly name: string;
  labels: Labels;
  scopes: Few<ScopeEntry>;
  hasObject: boolean;
  pods: number;
}

/** `namespace` began to match (or, with `matches` false, ceased to). */
export type ScopeListener = (scope: ScopeEntry, namespace: string, matches: boolean) => void;

const defaultLabel = 'kubernetes.io/metadata.name';

export class Namespaces {
  readonly #entries = new Map<string, NamespaceEntry>();
  readonly #scopes = new Map<string, ScopeEntry>();
  readonly #index = new LabelIndex<ScopeEntry>();
  /** Scopes that match a namespace without labels. */
  readonly #unlabelled = new Set<ScopeEntry>();
  readonly #items = new LabelledItems<NamespaceEntry>((entry) => entry.labels);
  readonly #listeners: ScopeListener[] = [];
  readonly #work: Work;

  constructor(work: Work) {
    this.#work = work;
  }

  onChange(listener: ScopeListener): void {
    this.#listeners.push(listener);
  }

  /** Sets the object's labels; undefined when the object is gone. */
  setObject(name: string, labels: Labels | undefined): void {
    const entry = this.#ensure(name);
    entry.hasObject = labels !== undefined;
    this.#relabel(entry, labels?.[defaultLabel] === name ? labels : { ...labels, [defaultLabel]: name });
    this.#dropIfUnused(entry);
  }

  addPod(name: string): void {
    this.#ensure(name).pods++;
  }

  removePod(name: string): void {
    const entry = this.#entries.get(name);
    if (!entry) return;
    entry.pods--;
    this.#dropIfUnused(entry);
  }

  /** With the default label, whether or not its object is known. */
  labelsOf(name: string): Labels {
    return this.#entries.get(name)?.labels ?? { [defaultLabel]: name };
  }

  /** The scopes in use that match the namespace. */
  scopesOf(name: string): Iterable<ScopeEntry> {
    return fewValues(this.#entries.get(name)?.scopes);
  }

  acquire(selector: Selector): ScopeEntry {
    const known = this.#scopes.get(selector.canonical);
    if (known) {
      known.users++;
      return known;
    }
    const scope: ScopeEntry = { selector, namespaces: new Set(), users: 1 };
    this.#scopes.set(selector.canonical, scope);
    this.#index.add(selector.node, scope);
    if (selector.matches({})) this.#unlabelled.add(scope);
    const everything = (): Iterable<NamespaceEntry> => this.#entries.values();
    const size = (): number => this.#entries.size;
    const walk = { items: everything, size, least: size };
    for (const entry of this.#items.candidates(requirementOf(selector.node), walk, everything)) {
      this.#work.evaluations++;
      if (!selector.matches(entry.labels)) continue;
      this.#join(scope, entry);
    }
    return scope;
  }

  release(scope: ScopeEntry): void {
    if (--scope.users > 0) return;
    this.#scopes.delete(scope.selector.canonical);
    this.#index.remove(scope.selector.node, scope);
    this.#unlabelled.delete(scope);
    for (const name of scope.namespaces) {
      const entry = this.#entries.get(name)!;
      entry.scopes = fewWithout(entry.scopes, scope);
    }
  }

  #ensure(name: string): NamespaceEntry {
    const known = this.#entries.get(name);
    if (known) return known;
    const entry: NamespaceEntry = { name, labels: {}, scopes: undefined, hasObject: false, pods: 0 };
    this.#entries.set(name, entry);
    // No pod is in it yet, so nobody needs to hear of these.
    for (const scope of this.#unlabelled) this.#match(scope, entry, true);
    this.#relabel(entry, { [defaultLabel]: name });
    return entry;
  }

  #dropIfUnused(entry: NamespaceEntry): void {
    if (entry.hasObject || entry.pods > 0) return;
    this.#items.update(entry, entry.labels, {});
    for (const scope of fewValues(entry.scopes)) scope.namespaces.delete(entry.name);
    this.#entries.delete(entry.name);
  }

  #relabel(entry: NamespaceEntry, labels: Labels): void {
    const before = entry.labels;
    entry.labels = labels;
    this.#items.update(entry, before, labels);
    for (const scope of this.#index.affected(before, labels)) {
      this.#work.evaluations++;
      this.#match(scope, entry, scope.selector.matches(labels));
    }
  }

  #match(scope: ScopeEntry, entry: NamespaceEntry, matches: boolean): void {
    if (fewHas(entry.scopes, scope) === matches) return;
    if (matches) this.#join(scope, entry);
    else {
      entry.scopes = fewWithout(entry.scopes, scope);
      scope.namespaces.delete(entry.name);
    }
    for (const listener of this.#listeners) listener(scope, entry.name, matches);
  }

  #join(scope: ScopeEntry, entry: NamespaceEntry): void {
    entry.scopes = fewWith(entry.scopes, scope);
    scope.namespaces.add(entry.name);
  }
}
