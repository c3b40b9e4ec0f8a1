/**
 * Which subscribed pod selectors match which pods, kept incrementally in both directions of change.
 *
 *     pod relabelled    -> label index -> expressions that may flip -> their subscriptions in the pod's namespace
 *     namespace relabelled -> scopes that flipped (Namespaces) -> subscriptions of that scope x pods of that namespace
 *     selector added    -> pods of its namespaces, or pods filed under a label it needs, whichever are fewer
 *
 * A label expression that many namespaces use (`app == 'web'`) is filed and evaluated once.
 */
import { unreachable } from '#kit';
import type { Labels, Selector } from '#model';
import type { NamespaceScope, PodSelector } from '../rules/sets.ts';
import { LabelIndex, requirementOf } from '../selector/label-index.ts';
import { LabelledItems } from './labelled-items.ts';
import type { Namespaces, ScopeEntry } from './namespaces.ts';
import type { Work } from './work.ts';

/** A selector that somebody wants to know the pods of. Made by `subscribe`, given back to `unsubscribe`. */
export interface Subscription<O> {
  readonly owner: O;
  readonly place: Place;
  readonly expression: Expression<O>;
}

/** Where it looks: the name of one namespace, or the namespaces of a scope. */
type Place = string | ScopeEntry;

/** Where nodes stand, in no scope: no namespace is called so. Their keys are names, those of pods hold a slash. */
export const nodesPlace = '';

interface Expression<O> {
  readonly selector: Selector;
  readonly matchesUnlabelled: boolean;
  readonly byPlace: Map<Place, Set<Subscription<O>>>;
  /** How many of the places are scopes, to skip the search for them when there is none. */
  readonly scopes: Set<ScopeEntry>;
}

interface Item<O> {
  readonly key: string;
  readonly namespace: string;
  labels: Labels;
  /** Undefined while it matches nothing, as most pods of a cluster do. */
  matches: Set<Subscription<O>> | undefined;
}

export interface MatchListener<O> {
  matched(owner: O, podKey: string): void;
  unmatched(owner: O, podKey: string): void;
}

export class PodMatcher<O> {
  readonly #items = new Map<string, Item<O>>();
  readonly #byNamespace = new Map<string, Set<Item<O>>>();
  readonly #filed = new LabelledItems<Item<O>>();
  readonly #expressions = new Map<string, Expression<O>>();
  readonly #index = new LabelIndex<Expression<O>>();
  /** Subscriptions by scope, and by place those that match a pod without labels. */
  readonly #byScope = new Map<ScopeEntry, Set<Subscription<O>>>();
  readonly #unlabelled = new Map<Place, Set<Subscription<O>>>();
  readonly #namespaces: Namespaces;
  readonly #listener: MatchListener<O>;
  readonly #work: Work;

  constructor(namespaces: Namespaces, listener: MatchListener<O>, work: Work) {
    this.#namespaces = namespaces;
    this.#listener = listener;
    this.#work = work;
    namespaces.onChange((scope, namespace, matches) => this.#scopeChanged(scope, namespace, matches));
  }

  /** Adds a pod or changes its labels. Its namespace must be known to `Namespaces`. */
  setPod(key: string, namespace: string, labels: Labels): void {
    let item = this.#items.get(key);
    if (!item) {
      item = { key, namespace, labels: {}, matches: undefined };
      this.#items.set(key, item);
      addTo(this.#byNamespace, namespace, item);
      for (const subscription of this.#unlabelled.get(namespace) ?? []) this.#set(subscription, item, true);
      for (const scope of this.#namespaces.scopesOf(namespace)) {
        for (const subscription of this.#unlabelled.get(scope) ?? []) this.#set(subscription, item, true);
      }
    }
    const before = item.labels;
    item.labels = labels;
    this.#filed.update(item, before, labels);
    for (const expression of this.#index.affected(before, labels)) {
      const matches = this.#evaluate(expression, item);
      for (const subscription of subscriptionsIn(expression, namespace)) this.#set(subscription, item, matches);
    }
  }

  removePod(key: string): void {
    const item = this.#items.get(key);
    if (!item) return;
    for (const subscription of [...(item.matches ?? [])]) this.#set(subscription, item, false);
    this.#filed.update(item, item.labels, {});
    this.#items.delete(key);
    removeFrom(this.#byNamespace, item.namespace, item);
  }

  has(key: string): boolean {
    return this.#items.has(key);
  }

  *ownersMatching(key: string): Generator<O> {
    for (const subscription of this.#items.get(key)?.matches ?? []) yield subscription.owner;
  }

  /** Reports every pod that matches now through the listener, and from then on every change. */
  subscribe(owner: O, selector: PodSelector): Subscription<O> {
    const place = this.#placeOf(selector.scope);
    const expression = this.#ensureExpression(selector.pods);
    const subscription: Subscription<O> = { owner, place, expression };
    addTo(expression.byPlace, place, subscription);
    if (typeof place !== 'string') {
      expression.scopes.add(place);
      addTo(this.#byScope, place, subscription);
    }
    if (expression.matchesUnlabelled) addTo(this.#unlabelled, place, subscription);
    for (const item of this.#candidates(subscription)) {
      if (inPlace(place, item.namespace) && this.#evaluate(expression, item)) this.#set(subscription, item, true);
    }
    return subscription;
  }

  /** Forgets the subscription; the listener hears nothing. */
  unsubscribe(subscription: Subscription<O>): void {
    const { place, expression } = subscription;
    for (const item of this.#candidates(subscription)) item.matches?.delete(subscription);
    removeFrom(expression.byPlace, place, subscription);
    removeFrom(this.#unlabelled, place, subscription);
    if (expression.byPlace.size === 0) {
      this.#expressions.delete(expression.selector.canonical);
      this.#index.remove(expression.selector.node, expression);
    }
    if (typeof place === 'string') return;
    if (!expression.byPlace.has(place)) expression.scopes.delete(place);
    removeFrom(this.#byScope, place, subscription);
    this.#namespaces.release(place);
  }

  #placeOf(scope: NamespaceScope): Place {
    switch (scope.type) {
      case 'name':
        return scope.name;
      case 'selector':
        return this.#namespaces.acquire(scope.selector);
      case 'nodes':
      case 'inherited':
        return nodesPlace;
      default:
        return unreachable(scope);
    }
  }

  #ensureExpression(selector: Selector): Expression<O> {
    const known = this.#expressions.get(selector.canonical);
    if (known) return known;
    const expression: Expression<O> = {
      selector,
      matchesUnlabelled: selector.matches({}),
      byPlace: new Map(),
      scopes: new Set(),
    };
    this.#expressions.set(selector.canonical, expression);
    this.#index.add(selector.node, expression);
    return expression;
  }

  #candidates({ place, expression }: Subscription<O>): Generator<Item<O>> {
    const namespaces = typeof place === 'string' ? [place] : [...place.namespaces];
    const sets = namespaces.map((name) => this.#byNamespace.get(name)).filter((items) => items !== undefined);
    const size = sets.reduce((sum, items) => sum + items.size, 0);
    return this.#filed.candidates(
      requirementOf(expression.selector.node),
      () => flatten(sets),
      size,
      () => this.#items.values(),
    );
  }

  #scopeChanged(scope: ScopeEntry, namespace: string, matches: boolean): void {
    const subscriptions = this.#byScope.get(scope);
    const items = this.#byNamespace.get(namespace);
    if (!subscriptions || !items) return;
    for (const subscription of subscriptions) {
      for (const item of items) {
        this.#set(subscription, item, matches && this.#evaluate(subscription.expression, item));
      }
    }
  }

  #evaluate(expression: Expression<O>, item: Item<O>): boolean {
    this.#work.evaluations++;
    return expression.selector.matches(item.labels);
  }

  #set(subscription: Subscription<O>, item: Item<O>, matches: boolean): void {
    if ((item.matches?.has(subscription) ?? false) === matches) return;
    if (matches) {
      item.matches ??= new Set();
      item.matches.add(subscription);
      this.#listener.matched(subscription.owner, item.key);
    } else {
      item.matches?.delete(subscription);
      this.#listener.unmatched(subscription.owner, item.key);
    }
  }
}

function inPlace(place: Place, namespace: string): boolean {
  return typeof place === 'string' ? place === namespace : place.namespaces.has(namespace);
}

function* subscriptionsIn<O>(expression: Expression<O>, namespace: string): Generator<Subscription<O>> {
  yield* expression.byPlace.get(namespace) ?? [];
  for (const scope of expression.scopes) {
    if (scope.namespaces.has(namespace)) yield* expression.byPlace.get(scope) ?? [];
  }
}

function* flatten<T>(sets: readonly Iterable<T>[]): Generator<T> {
  for (const items of sets) yield* items;
}

function addTo<K, V>(map: Map<K, Set<V>>, key: K, value: V): void {
  const values = map.get(key);
  if (values) values.add(value);
  else map.set(key, new Set([value]));
}

function removeFrom<K, V>(map: Map<K, Set<V>>, key: K, value: V): void {
  const values = map.get(key);
  values?.delete(value);
  if (values?.size === 0) map.delete(key);
}
