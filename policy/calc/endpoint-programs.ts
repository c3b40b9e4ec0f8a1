/**
 * The program of each local endpoint: the policies of all its subjects, by tiers and in order. Pods with the same subjects share one,
 * which is put in order once.
 */
import type { EndpointId, EndpointProgram, HostEndpointObject, PolicyId, PolicyUpdate, TierProgram } from '#model';
import { type Few, fewValues } from '../few.ts';
import type { Direction } from '../rules/peer-rules.ts';
import { isAbout, type Policy } from '../rules/policy.ts';
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

/** Who selects which endpoints. */
export interface SubjectsOfEndpoints {
  has(id: EndpointId): boolean;
  of(id: EndpointId): Iterable<{ readonly number: number; readonly policies: Few<OrderedPolicy> }>;
}

export class EndpointPrograms {
  readonly #subjects: SubjectsOfEndpoints;
  readonly #placeOf: (policy: Policy, id: PolicyId) => PolicyPlace;
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

  constructor(subjects: SubjectsOfEndpoints, placeOf: (policy: Policy, id: PolicyId) => PolicyPlace, work: Work) {
    this.#subjects = subjects;
    this.#placeOf = placeOf;
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
    if (host) return hostProgram(host, this.#inOrder(subjects));
    const numbers = subjects.map(({ number }) => number).join();
    const known = this.#bySubjects.get(numbers);
    if (known) return known;
    this.#work.endpointPrograms++;
    const policies = this.#inOrder(subjects);
    const program = { ingress: tiersOf(policies, 'ingress'), egress: tiersOf(policies, 'egress') };
    this.#bySubjects.set(numbers, program);
    return program;
  }

  /** Places are made for those that count alone: most policies of a cluster select nobody here. */
  #inOrder(subjects: readonly { readonly policies: Few<OrderedPolicy> }[]): PlacedPolicy[] {
    return subjects
      .flatMap((subject) => [...fewValues(subject.policies)])
      .map(({ id, policy }) => ({ id, policy, place: this.#placeOf(policy, id) }))
      .sort((a, b) => comparePlaces(a.place, b.place));
  }
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
  return sameTiers(a.ingress, b.ingress) && sameTiers(a.egress, b.egress);
}

function sameTiers(a: readonly TierProgram[], b: readonly TierProgram[]): boolean {
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
