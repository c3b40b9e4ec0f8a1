/**
 * What the receiver of PolicyUpdates holds. It asserts on every update that no name ever dangles, so that a test (or a
 * simulator) that applies what the engine emits finds a broken order at once.
 */
import assert from 'node:assert/strict';
import { unreachable } from '#kit';
import type {
  EndpointId,
  EndpointProgram,
  PolicyId,
  PolicyProgram,
  PolicyRule,
  PolicyUpdate,
  SetId,
  SetType,
} from '#model';

export interface SetState {
  readonly type: SetType;
  readonly members: Set<string>;
  /** Only staged policies name it. */
  readonly staged?: true;
}

/** Which name gave an address to a set of domain names, and for how many seconds more. */
export interface LearntAddress {
  readonly name: string;
  readonly leftSec: number;
}

export interface PolicyState {
  readonly sets: ReadonlyMap<SetId, SetState>;
  readonly policies: ReadonlyMap<PolicyId, PolicyProgram>;
  readonly endpoints: ReadonlyMap<EndpointId, EndpointProgram>;
  /** Undefined: the set is not of domain names, or does not hold the address. */
  learnt?(set: SetId, address: string): LearntAddress | undefined;
  /** A set of domain names held the address once, or does. */
  wasLearnt?(set: SetId, address: string): boolean;
}

/** The sets that a policy's rules name. */
export function setsOf(program: PolicyProgram): Set<SetId> {
  const found = new Set<SetId>();
  for (const rule of [...program.ingress, ...program.egress]) for (const id of setsOfRule(rule)) found.add(id);
  return found;
}

function* setsOfRule(rule: PolicyRule): Generator<SetId> {
  if (rule.source?.type === 'set') yield rule.source.set;
  if (rule.destination?.type === 'set') yield rule.destination.set;
  if (rule.destinationNamedPorts !== undefined) yield rule.destinationNamedPorts;
  for (const condition of rule.conditions ?? []) if (condition.type !== 'ports') yield condition.set;
}

/** The policies in force that an endpoint's tiers name. */
export function policiesOf({ ingress, egress, host }: EndpointProgram): Set<PolicyId> {
  return namedBy({ ingress, egress, ...(host && { host }) });
}

/** With those that are only staged. */
export function allPoliciesOf(program: EndpointProgram): Set<PolicyId> {
  return policiesOf(program).union(namedBy(program.staged ?? {}));
}

function namedBy({ ingress = [], egress = [], host }: NonNullable<EndpointProgram['staged']>): Set<PolicyId> {
  const ofHost = host
    ? [host.forward, host.untracked, { ingress: host.preDNAT, egress: [] }].flatMap((t) => [...t.ingress, ...t.egress])
    : [];
  return new Set([...ingress, ...egress, ...ofHost].flatMap((tier) => tier.policies));
}

export class PolicyStateStore implements PolicyState {
  readonly learnt?: NonNullable<PolicyState['learnt']>;
  readonly wasLearnt?: NonNullable<PolicyState['wasLearnt']>;
  readonly sets = new Map<SetId, SetState>();
  readonly policies = new Map<PolicyId, PolicyProgram>();
  readonly endpoints = new Map<EndpointId, EndpointProgram>();
  /** How many policies (endpoints) name a set (policy). */
  readonly #users = new Map<string, number>();

  /** @param names who knows the addresses of domain names; absent: they have none. */
  constructor(names: Pick<PolicyState, 'learnt' | 'wasLearnt'> = {}) {
    if (names.learnt) this.learnt = names.learnt;
    if (names.wasLearnt) this.wasLearnt = names.wasLearnt;
  }

  /** @throws AssertionError when an update names what is not there, removes what is in use, or repeats a member. */
  apply(updates: Iterable<PolicyUpdate>): void {
    for (const update of updates) this.#applyOne(update);
  }

  #applyOne(update: PolicyUpdate): void {
    switch (update.type) {
      case 'set': {
        const members = new Set(update.members);
        assert.equal(members.size, update.members.length, `${update.id}: a member twice`);
        this.sets.set(update.id, { type: update.setType, members, ...(update.staged && { staged: true }) });
        return;
      }
      case 'setDelta':
        this.#applyDelta(update);
        return;
      case 'setRemove':
        assert.ok(this.sets.delete(update.id), `${update.id}: removed but not there`);
        assert.equal(this.#users.get(update.id) ?? 0, 0, `${update.id}: removed while in use`);
        return;
      case 'policy': {
        const names = setsOf(update.program);
        for (const id of names) assert.ok(this.sets.has(id), `${update.id} names ${id}, which is not there`);
        if (!update.staged)
          for (const id of names)
            assert.ok(!this.sets.get(id)!.staged, `${update.id} names ${id}, which is only staged`);
        const before = this.policies.get(update.id);
        this.#use(names, before && setsOf(before));
        this.policies.set(update.id, update.program);
        return;
      }
      case 'policyRemove': {
        const before = this.policies.get(update.id);
        assert.ok(before, `${update.id}: removed but not there`);
        assert.equal(this.#users.get(update.id) ?? 0, 0, `${update.id}: removed while in use`);
        this.#use(undefined, setsOf(before));
        this.policies.delete(update.id);
        return;
      }
      case 'endpoint': {
        const names = allPoliciesOf(update.program);
        for (const id of names) assert.ok(this.policies.has(id), `${update.id} names ${id}, which is not there`);
        const before = this.endpoints.get(update.id);
        this.#use(names, before && allPoliciesOf(before));
        this.endpoints.set(update.id, update.program);
        return;
      }
      case 'endpointRemove': {
        const before = this.endpoints.get(update.id);
        assert.ok(before, `${update.id}: removed but not there`);
        this.#use(undefined, allPoliciesOf(before));
        this.endpoints.delete(update.id);
        return;
      }
      default:
        unreachable(update);
    }
  }

  #applyDelta(update: Extract<PolicyUpdate, { type: 'setDelta' }>): void {
    const members = this.sets.get(update.id)?.members;
    assert.ok(members, `${update.id}: changed but not there`);
    assert.ok(update.added.length + update.removed.length > 0, `${update.id}: a change of nothing`);
    for (const member of update.removed) assert.ok(members.delete(member), `${update.id}: ${member} is not in it`);
    for (const member of update.added) {
      assert.ok(!members.has(member), `${update.id}: ${member} is in it already`);
      members.add(member);
    }
  }

  #use(now: Iterable<string> | undefined, before: Iterable<string> | undefined): void {
    for (const id of now ?? []) this.#users.set(id, (this.#users.get(id) ?? 0) + 1);
    for (const id of before ?? []) {
      const left = this.#users.get(id)! - 1;
      if (left === 0) this.#users.delete(id);
      else this.#users.set(id, left);
    }
  }
}
