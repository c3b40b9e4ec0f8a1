/**
 * Which policies select which local endpoints, and what therefore is in force.
 *
 * A policy that selects no local endpoint is asleep: it is not compiled, its sets are not computed, nothing of it is
 * emitted. Inputs only mark; `settleOne` compiles what woke up or changed, moves the use of sets along, and then puts
 * together the programs of endpoints.
 *
 * Staged policies go the same way beside the others, apart from what is in force: endpoints have a second program with them.
 */
import type { EndpointId, HostEndpointObject, PolicyId, PolicyProgram, PolicyUpdate, SetId, TierObject } from '#model';
import { fewValues, MultiMap } from '../few.ts';
import {
  calicoTierOf,
  compilePolicy,
  enforcedIdOf,
  hostTrafficOf,
  isAbout,
  isStaged,
  type Policy,
  placeOf,
  subjectOf,
} from '../rules/policy.ts';
import { podSelectorText } from '../rules/sets.ts';
import { comparePlaces, type PolicyPlace } from '../rules/tiers.ts';
import { DirtySet } from './dirty-set.ts';
import { EndpointPrograms } from './endpoint-programs.ts';
import type { Profiles } from './inherited-matcher.ts';
import type { Namespaces } from './namespaces.ts';
import type { EffectivePod } from './pods.ts';
import type { SetMembers } from './set-members.ts';
import { type Subject, Subjects } from './subjects.ts';
import type { Work } from './work.ts';

interface PolicyEntry {
  readonly id: PolicyId;
  policy: Policy;
  /** Undefined when it was deleted: kept until the flush, because it may be made again before the receiver has heard of its end. */
  subject: Subject<PolicyEntry> | undefined;
  /** In force (or about to be): its sets are acquired. Undefined while asleep. */
  compiled: InForce | undefined;
  stale: boolean;
  /** What the receiver has. */
  emitted: PolicyProgram | undefined;
}

interface InForce {
  readonly program: PolicyProgram;
  readonly sets: readonly SetId[];
}

export class ActivePolicies {
  readonly #policies = new Map<PolicyId, PolicyEntry>();
  readonly #subjects: Subjects<PolicyEntry>;
  readonly #programs: EndpointPrograms;
  readonly #tiers = new Map<string, TierObject>();
  readonly #byTier = new MultiMap<string, PolicyEntry>();
  /** Enforced policies that staged ones take the place of, or take away, with the tier in which they do. */
  readonly #replaced = new Map<PolicyId, string>();
  readonly #sets: SetMembers;
  readonly #work: Work;
  /** To be compiled or let go by `settleOne`, and what of that is still to be emitted. */
  readonly #unsettled = new DirtySet<PolicyEntry>();
  readonly #settled = new Set<PolicyEntry>();
  readonly #removals = new Set<PolicyId>();

  constructor(namespaces: Namespaces, profiles: Profiles, sets: SetMembers, work: Work) {
    this.#sets = sets;
    this.#work = work;
    this.#subjects = new Subjects(
      namespaces,
      profiles,
      (subject, endpoint, woke) => {
        if (woke) for (const policy of fewValues(subject.policies)) this.#unsettled.add(policy);
        this.#programs.mark(endpoint);
      },
      work,
    );
    this.#programs = new EndpointPrograms(
      this.#subjects,
      {
        placeOf: (policy, id) => this.#placeOf(policy, id),
        isReplaced: (id, { tier }) => this.#replaced.get(id) === tier.name,
      },
      work,
    );
  }

  /** A host endpoint of this node. */
  setHostEndpoint(item: EffectivePod, object: HostEndpointObject): void {
    this.#programs.setHost(item.key, object);
    this.#subjects.setEndpoint(item);
  }

  /** A local endpoint whose pod is known, with the pod's labels. */
  setEndpoint(pod: EffectivePod): void {
    if (!this.#subjects.has(pod.key)) this.#programs.mark(pod.key);
    this.#subjects.setEndpoint(pod);
  }

  removeEndpoint(id: EndpointId): void {
    if (!this.#subjects.has(id)) return;
    this.#subjects.removeEndpoint(id);
    this.#programs.setHost(id, undefined);
  }

  namespaceChanged(name: string): void {
    this.#subjects.namespaceChanged(name);
  }
  serviceAccountChanged(key: string): void {
    this.#subjects.serviceAccountChanged(key);
  }

  /** One of Calico's; undefined when it is gone. Whoever a policy of it selects gets its program anew. */
  setTier(name: string, tier: TierObject | undefined): void {
    if (tier) this.#tiers.set(name, tier);
    else this.#tiers.delete(name);
    for (const { subject } of this.#byTier.of(name)) if (subject) this.#move(subject);
  }

  /** Whether the program of the endpoint has been emitted. */
  isEmitted(id: EndpointId): boolean {
    return this.#programs.isEmitted(id);
  }

  setPolicy(id: PolicyId, given: Policy | undefined): void {
    this.#replace(id, given);
    const policy = given && isStaged(given) && given.object.stagedAction !== 'Set' ? undefined : given;
    const known = this.#policies.get(id);
    if (!policy) {
      if (!known) return;
      this.#leaveTier(known);
      this.#leave(known);
      return;
    }
    if (known?.subject && known.policy.object === policy.object) return;
    const moved = !known || !this.#standAlike(id, known.policy, policy);
    const entry = known ?? this.#newEntry(id, policy);
    this.#leaveTier(entry);
    entry.policy = policy;
    const tier = calicoTierOf(policy);
    if (tier !== undefined) this.#byTier.add(tier, entry);
    entry.stale = true;
    this.#unsettled.add(entry);
    const selector = subjectOf(policy);
    const stays = entry.subject?.text === podSelectorText(selector);
    if (!stays) {
      this.#leave(entry);
      entry.subject = this.#subjects.join(entry, selector);
    }
    if (moved || !stays) this.#move(entry.subject!);
  }

  /**
   * Compiles one policy that is new or changed, or lets go of one that fell asleep, and moves the use of sets along; after
   * these, puts together the program of one endpoint. False when nothing is left.
   */
  settleOne(): boolean {
    const policy = this.#unsettled.take();
    if (!policy) return this.#programs.settleOne();
    this.#settled.add(policy);
    this.#compile(policy);
    return true;
  }

  #compile(policy: PolicyEntry): void {
    const before = policy.compiled;
    const inForce = !isStaged(policy.policy);
    const awake = policy.subject?.endpoints !== undefined && isAboutAnything(policy.policy);
    if (awake && (policy.stale || !before)) {
      this.#work.compiledPolicies++;
      const { program, sets } = compilePolicy(policy.policy);
      policy.compiled = { program, sets: [...sets.keys()] };
      policy.stale = false;
      for (const definition of sets.values()) this.#sets.acquire(definition, inForce);
    } else if (!awake) {
      policy.compiled = undefined;
    }
    if (before && before !== policy.compiled) for (const id of before.sets) this.#sets.release(id, inForce);
  }

  /** New and changed policies, once all are settled. Removals wait for `takePolicyRemovals`. */
  *takePolicyChanges(): Generator<PolicyUpdate> {
    for (const policy of this.#settled) {
      if (!policy.subject) this.#policies.delete(policy.id);
      const { emitted } = policy;
      policy.emitted = policy.compiled?.program;
      if (!policy.emitted) {
        if (emitted) this.#removals.add(policy.id);
      } else if (!emitted || !samePrograms(emitted, policy.emitted)) {
        const staged = isStaged(policy.policy) && { staged: true as const };
        yield { type: 'policy', id: policy.id, program: policy.emitted, ...staged };
      }
    }
    this.#settled.clear();
  }

  takeEndpointChanges(): Iterable<PolicyUpdate> {
    return this.#programs.takeChanges();
  }
  takeEndpointRemovals(): Iterable<PolicyUpdate> {
    return this.#programs.takeRemovals();
  }
  *takePolicyRemovals(): Generator<PolicyUpdate> {
    for (const id of this.#removals) yield { type: 'policyRemove', id };
    this.#removals.clear();
  }

  #newEntry(id: PolicyId, policy: Policy): PolicyEntry {
    const entry = { id, policy, subject: undefined, compiled: undefined, stale: true, emitted: undefined };
    this.#policies.set(id, entry);
    return entry;
  }

  #leaveTier(policy: PolicyEntry): void {
    const tier = calicoTierOf(policy.policy);
    if (tier !== undefined) this.#byTier.remove(tier, policy);
  }

  #leave(policy: PolicyEntry): void {
    const { subject } = policy;
    if (!subject) return;
    this.#unsettled.add(policy);
    this.#move(subject);
    this.#subjects.leave(policy, subject);
    policy.subject = undefined;
  }

  /** A staged policy says of the enforced one of its name, or says no more, that another or none would be in its place. */
  #replace(id: PolicyId, policy: Policy | undefined): void {
    const enforced = enforcedIdOf(id);
    if (enforced === undefined) return;
    const replaces = policy && isStaged(policy) && ['Set', 'Delete'].includes(policy.object.stagedAction);
    const tier = replaces ? this.#placeOf(policy, id).tier.name : undefined;
    if (this.#replaced.get(enforced) === tier) return;
    if (tier === undefined) this.#replaced.delete(enforced);
    else this.#replaced.set(enforced, tier);
    const subject = this.#policies.get(enforced)?.subject;
    if (subject) this.#move(subject);
  }

  #placeOf(policy: Policy, id: PolicyId): PolicyPlace {
    return placeOf(policy, id, this.#tiers);
  }

  /** Whether endpoints have both in the same places of their programs. */
  #standAlike(id: PolicyId, a: Policy, b: Policy): boolean {
    const [placeA, placeB] = [this.#placeOf(a, id), this.#placeOf(b, id)];
    return (
      comparePlaces(placeA, placeB) === 0 &&
      placeA.tier.endOfTier === placeB.tier.endOfTier &&
      isAbout(a, 'ingress') === isAbout(b, 'ingress') &&
      isAbout(a, 'egress') === isAbout(b, 'egress') &&
      hostTrafficOf(a).join() === hostTrafficOf(b).join()
    );
  }

  /** A policy of the subject came, goes, or stands elsewhere. */
  #move(subject: Subject<PolicyEntry>): void {
    this.#programs.policyMoved();
    for (const endpoint of fewValues(subject.endpoints)) this.#programs.mark(endpoint);
  }
}

/** Without rules in any direction it stands in no tier of anybody. */
function isAboutAnything(policy: Policy): boolean {
  return isAbout(policy, 'ingress') || isAbout(policy, 'egress');
}

function samePrograms(a: PolicyProgram, b: PolicyProgram): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
