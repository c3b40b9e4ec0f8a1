/**
 * Which subscribed pod selectors match which pods, kept incrementally in both directions of change.
 *
 *     pod relabelled    -> label index -> expressions that may flip -> their subscriptions in the pod's namespace
 *     namespace relabelled -> scopes that flipped (Namespaces) -> subscriptions of that scope x pods of that namespace
 *     selector added    -> pods of its namespaces, or pods filed under a label it needs, whichever are fewer, some a step
 *
 * A selector counts for every change from the moment it is subscribed, while the pods that are there already are still being walked: a pod
 * is told of once, by whichever comes first. What goes meanwhile is passed over.
 *
 * A label expression that many namespaces use (`app == 'web'`) is filed and evaluated once.
 */
import { unreachable } from '#kit';
import type { Labels, Selector } from '#model';
import { type Few, fewHas, fewValues, fewWith, fewWithout, MultiMap } from '../few.ts';
import type { NamespaceScope, PodSelector } from '../rules/sets.ts';
import { LabelIndex, requirementOf } from '../selector/label-index.ts';
import { LabelledItems, type Walk } from './labelled-items.ts';
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
  readonly byPlace: MultiMap<Place, Subscription<O>>;
  /** Those of the places that are scopes. */
  scopes: Few<ScopeEntry>;
}

/** Candidates of a new selector that are looked at in one step. */
const walkedPerStep = 64;

/** What counts of a pod here; whoever made it may keep more in it. */
export interface MatchedPod {
  readonly key: string;
  readonly namespace: string;
  readonly labels: Labels;
}

interface Item<O, P> {
  pod: P;
  /** Nothing of most pods of a cluster, one or a few of most others. */
  matches: Few<Subscription<O>>;
}

export interface MatchListener<O, P> {
  matched(owner: O, pod: P): void;
  unmatched(owner: O, pod: P): void;
}

export class PodMatcher<O, P extends MatchedPod> {
  readonly #items = new Map<string, Item<O, P>>();
  readonly #byNamespace = new MultiMap<string, Item<O, P>>();
  readonly #filed = new LabelledItems<Item<O, P>>((item) => item.pod.labels);
  readonly #expressions = new Map<string, Expression<O>>();
  readonly #index = new LabelIndex<Expression<O>>();
  /** Subscriptions by scope, and by place those that match a pod without labels. */
  readonly #byScope = new MultiMap<ScopeEntry, Subscription<O>>();
  readonly #unlabelled = new MultiMap<Place, Subscription<O>>();
  /** Where the walk of each new subscription is. */
  readonly #walks = new Map<Subscription<O>, Iterator<Item<O, P>>>();
  readonly #namespaces: Namespaces;
  readonly #listener: MatchListener<O, P>;
  readonly #work: Work;

  constructor(namespaces: Namespaces, listener: MatchListener<O, P>, work: Work) {
    this.#namespaces = namespaces;
    this.#listener = listener;
    this.#work = work;
    namespaces.onChange((scope, namespace, matches) => this.#scopeChanged(scope, namespace, matches));
  }

  /** Adds a pod or changes it. Its namespace must be known to `Namespaces`. */
  setPod(pod: P): void {
    const { key, namespace, labels } = pod;
    let item = this.#items.get(key);
    const before = item?.pod.labels ?? {};
    if (item) {
      item.pod = pod;
    } else {
      item = { pod, matches: undefined };
      this.#items.set(key, item);
      this.#byNamespace.add(namespace, item);
      for (const subscription of this.#unlabelled.of(namespace)) this.#set(subscription, item, true);
      for (const scope of this.#namespaces.scopesOf(namespace)) {
        for (const subscription of this.#unlabelled.of(scope)) this.#set(subscription, item, true);
      }
    }
    if (before === labels) return;
    this.#filed.update(item, before, labels);
    for (const expression of this.#index.affected(before, labels)) {
      const matches = this.#evaluate(expression, item);
      for (const subscription of subscriptionsIn(expression, namespace)) this.#set(subscription, item, matches);
    }
  }

  removePod(key: string): void {
    const item = this.#items.get(key);
    if (!item) return;
    for (const subscription of [...fewValues(item.matches)]) this.#set(subscription, item, false);
    this.#filed.update(item, item.pod.labels, {});
    this.#items.delete(key);
    this.#byNamespace.remove(item.pod.namespace, item);
  }

  has(key: string): boolean {
    return this.#items.has(key);
  }

  /** The pod as it was last set. */
  pod(key: string): P | undefined {
    return this.#items.get(key)?.pod;
  }

  *pods(): Generator<P> {
    for (const { pod } of this.#items.values()) yield pod;
  }

  *ownersMatching(key: string): Generator<O> {
    for (const subscription of fewValues(this.#items.get(key)?.matches)) yield subscription.owner;
  }

  /** Reports every pod that matches now through the listener, as `settleOne` comes to it, and from now on every change. */
  subscribe(owner: O, selector: PodSelector): Subscription<O> {
    const place = this.#placeOf(selector.scope);
    const expression = this.#ensureExpression(selector.pods);
    const subscription: Subscription<O> = { owner, place, expression };
    expression.byPlace.add(place, subscription);
    if (typeof place !== 'string') {
      expression.scopes = fewWith(expression.scopes, place);
      this.#byScope.add(place, subscription);
    }
    if (expression.matchesUnlabelled) this.#unlabelled.add(place, subscription);
    this.#walks.set(subscription, this.#candidates(subscription));
    return subscription;
  }

  /** Looks at some of the pods that were there before a subscription; false when all are done. */
  settleOne(): boolean {
    for (const [subscription, walk] of this.#walks) {
      if (!this.#walkOn(subscription, walk)) this.#walks.delete(subscription);
      return true;
    }
    return false;
  }

  /** Forgets the subscription; the listener hears nothing. */
  unsubscribe(subscription: Subscription<O>): void {
    const { place, expression } = subscription;
    this.#walks.delete(subscription);
    for (const item of this.#candidates(subscription)) item.matches = fewWithout(item.matches, subscription);
    expression.byPlace.remove(place, subscription);
    this.#unlabelled.remove(place, subscription);
    if (expression.byPlace.size === 0) {
      this.#expressions.delete(expression.selector.canonical);
      this.#index.remove(expression.selector.node, expression);
    }
    if (typeof place === 'string') return;
    if (!expression.byPlace.has(place)) expression.scopes = fewWithout(expression.scopes, place);
    this.#byScope.remove(place, subscription);
    this.#namespaces.release(place);
  }

  #walkOn(subscription: Subscription<O>, walk: Iterator<Item<O, P>>): boolean {
    const { place, expression } = subscription;
    for (let i = 0; i < walkedPerStep; i++) {
      const { value: item, done } = walk.next();
      if (done) return false;
      if (this.#items.get(item.pod.key) !== item || !inPlace(place, item.pod.namespace)) continue;
      if (this.#evaluate(expression, item)) this.#set(subscription, item, true);
    }
    return true;
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
      byPlace: new MultiMap(),
      scopes: undefined,
    };
    this.#expressions.set(selector.canonical, expression);
    this.#index.add(selector.node, expression);
    return expression;
  }

  #candidates({ place, expression }: Subscription<O>): Generator<Item<O, P>> {
    const walk = typeof place === 'string' ? this.#walkOne(place) : this.#walkAll(place.namespaces);
    return this.#filed.candidates(requirementOf(expression.selector.node), walk, () => this.#items.values());
  }

  #walkOne(namespace: string): Walk<Item<O, P>> {
    const size = (): number => this.#byNamespace.count(namespace);
    return { items: () => this.#byNamespace.of(namespace), size, least: size };
  }

  #walkAll(namespaces: ReadonlySet<string>): Walk<Item<O, P>> {
    return {
      items: () => flatten(namespaces, (name) => this.#byNamespace.of(name)),
      size: () => {
        let size = 0;
        for (const name of namespaces) size += this.#byNamespace.count(name);
        return size;
      },
      least: () => namespaces.size,
    };
  }

  #scopeChanged(scope: ScopeEntry, namespace: string, matches: boolean): void {
    for (const subscription of this.#byScope.of(scope)) {
      for (const item of this.#byNamespace.of(namespace)) {
        this.#set(subscription, item, matches && this.#evaluate(subscription.expression, item));
      }
    }
  }

  #evaluate(expression: Expression<O>, item: Item<O, P>): boolean {
    this.#work.evaluations++;
    return expression.selector.matches(item.pod.labels);
  }

  #set(subscription: Subscription<O>, item: Item<O, P>, matches: boolean): void {
    if (fewHas(item.matches, subscription) === matches) return;
    if (matches) {
      item.matches = fewWith(item.matches, subscription);
      this.#listener.matched(subscription.owner, item.pod);
    } else {
      item.matches = fewWithout(item.matches, subscription);
      this.#listener.unmatched(subscription.owner, item.pod);
    }
  }
}

function inPlace(place: Place, namespace: string): boolean {
  return typeof place === 'string' ? place === namespace : place.namespaces.has(namespace);
}

function* subscriptionsIn<O>(expression: Expression<O>, namespace: string): Generator<Subscription<O>> {
  yield* expression.byPlace.of(namespace);
  for (const scope of fewValues(expression.scopes)) {
    if (scope.namespaces.has(namespace)) yield* expression.byPlace.of(scope);
  }
}

function* flatten<K, T>(keys: Iterable<K>, valuesOf: (key: K) => Iterable<T>): Generator<T> {
  for (const key of keys) yield* valuesOf(key);
}
