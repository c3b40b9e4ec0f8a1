/**
 * Which of Calico's selectors match which pods and network sets: a PodMatcher over labels as Calico sees them. Whoever stands in a namespace
 * has the labels of the namespace under `pcns.`, a pod those of its service account under `pcsa.`, and a few that say where it
 * stands. So a namespace selector is a selector as any other; relabelling a namespace costs what stands in it.
 */
import { type Labels, namespaceLabel, type Selector } from '#model';
import { namespacePrefix, serviceAccountLabel, serviceAccountPrefix } from '../selector/inherited.ts';
import type { Namespaces } from './namespaces.ts';
import { type MatchListener, PodMatcher, type Subscription } from './pod-matcher.ts';
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

export class InheritedMatcher<O> {
  readonly #items = new Map<string, EffectivePod>();
  readonly #byNamespace = new Map<string, Set<string>>();
  readonly #byServiceAccount = new Map<string, Set<string>>();
  readonly #matcher: PodMatcher<O>;
  readonly #profiles: Profiles;

  constructor(namespaces: Namespaces, profiles: Profiles, listener: MatchListener<O>, work: Work) {
    this.#profiles = profiles;
    this.#matcher = new PodMatcher(namespaces, listener, work);
  }

  set(item: EffectivePod): void {
    const before = this.#items.get(item.key);
    if (before && before.serviceAccount !== item.serviceAccount) this.#unfile(before);
    this.#items.set(item.key, item);
    const inheritsAlike = before && before.serviceAccount === item.serviceAccount;
    if (inheritsAlike && before.labels === item.labels) return;
    if (!inheritsAlike) {
      file(this.#byNamespace, item.namespace, item.key);
      if (item.serviceAccount) file(this.#byServiceAccount, `${item.namespace}/${item.serviceAccount}`, item.key);
    }
    this.#matcher.setPod(item.key, everywhere, this.#labelsOf(item));
  }

  remove(key: string): void {
    const item = this.#items.get(key);
    if (!item) return;
    this.#matcher.removePod(key);
    this.#items.delete(key);
    this.#unfile(item);
  }

  namespaceChanged(name: string): void {
    this.#refresh(this.#byNamespace.get(name));
  }
  serviceAccountChanged(key: string): void {
    this.#refresh(this.#byServiceAccount.get(key));
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

  #refresh(keys: Iterable<string> | undefined): void {
    for (const key of keys ?? []) this.#matcher.setPod(key, everywhere, this.#labelsOf(this.#items.get(key)!));
  }

  #unfile({ key, namespace, serviceAccount }: EffectivePod): void {
    unfile(this.#byNamespace, namespace, key);
    if (serviceAccount) unfile(this.#byServiceAccount, `${namespace}/${serviceAccount}`, key);
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

function file(map: Map<string, Set<string>>, under: string, key: string): void {
  const keys = map.get(under);
  if (keys) keys.add(key);
  else map.set(under, new Set([key]));
}

function unfile(map: Map<string, Set<string>>, under: string, key: string): void {
  const keys = map.get(under);
  keys?.delete(key);
  if (keys?.size === 0) map.delete(under);
}
