/**
 * Which of Calico's selectors match which pods and network sets: a PodMatcher over labels as Calico sees them. Whoever stands in a namespace
 * has the labels of the namespace under `pcns.`, a pod those of its service account under `pcsa.`, and a few that say where it
 * stands. So a namespace selector is a selector as any other; relabelling a namespace costs what stands in it.
 */
import { type Labels, namespaceLabel, type Selector } from '#model';
import { MultiMap } from '../few.ts';
import { namespacePrefix, serviceAccountLabel, serviceAccountPrefix } from '../selector/inherited.ts';
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

/** With the labels that it has of its own and by where it stands. */
interface Heir extends MatchedPod {
  readonly item: EffectivePod;
}

export class InheritedMatcher<O> {
  readonly #byNamespace = new MultiMap<string, string>();
  readonly #byServiceAccount = new MultiMap<string, string>();
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
    if (before && before.serviceAccount !== item.serviceAccount) this.#unfile(before);
    if (!before || before.serviceAccount !== item.serviceAccount) {
      this.#byNamespace.add(item.namespace, item.key);
      if (item.serviceAccount) this.#byServiceAccount.add(`${item.namespace}/${item.serviceAccount}`, item.key);
    }
    this.#setHeir(item);
  }

  remove(key: string): void {
    const item = this.#matcher.pod(key)?.item;
    if (!item) return;
    this.#matcher.removePod(key);
    this.#unfile(item);
  }

  namespaceChanged(name: string): void {
    this.#refresh(this.#byNamespace.of(name));
  }
  serviceAccountChanged(key: string): void {
    this.#refresh(this.#byServiceAccount.of(key));
  }

  /** See PodMatcher. */
  settleOne(): boolean {
    return this.#matcher.settleOne();
  }

  ownersMatching(key: string): Generator<O> {
    return this.#matcher.ownersMatching(key);
  }
  subscribe(owner: O, selector: Selector): Subscription<O> {
    return this.#matcher.subscribe(owner, { scope: { type: 'name', name: everywhere }, pods: selector });
  }
  unsubscribe(subscription: Subscription<O>): void {
    this.#matcher.unsubscribe(subscription);
  }

  #refresh(keys: Iterable<string>): void {
    for (const key of keys) this.#setHeir(this.#matcher.pod(key)!.item);
  }

  #setHeir(item: EffectivePod): void {
    this.#matcher.setPod({ key: item.key, namespace: everywhere, labels: this.#labelsOf(item), item });
  }

  #unfile({ key, namespace, serviceAccount }: EffectivePod): void {
    this.#byNamespace.remove(namespace, key);
    if (serviceAccount) this.#byServiceAccount.remove(`${namespace}/${serviceAccount}`, key);
  }

  #labelsOf({ namespace, serviceAccount, labels }: EffectivePod): Labels {
    if (namespace === '') return labels;
    const out: Record<string, string> = {};
    const inherit = (prefix: string, from: Labels, name: string): void => {
      for (const key of Object.keys(from)) out[prefix + key] = from[key]!;
      out[prefix + nameLabel] = name;
    };
    inherit(namespacePrefix, this.#profiles.namespaceLabels(namespace), namespace);
    if (serviceAccount) {
      const from = this.#profiles.serviceAccountLabels(`${namespace}/${serviceAccount}`);
      inherit(serviceAccountPrefix, from, serviceAccount);
    }
    // Own labels win over inherited ones, but nobody says by a label of its own where it stands.
    for (const key of Object.keys(labels)) out[key] = labels[key]!;
    out[namespaceLabel] = namespace;
    if (serviceAccount) {
      out[orchestratorLabel] = 'k8s';
      if (serviceAccount.length <= labelValueCharsMax) out[serviceAccountLabel] = serviceAccount;
    }
    return out;
  }
}
