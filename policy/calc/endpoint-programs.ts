/**
 * The program of each local endpoint: the policies of all its subjects, by tiers and in order. Pods with the same subjects share one,
 * which is put in order once. Where staged policies have a say, what would apply with them stands beside it.
 */
import type { EndpointId, EndpointProgram, HostEndpointObject, PolicyId, PolicyUpdate, TierProgram } from '#model';
import { type Few, fewValues } from '../few.ts';
import type { Direction } from '../rules/peer-rules.ts';
import { isAbout, isStaged, type Policy } from '../rules/policy.ts';
import { comparePlaces, type PolicyPlace, type Tier } from '../rules/tiers.ts';
import { DirtySet } from './dirty-set.ts';
import { hostProgram } from './host-program.ts';
import type { Work } from './work.ts';

export interface OrderedPolicy {
  readonly id: PolicyId;
  readonly policy: Policy;
}

export interface PlacedPolicy extends OrderedPolicy {
  readonly place: PolicyPlace;
}

/** All that select an endpoint, in the order of their places. */
export interface ConsideredPolicies {
  readonly inForce: readonly PlacedPolicy[];
  /** Those that would be in force with the staged ones. */
  readonly staged: readonly PlacedPolicy[];
  /** Why the two differ: staged ones, and those whose place they take. */
  readonly changes: readonly PlacedPolicy[];
}

/** Who selects which endpoints. */
export interface SubjectsOfEndpoints {
  has(id: EndpointId): boolean;
  of(id: EndpointId): Iterable<{ readonly number: number; readonly policies: Few<OrderedPolicy> }>;
}

export interface Places {
  readonly placeOf: (policy: Policy, id: PolicyId) => PolicyPlace;
  /** A staged policy takes its place, or takes it away. */
  readonly isReplaced: (id: PolicyId, place: PolicyPlace) => boolean;
}

export class EndpointPrograms {
  readonly #subjects: SubjectsOfEndpoints;
  readonly #places: Places;
  readonly #work: Work;
  readonly #changed = new DirtySet<EndpointId>();
  /** Not yet emitted; undefined: it has none any more. */
  readonly #computed = new Map<EndpointId, EndpointProgram | undefined>();
  /** What the receiver has. */
  readonly #emitted = new Map<EndpointId, EndpointProgram>();
  readonly #removals = new Set<EndpointId>();
  readonly #hosts = new Map<EndpointId, HostEndpointObject>();
  /** By the numbers of the subjects, while no policy moves. */
  readonly #bySubjects = new Map<string, EndpointProgram>();

  constructor(subjects: SubjectsOfEndpoints, places: Places, work: Work) {
    this.#subjects = subjects;
    this.#places = places;
    this.#work = work;
  }

  /** A host endpoint of this node came or changed; undefined: it went. */
  setHost(id: EndpointId, object: HostEndpointObject | undefined): void {
    if (object) this.#hosts.set(id, object);
    else this.#hosts.delete(id);
    this.mark(id);
  }
  /** It came or went, or its subjects or their policies changed. */
  mark(id: EndpointId): void {
    this.#changed.add(id);
  }
  /** A policy came to a subject, left it, or stands elsewhere. */
  policyMoved(): void {
    this.#bySubjects.clear();
  }
  isEmitted(id: EndpointId): boolean {
    return this.#emitted.has(id);
  }

  /** Computes the program of one endpoint; false when none is left. */
  settleOne(): boolean {
    const id = this.#changed.take();
    if (id === undefined) {
      this.#bySubjects.clear();
      return false;
    }
    this.#computed.set(id, this.#subjects.has(id) ? this.#programOf(id) : undefined);
    return true;
  }

  /** Once all are settled. Removals wait for `takeRemovals`. */
  *takeChanges(): Generator<PolicyUpdate> {
    for (const [id, program] of this.#computed) {
      const emitted = this.#emitted.get(id);
      if (!program) {
        if (this.#emitted.delete(id)) this.#removals.add(id);
      } else if (!emitted || !samePrograms(emitted, program)) {
        this.#emitted.set(id, program);
        yield { type: 'endpoint', id, program };
      }
    }
    this.#computed.clear();
  }

  *takeRemovals(): Generator<PolicyUpdate> {
    for (const id of this.#removals) yield { type: 'endpointRemove', id };
    this.#removals.clear();
  }

  #programOf(id: EndpointId): EndpointProgram {
    const subjects = [...this.#subjects.of(id)].sort((a, b) => a.number - b.number);
    const host = this.#hosts.get(id);
    if (host) return hostProgram(host, this.#considered(subjects));
    const numbers = subjects.map(({ number }) => number).join();
    const known = this.#bySubjects.get(numbers);
    if (known) return known;
    this.#work.endpointPrograms++;
    const program = podProgram(this.#considered(subjects));
    this.#bySubjects.set(numbers, program);
    return program;
  }

  /** Places are made for those that count alone: most policies of a cluster select nobody here. */
  #considered(subjects: readonly { readonly policies: Few<OrderedPolicy> }[]): ConsideredPolicies {
    const policies = subjects
      .flatMap((subject) => [...fewValues(subject.policies)])
      .map(({ id, policy }) => ({ id, policy, place: this.#places.placeOf(policy, id) }))
      .sort((a, b) => comparePlaces(a.place, b.place));
    const inForce = policies.filter(({ policy }) => !isStaged(policy));
    const replaced = inForce.filter(({ id, place }) => this.#places.isReplaced(id, place));
    return {
      inForce,
      staged: policies.filter((one) => !replaced.includes(one)),
      changes: [...policies.filter(({ policy }) => isStaged(policy)), ...replaced],
    };
  }
}

function podProgram({ inForce, staged, changes }: ConsideredPolicies): EndpointProgram {
  const program = { ingress: tiersOf(inForce, 'ingress'), egress: tiersOf(inForce, 'egress') };
  if (changes.length === 0) return program;
  const said = (direction: Direction): boolean => changes.some(({ policy }) => isAbout(policy, direction));
  return {
    ...program,
    staged: {
      ...(said('ingress') && { ingress: tiersOf(staged, 'ingress') }),
      ...(said('egress') && { egress: tiersOf(staged, 'egress') }),
    },
  };
}

/** `policies` stand in the order of their places. */
export function tiersOf(policies: readonly PlacedPolicy[], direction: Direction): EndpointProgram['ingress'] {
  const tiers: TierProgram[] = [];
  let ids: PolicyId[] = [];
  let last: Tier | undefined;
  for (const { id, policy, place } of policies) {
    if (!isAbout(policy, direction)) continue;
    if (place.tier.name !== last?.name) {
      ids = [];
      last = place.tier;
      tiers.push({ tier: last.name, policies: ids, endOfTier: last.endOfTier });
    }
    ids.push(id);
  }
  return tiers;
}

function samePrograms(a: EndpointProgram, b: EndpointProgram): boolean {
  if (a === b) return true;
  // Of host endpoints there are few.
  if (a.host || b.host) return JSON.stringify(a) === JSON.stringify(b);
  return (
    sameTiers(a.ingress, b.ingress) &&
    sameTiers(a.egress, b.egress) &&
    sameTiers(a.staged?.ingress, b.staged?.ingress) &&
    sameTiers(a.staged?.egress, b.staged?.egress)
  );
}

function sameTiers(a: readonly TierProgram[] | undefined, b: readonly TierProgram[] | undefined): boolean {
  if (!a || !b) return a === b;
  return (
    a.length === b.length &&
    a.every((tier, i) => {
      const other = b[i]!;
      return (
        tier.tier === other.tier &&
        tier.endOfTier === other.endOfTier &&
        tier.policies.length === other.policies.length &&
        tier.policies.every((id, k) => id === other.policies[k])
      );
    })
  );
}
