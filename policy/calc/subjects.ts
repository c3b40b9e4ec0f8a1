/**
 * Which subjects of policies select which local endpoints. Policies with equal subjects (those that are about every pod of their
 * namespace, say) share one, so that ten thousand of them cost an endpoint that comes what one does.
 */
import type { EndpointId } from '#model';
import { type Few, fewSize, fewWith, fewWithout } from '../few.ts';
import { type PodSelector, podSelectorText } from '../rules/sets.ts';
import { InheritedMatcher, type Profiles } from './inherited-matcher.ts';
import type { Namespaces } from './namespaces.ts';
import { type MatchListener, PodMatcher, type Subscription } from './pod-matcher.ts';
import type { EffectivePod } from './pods.ts';
import type { Work } from './work.ts';

export interface Subject<P> {
  /** Different for each that is there. */
  readonly number: number;
  readonly text: string;
  policies: Few<P>;
  endpoints: Few<EndpointId>;
}

interface SubscribedSubject<P> extends Subject<P> {
  subscription: Subscription<SubscribedSubject<P>> | undefined;
  /** It is one of Calico's. */
  readonly inherited: boolean;
}

/** `endpoint` came to the subject or left it; `woke`: it was the first to come, or the last to leave. */
export type SubjectListener<P> = (subject: Subject<P>, endpoint: EndpointId, woke: boolean) => void;

export class Subjects<P> {
  readonly #byText = new Map<string, SubscribedSubject<P>>();
  readonly #matcher: PodMatcher<SubscribedSubject<P>, EffectivePod>;
  readonly #inherited: InheritedMatcher<SubscribedSubject<P>>;
  readonly #hosts = new Set<EndpointId>();
  #lastNumber = 0;

  constructor(namespaces: Namespaces, profiles: Profiles, changed: SubjectListener<P>, work: Work) {
    const listener: MatchListener<SubscribedSubject<P>, EffectivePod> = {
      matched: (subject, { key }) => {
        subject.endpoints = fewWith(subject.endpoints, key);
        changed(subject, key, fewSize(subject.endpoints) === 1);
      },
      unmatched: (subject, { key }) => {
        subject.endpoints = fewWithout(subject.endpoints, key);
        changed(subject, key, subject.endpoints === undefined);
      },
    };
    this.#matcher = new PodMatcher(namespaces, listener, work);
    this.#inherited = new InheritedMatcher(namespaces, profiles, listener, work);
  }

  setEndpoint(pod: EffectivePod): void {
    // Only Calico's selectors know of host endpoints.
    if (pod.host) this.#hosts.add(pod.key);
    else this.#matcher.setPod(pod);
    this.#inherited.set(pod);
  }
  removeEndpoint(id: EndpointId): void {
    this.#hosts.delete(id);
    this.#matcher.removePod(id);
    this.#inherited.remove(id);
  }
  namespaceChanged(name: string): void {
    this.#inherited.namespaceChanged(name);
  }
  serviceAccountChanged(key: string): void {
    this.#inherited.serviceAccountChanged(key);
  }
  has(id: EndpointId): boolean {
    return this.#matcher.has(id) || this.#hosts.has(id);
  }
  *of(id: EndpointId): Generator<Subject<P>> {
    if (!this.#hosts.has(id)) yield* this.#matcher.ownersMatching(id);
    yield* this.#inherited.ownersMatching(id);
  }

  join(policy: P, selector: PodSelector): Subject<P> {
    const text = podSelectorText(selector);
    const known = this.#byText.get(text);
    if (known) {
      known.policies = fewWith(known.policies, policy);
      return known;
    }
    const number = ++this.#lastNumber;
    const subject: SubscribedSubject<P> = {
      number,
      text,
      policies: policy,
      endpoints: undefined,
      subscription: undefined,
      inherited: selector.scope.type === 'inherited',
    };
    this.#byText.set(text, subject);
    subject.subscription = subject.inherited
      ? this.#inherited.subscribe(subject, selector.pods)
      : this.#matcher.subscribe(subject, selector);
    // Of this node's pods alone, which are few.
    while (this.#matcher.settleOne() || this.#inherited.settleOne());
    return subject;
  }

  /** The subject goes with its last policy; its endpoints then hear nothing. */
  leave(policy: P, { text }: Subject<P>): void {
    const subject = this.#byText.get(text)!;
    subject.policies = fewWithout(subject.policies, policy);
    if (subject.policies !== undefined) return;
    this.#byText.delete(text);
    (subject.inherited ? this.#inherited : this.#matcher).unsubscribe(subject.subscription!);
  }
}
