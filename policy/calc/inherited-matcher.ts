/**
 * Which of Calico's selectors match which pods and network sets: a PodMatcher over labels as Calico sees them. Whoever stands in a namespace
 * has the labels of the namespace under `pcns.`, a pod those of its service account under `pcsa.`, and a few that say where it
 * stands. So a namespace selector is a selector as any other; relabelling a namespace costs what stands in it.
 *
 * Only those labels are inherited that a selector asks for: a pod of a cluster whose selectors look at its own labels keeps no others. The first selector
 * that asks for one more gives it to everybody, some a step.
 */
import { type Labels, labelValue, namespaceLabel, type Selector } from '#model';
import { MultiMap } from '../few.ts';
import { namespacePrefix, serviceAccountLabel, serviceAccountPrefix } from '../selector/inherited.ts';
import { keysOf } from '../selector/label-index.ts';
import type { Namespaces } from './namespaces.ts';
import { type MatchedPod, type MatchListener, PodMatcher, type Subscription } from './pod-matcher.ts';
import type { EffectivePod } from './pods.ts';
import type { Work } from './work.ts';

/** Labels of namespaces by name and of service accounts by key, as their objects have them. */
export interface Profiles {
  namespaceLabels(name: string): Labels;
  serviceAccountLabels(key: string): Labels;
}

/** All of them stand in one place: where they really stand is in their labels. */
const everywhere = '';
const orchestratorLabel = 'projectcalico.org/orchestrator';
const nameLabel = 'projectcalico.org/name';
/** A longer name is no value of a label. */
const labelValueCharsMax = 63;
const refreshedPerStep = 64;

/** With the labels that it has of its own and by where it stands. */
interface Heir extends MatchedPod {
  readonly item: EffectivePod;
}

export class InheritedMatcher<O> {
  readonly #byNamespace = new MultiMap<string, string>();
  /** Inherited labels that a selector asked for, now or before. */
  readonly #asked = new Set<string>();
  /** Where the walk is that gives everybody a label which was not asked for before. */
  #refreshed: Iterator<Heir> | undefined;
  readonly #matcher: PodMatcher<O, Heir>;
  readonly #profiles: Profiles;

  constructor(namespaces: Namespaces, profiles: Profiles, listener: MatchListener<O, EffectivePod>, work: Work) {
    this.#profiles = profiles;
    this.#matcher = new PodMatcher(
      namespaces,
      {
        matched: (owner, { item }) => listener.matched(owner, item),
        unmatched: (owner, { item }) => listener.unmatched(owner, item),
      },
      work,
    );
  }

  set(item: EffectivePod): void {
    const before = this.#matcher.pod(item.key)?.item;
    if (!before) this.#byNamespace.add(item.namespace, item.key);
    this.#setHeir(item);
  }

  remove(key: string): void {
    const item = this.#matcher.pod(key)?.item;
    if (!item) return;
    this.#matcher.removePod(key);
    this.#byNamespace.remove(item.namespace, key);
  }

  namespaceChanged(name: string): void {
    if (this.#asked.size === 0) return;
    for (const key of this.#byNamespace.of(name)) this.#setHeir(this.#matcher.pod(key)!.item);
  }
  /** @param key of the service account. */
  serviceAccountChanged(key: string): void {
    if (this.#asked.size === 0) return;
    const [namespace, serviceAccount] = key.split('/') as [string, string];
    for (const pod of this.#byNamespace.of(namespace)) {
      const { item } = this.#matcher.pod(pod)!;
      if (item.serviceAccount === serviceAccount) this.#setHeir(item);
    }
  }

  /** See PodMatcher. */
  settleOne(): boolean {
    if (!this.#refreshed) return this.#matcher.settleOne();
    for (let i = 0; i < refreshedPerStep; i++) {
      const { value, done } = this.#refreshed.next();
      if (done) {
        this.#refreshed = undefined;
        break;
      }
      this.#setHeir(value.item);
    }
    return true;
  }

  ownersMatching(key: string): Generator<O> {
    return this.#matcher.ownersMatching(key);
  }
  subscribe(owner: O, selector: Selector): Subscription<O> {
    for (const key of keysOf(selector.node)) this.#ask(key);
    return this.#matcher.subscribe(owner, { scope: { type: 'name', name: everywhere }, pods: selector });
  }
  unsubscribe(subscription: Subscription<O>): void {
    this.#matcher.unsubscribe(subscription);
  }

  #ask(key: string): void {
    if (this.#asked.has(key) || !isInheritable(key)) return;
    this.#asked.add(key);
    this.#refreshed = this.#matcher.pods();
  }

  #setHeir(item: EffectivePod): void {
    this.#matcher.setPod({ key: item.key, namespace: everywhere, labels: this.#labelsOf(item), item });
  }

  #labelsOf({ namespace, serviceAccount, labels }: EffectivePod): Labels {
    if (namespace === '' || this.#asked.size === 0) return labels;
    const out: Record<string, string> = { ...labels };
    for (const key of this.#asked) {
      // Own labels win over inherited ones, but nobody says by a label of its own where it stands.
      if (!isPlace(key) && Object.hasOwn(labels, key)) continue;
      const value = this.#inherited(key, namespace, serviceAccount);
      if (value !== undefined) out[key] = value;
    }
    return out;
  }

  #inherited(key: string, namespace: string, serviceAccount: string | undefined): string | undefined {
    if (key === namespaceLabel) return namespace;
    if (key.startsWith(namespacePrefix)) {
      const own = key.slice(namespacePrefix.length);
      return own === nameLabel ? namespace : labelValue(this.#profiles.namespaceLabels(namespace), own);
    }
    if (!serviceAccount) return undefined;
    if (key === orchestratorLabel) return 'k8s';
    if (key === serviceAccountLabel) return serviceAccount.length <= labelValueCharsMax ? serviceAccount : undefined;
    const own = key.slice(serviceAccountPrefix.length);
    if (own === nameLabel) return serviceAccount;
    return labelValue(this.#profiles.serviceAccountLabels(`${namespace}/${serviceAccount}`), own);
  }
}

/** Says where an item stands, or what it is. */
function isPlace(key: string): boolean {
  return key === namespaceLabel || key === orchestratorLabel || key === serviceAccountLabel;
}

function isInheritable(key: string): boolean {
  return isPlace(key) || key.startsWith(namespacePrefix) || key.startsWith(serviceAccountPrefix);
}
