/**
 * Which policies select which local endpoints, and what therefore is in force.
 *
 * A policy that selects no local endpoint is asleep: it is not compiled, its sets are not computed, nothing of it is
 * emitted. Inputs only mark; `settleOne` compiles what woke up or changed and moves the use of sets along.
 */
import type {
  EndpointId,
  EndpointProgram,
  PolicyId,
  PolicyProgram,
  PolicyUpdate,
  TierObject,
  TierProgram,
} from '#model';
import type { CompiledPolicy, Direction } from '../rules/peer-rules.ts';
import { calicoTierOf, compilePolicy, isAbout, type Policy, placeOf, subjectOf } from '../rules/policy.ts';
import { type PodSelector, podSelectorText } from '../rules/sets.ts';
import { comparePlaces, type PolicyPlace, type Tier } from '../rules/tiers.ts';
import { DirtySet } from './dirty-set.ts';
import { InheritedMatcher, type Profiles } from './inherited-matcher.ts';
import type { Namespaces } from './namespaces.ts';
import { PodMatcher, type Subscription } from './pod-matcher.ts';
import type { EffectivePod } from './pods.ts';
import type { SetMembers } from './set-members.ts';
import type { Work } from './work.ts';

interface PolicyEntry {
  readonly id: PolicyId;
  policy: Policy;
  subject: string;
  subscription: Subscription<PolicyEntry> | undefined;
  /** Made when an endpoint first asks: most policies of a cluster select nobody here. Undefined when it may be another. */
  place: PolicyPlace | undefined;
  /** Its subject is one of Calico's. */
  inherited: boolean;
  readonly endpoints: Set<EndpointId>;
  /** In force (or about to be): its sets are acquired. Undefined while asleep. */
  compiled: CompiledPolicy | undefined;
  stale: boolean;
  /** What the receiver has, as text. */
  emitted: string | undefined;
  /** Kept until the flush, because it may be made again before the receiver has heard of its end. */
  deleted: boolean;
}

export class ActivePolicies {
  readonly #policies = new Map<PolicyId, PolicyEntry>();
  readonly #matcher: PodMatcher<PolicyEntry>;
  readonly #inherited: InheritedMatcher<PolicyEntry>;
  readonly #tiers = new Map<string, TierObject>();
  readonly #byTier = new Map<string, Set<PolicyEntry>>();
  readonly #sets: SetMembers;
  readonly #work: Work;
  /** To be compiled or let go by `settle`, and what of that is still to be emitted. */
  readonly #unsettled = new DirtySet<PolicyEntry>();
  readonly #settled = new Set<PolicyEntry>();
  readonly #changedEndpoints = new Set<EndpointId>();
  /** What the receiver has, as text. */
  readonly #emittedEndpoints = new Map<EndpointId, string>();
  readonly #policyRemovals = new Set<PolicyId>();
  readonly #endpointRemovals = new Set<EndpointId>();

  constructor(namespaces: Namespaces, profiles: Profiles, sets: SetMembers, work: Work) {
    this.#sets = sets;
    this.#work = work;
    const listener = {
      matched: (policy: PolicyEntry, key: EndpointId) => {
        policy.endpoints.add(key);
        this.#mark(policy, key);
      },
      unmatched: (policy: PolicyEntry, key: EndpointId) => {
        policy.endpoints.delete(key);
        this.#mark(policy, key);
      },
    };
    this.#matcher = new PodMatcher(namespaces, listener, work);
    this.#inherited = new InheritedMatcher(namespaces, profiles, listener, work);
  }

  /** A local endpoint whose pod is known, with the pod's labels. */
  setEndpoint(pod: EffectivePod): void {
    if (!this.#matcher.has(pod.key)) this.#changedEndpoints.add(pod.key);
    this.#matcher.setPod(pod.key, pod.namespace, pod.labels);
    this.#inherited.set(pod);
  }

  removeEndpoint(id: EndpointId): void {
    if (!this.#matcher.has(id)) return;
    this.#matcher.removePod(id);
    this.#inherited.remove(id);
    this.#changedEndpoints.add(id);
  }

  namespaceChanged(name: string): void {
    this.#inherited.namespaceChanged(name);
  }
  serviceAccountChanged(key: string): void {
    this.#inherited.serviceAccountChanged(key);
  }

  /** One of Calico's; undefined when it is gone. Whoever a policy of it selects gets its program anew. */
  setTier(name: string, tier: TierObject | undefined): void {
    if (tier) this.#tiers.set(name, tier);
    else this.#tiers.delete(name);
    for (const policy of this.#byTier.get(name) ?? []) {
      policy.place = undefined;
      for (const endpoint of policy.endpoints) this.#changedEndpoints.add(endpoint);
    }
  }

  /** Whether the program of the endpoint has been emitted. */
  isEmitted(id: EndpointId): boolean {
    return this.#emittedEndpoints.has(id);
  }

  setPolicy(id: PolicyId, policy: Policy | undefined): void {
    const known = this.#policies.get(id);
    if (!policy) {
      if (known) this.#deletePolicy(known);
      return;
    }
    if (known?.policy.object === policy.object && !known.deleted) return;
    const selector = subjectOf(policy);
    const subject = podSelectorText(selector);
    const entry: PolicyEntry = known ?? {
      id,
      policy,
      subject: '',
      subscription: undefined,
      place: undefined,
      inherited: false,
      endpoints: new Set(),
      compiled: undefined,
      stale: true,
      emitted: undefined,
      deleted: false,
    };
    this.#policies.set(id, entry);
    this.#leaveTier(entry);
    entry.policy = policy;
    entry.place = undefined;
    this.#joinTier(entry);
    entry.stale = true;
    entry.deleted = false;
    if (entry.subject !== subject) {
      this.#unsubscribe(entry);
      entry.subject = subject;
      this.#subscribe(entry, selector);
    }
    this.#unsettled.add(entry);
    for (const endpoint of entry.endpoints) this.#changedEndpoints.add(endpoint);
  }

  /**
   * Compiles one policy that is new or changed, or lets go of one that fell asleep, and moves the use of sets along; false
   * when none is left.
   */
  settleOne(): boolean {
    const policy = this.#unsettled.take();
    if (!policy) return false;
    this.#settled.add(policy);
    this.#compile(policy);
    return true;
  }

  #compile(policy: PolicyEntry): void {
    const before = policy.compiled;
    const awake = !policy.deleted && policy.endpoints.size > 0 && isAboutAnything(policy.policy);
    if (awake && (policy.stale || !before)) {
      this.#work.compiledPolicies++;
      policy.compiled = compilePolicy(policy.policy);
      policy.stale = false;
      for (const definition of policy.compiled.sets.values()) this.#sets.acquire(definition);
    } else if (!awake) {
      policy.compiled = undefined;
    }
    if (before && before !== policy.compiled) for (const id of before.sets.keys()) this.#sets.release(id);
  }

  /** New and changed policies, once all are settled. Removals wait for `takePolicyRemovals`. */
  *takePolicyChanges(): Generator<PolicyUpdate> {
    for (const policy of this.#settled) {
      if (policy.deleted) this.#policies.delete(policy.id);
      if (!policy.compiled) {
        if (policy.emitted !== undefined) this.#policyRemovals.add(policy.id);
        policy.emitted = undefined;
        continue;
      }
      const program: PolicyProgram = policy.compiled.program;
      const text = JSON.stringify(program);
      if (text === policy.emitted) continue;
      policy.emitted = text;
      yield { type: 'policy', id: policy.id, program };
    }
    this.#settled.clear();
  }

  *takeEndpointChanges(): Generator<PolicyUpdate> {
    for (const id of this.#changedEndpoints) {
      if (!this.#matcher.has(id)) {
        if (this.#emittedEndpoints.delete(id)) this.#endpointRemovals.add(id);
        continue;
      }
      this.#work.endpointPrograms++;
      const program = this.#programOf(id);
      const text = JSON.stringify(program);
      if (text === this.#emittedEndpoints.get(id)) continue;
      this.#emittedEndpoints.set(id, text);
      yield { type: 'endpoint', id, program };
    }
    this.#changedEndpoints.clear();
  }

  *takeEndpointRemovals(): Generator<PolicyUpdate> {
    for (const id of this.#endpointRemovals) yield { type: 'endpointRemove', id };
    this.#endpointRemovals.clear();
  }

  *takePolicyRemovals(): Generator<PolicyUpdate> {
    for (const id of this.#policyRemovals) yield { type: 'policyRemove', id };
    this.#policyRemovals.clear();
  }

  #deletePolicy(policy: PolicyEntry): void {
    this.#unsubscribe(policy);
    policy.subject = '';
    policy.deleted = true;
    this.#leaveTier(policy);
    this.#unsettled.add(policy);
  }

  #joinTier(policy: PolicyEntry): void {
    const tier = calicoTierOf(policy.policy);
    if (tier === undefined) return;
    const policies = this.#byTier.get(tier);
    if (policies) policies.add(policy);
    else this.#byTier.set(tier, new Set([policy]));
  }

  #leaveTier(policy: PolicyEntry): void {
    const tier = calicoTierOf(policy.policy);
    const policies = tier === undefined ? undefined : this.#byTier.get(tier);
    policies?.delete(policy);
    if (policies?.size === 0) this.#byTier.delete(tier!);
  }

  #subscribe(policy: PolicyEntry, subject: PodSelector): void {
    policy.inherited = subject.scope.type === 'inherited';
    policy.subscription = policy.inherited
      ? this.#inherited.subscribe(policy, subject.pods)
      : this.#matcher.subscribe(policy, subject);
  }

  #unsubscribe(policy: PolicyEntry): void {
    if (policy.subscription) (policy.inherited ? this.#inherited : this.#matcher).unsubscribe(policy.subscription);
    policy.subscription = undefined;
    for (const endpoint of policy.endpoints) this.#changedEndpoints.add(endpoint);
    policy.endpoints.clear();
  }

  #mark(policy: PolicyEntry, endpoint: EndpointId): void {
    this.#unsettled.add(policy);
    this.#changedEndpoints.add(endpoint);
  }

  #programOf(id: EndpointId): EndpointProgram {
    const policies = [...this.#matcher.ownersMatching(id), ...this.#inherited.ownersMatching(id)];
    for (const entry of policies) entry.place ??= placeOf(entry.policy, entry.id, this.#tiers);
    policies.sort((a, b) => comparePlaces(a.place!, b.place!));
    return { ingress: tiersOf(policies, 'ingress'), egress: tiersOf(policies, 'egress') };
  }
}

/** Without rules in any direction it stands in no tier of anybody. */
function isAboutAnything(policy: Policy): boolean {
  return isAbout(policy, 'ingress') || isAbout(policy, 'egress');
}

/** `policies` stand in the order of their places, which all have. */
function tiersOf(policies: readonly PolicyEntry[], direction: Direction): EndpointProgram['ingress'] {
  const tiers: TierProgram[] = [];
  let ids: PolicyId[] = [];
  let last: Tier | undefined;
  for (const { id, policy, place } of policies) {
    if (!isAbout(policy, direction)) continue;
    if (place!.tier.name !== last?.name) {
      ids = [];
      last = place!.tier;
      tiers.push({ tier: last.name, policies: ids, endOfTier: last.endOfTier });
    }
    ids.push(id);
  }
  return tiers;
}
