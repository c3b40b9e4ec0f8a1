/**
 * Which subjects of policies select which local endpoints. Policies with equal subjects (those that are about every pod of their
 * namespace, say) share one, so that ten thousand of them cost an endpoint that comes what one does.
 */
import type { EndpointId } from '#model';
import { type Few, fewSize, fewWith, fewWithout } from '../few.ts';
import { type PodSelector, podSelectorText } from '../rules/sets.ts';
import type { Namespaces } from './namespaces.ts';
import { PodMatcher, type Subscription } from './pod-matcher.ts';
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
}

/** `endpoint` came to the subject or left it; `woke`: it was the first to come, or the last to leave. */
export type SubjectListener<P> = (subject: Subject<P>, endpoint: EndpointId, woke: boolean) => void;

export class Subjects<P> {
  readonly #byText = new Map<string, SubscribedSubject<P>>();
  readonly #matcher: PodMatcher<SubscribedSubject<P>, EffectivePod>;
  #lastNumber = 0;

  constructor(namespaces: Namespaces, changed: SubjectListener<P>, work: Work) {
    this.#matcher = new PodMatcher(
      namespaces,
      {
        matched: (subject, { key }) => {
          subject.endpoints = fewWith(subject.endpoints, key);
          changed(subject, key, fewSize(subject.endpoints) === 1);
        },
        unmatched: (subject, { key }) => {
          subject.endpoints = fewWithout(subject.endpoints, key);
          changed(subject, key, subject.endpoints === undefined);
        },
      },
      work,
    );
  }

  setEndpoint(pod: EffectivePod): void {
    this.#matcher.setPod(pod);
  }
  removeEndpoint(id: EndpointId): void {
    this.#matcher.removePod(id);
  }
  has(id: EndpointId): boolean {
    return this.#matcher.has(id);
  }
  of(id: EndpointId): Iterable<Subject<P>> {
    return this.#matcher.ownersMatching(id);
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
    };
    this.#byText.set(text, subject);
    subject.subscription = this.#matcher.subscribe(subject, selector);
    // Of this node's pods alone, which are few.
    while (this.#matcher.settleOne());
    return subject;
  }

  /** The subject goes with its last policy; its endpoints then hear nothing. */
  leave(policy: P, { text }: Subject<P>): void {
    const subject = this.#byText.get(text)!;
    subject.policies = fewWithout(subject.policies, policy);
    if (subject.policies !== undefined) return;
    this.#byText.delete(text);
    this.#matcher.unsubscribe(subject.subscription!);
  }
}
