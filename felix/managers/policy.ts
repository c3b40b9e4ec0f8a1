/**
 * Policies and their sets: from the engine's updates to the chains and sets that drivers keep in the kernel.
 *
 * A policy's chain of one direction exists while an endpoint's chain names it (`acquire`, `release`). What cannot be rendered, or is named and was
 * never known, is a chain that drops everything. Excepts of address blocks become sets of their own, shared and counted.
 */
import { type Cidr, errorText, type IpFamily, type Logger, unreachable } from '#kit';
import type { PolicyId, PolicyProgram, PolicyRule, PolicyUpdate, SetId } from '#model';
import type { Ipsets } from '../drivers/ipset/ipset.ts';
import type { IptablesFamily } from '../drivers/iptables/iptables.ts';
import { heldSetId, isOwnSet, type TableName } from '../render/base.ts';
import { type FlowLogOptions, flowLogRules } from '../render/flow-log.ts';
import { type Direction, type Names, policyChain } from '../render/names.ts';
import { renderPolicy } from '../render/policy.ts';
import type { Rule } from '../render/rule.ts';
import { SetUses } from './set-uses.ts';
import { planTransition, type Transition } from './transition.ts';

export interface PolicyDeps {
  readonly tables: readonly IptablesFamily[];
  readonly sets: Ipsets;
  readonly log: Logger;
  /** Of a family, decided before the first `flush`. Absent: nobody is told of packets. */
  readonly flowLog?: (family: IpFamily) => FlowLogOptions | undefined;
}

/** One chain's worth of a policy. */
interface Programmed {
  readonly table: TableName;
  readonly id: PolicyId;
  readonly direction: Direction;
  /** Endpoint chains that name it. */
  references: number;
  /** What the kernel holds; undefined before it was in force. Counted in the uses of sets, and `wanted` once more. */
  rulesBefore: readonly PolicyRule[] | undefined;
  wanted: readonly PolicyRule[] | undefined;
  /** Except sets per family that its rules name. */
  excepts: readonly SetId[];
}

/** Policies of host endpoints without conntrack stand in the second. */
const verdictTables: readonly TableName[] = ['mangle', 'raw'];
const keyOf = (table: TableName, direction: Direction, id: PolicyId): string => `${table} ${direction} ${id}`;

/** A chain that drops everything, because its rules cannot be rendered. */
export interface RefusedPolicy {
  readonly id: PolicyId;
  readonly direction: Direction;
  readonly reason: string;
}

type SetUpdate = Extract<PolicyUpdate, { type: 'set' | 'setDelta' | 'setRemove' }>;

export class PolicyManager {
  readonly #deps: PolicyDeps;
  readonly #names: Names;
  readonly #programs = new Map<PolicyId, PolicyProgram>();
  readonly #programmed = new Map<string, Programmed>();
  readonly #dirty = new Set<Programmed>();
  /** Could not be rendered; tried again when sets come. */
  readonly #broken = new Map<Programmed, string>();
  readonly #exceptUse = new Map<SetId, number>();
  /** Named by staged policies alone, and whether of domain names: not in the kernel. */
  readonly #stagedSets = new Map<SetId, boolean>();
  /** Rendered since the last `settled`, and removed since. */
  readonly #changed = new Set<Programmed>();
  #removed: Programmed[] = [];
  readonly #uses = new SetUses();
  readonly #held = new Set<string>();
  #wasSettled = false;

  constructor(deps: PolicyDeps, options: { readonly names: Names }) {
    this.#deps = deps;
    this.#names = options.names;
    deps.sets.desire(heldSetId, 'net', []);
  }

  /** Some policy names domains, and be it a staged one: what DNS says of them is of interest. */
  get namesDomains(): boolean {
    return this.#deps.sets.hasPassing || this.#stagedSets.values().some((ofDomains) => ofDomains);
  }
  get policyCount(): number {
    return this.#programs.size;
  }
  /** Chains that drop everything because they could not be rendered. */
  get brokenCount(): number {
    return this.#broken.size;
  }
  /** What they are, and why; at most `max`. */
  refused(max: number): RefusedPolicy[] {
    return [...this.#broken].slice(0, max).map(([{ id, direction }, reason]) => ({ id, direction, reason }));
  }

  /** A member a step. */
  *updateSet(update: SetUpdate): Generator<void> {
    const { sets } = this.#deps;
    switch (update.type) {
      case 'set': {
        const before = sets.typeOf(update.id);
        if (update.staged) {
          this.#stagedSets.set(update.id, update.domains !== undefined);
          if (before !== undefined) sets.undesire(update.id);
          return;
        }
        this.#stagedSets.delete(update.id);
        yield* sets.desiring(update.id, update.setType, update.members, { passing: update.domains !== undefined });
        if (before === undefined) for (const chain of this.#broken.keys()) this.#dirty.add(chain);
        else if (before !== update.setType) for (const chain of this.#programmed.values()) this.#dirty.add(chain);
        return;
      }
      case 'setDelta':
        if (!this.#stagedSets.has(update.id)) yield* sets.changing(update.id, update.added, update.removed);
        return;
      case 'setRemove':
        if (!this.#stagedSets.delete(update.id)) yield* sets.undesiring(update.id);
        return;
      default:
        unreachable(update);
    }
  }

  /** Undefined removes. */
  updatePolicy(id: PolicyId, program: PolicyProgram | undefined): void {
    if (program) this.#programs.set(id, program);
    else this.#programs.delete(id);
    for (const table of verdictTables) {
      for (const direction of ['ingress', 'egress'] as const) {
        const chain = this.#programmed.get(keyOf(table, direction, id));
        if (chain) this.#dirty.add(chain);
      }
    }
  }

  /** An endpoint's chain is going to name the policy's. */
  acquire(direction: Direction, id: PolicyId, table: TableName = 'mangle'): void {
    const key = keyOf(table, direction, id);
    const chain = this.#programmed.get(key) ?? newProgrammed(id, direction, table);
    this.#programmed.set(key, chain);
    if (chain.references++ === 0) this.#dirty.add(chain);
  }
  release(direction: Direction, id: PolicyId, table: TableName = 'mangle'): void {
    const chain = this.#programmed.get(keyOf(table, direction, id));
    if (chain && --chain.references === 0) this.#dirty.add(chain);
  }

  /** Everything once more at the next `flush`. */
  renderAgain(): void {
    for (const chain of this.#programmed.values()) this.#dirty.add(chain);
  }

  /** Renders what changed into wishes of the drivers, a chain a step. */
  *flush(): Generator<void> {
    for (const chain of this.#dirty) {
      if (chain.references > 0) this.#program(chain);
      else this.#remove(chain);
      this.#dirty.delete(chain);
      yield;
    }
  }

  /**
   * The order in which what is wanted now reaches the kernel, see transition.ts. Addresses that it holds are wanted in their set from now on, until
   * `releaseHeld`.
   */
  transition(): Transition {
    const { sets, tables } = this.#deps;
    const plan = planTransition({
      changes: sets.pendingChanges().filter(({ id }) => !isOwnSet(id)),
      useOf: (id) => this.#uses.of(id),
      rulesChange: tables.some((table) => table.rulesPending),
      usesKnown: this.#wasSettled,
    });
    for (const address of plan.held) this.#held.add(address);
    // After a failure those of the time before are still held.
    if (this.#held.size > 0) sets.desire(heldSetId, 'net', this.#held);
    return plan;
  }

  /** Everything flushed is in the kernel; a chain a step. */
  *settled(): Generator<void> {
    for (const chain of this.#changed) {
      if (chain.rulesBefore) this.#uses.remove(chain.direction, chain.rulesBefore);
      chain.rulesBefore = chain.wanted ?? [];
      this.#uses.add(chain.direction, chain.rulesBefore);
      this.#changed.delete(chain);
      yield;
    }
    for (const { direction, rulesBefore } of this.#removed.splice(0))
      if (rulesBefore) this.#uses.remove(direction, rulesBefore);
    this.#wasSettled = true;
  }

  /** After `settled`: nothing has to be held any more. False when nothing was. */
  releaseHeld(): boolean {
    if (this.#held.size === 0) return false;
    this.#held.clear();
    this.#deps.sets.desire(heldSetId, 'net', []);
    return true;
  }

  #rules(chain: Programmed): readonly PolicyRule[] | undefined {
    return this.#programs.get(chain.id)?.[chain.direction];
  }

  #program(chain: Programmed): void {
    // Its last endpoints are on their way out (their chains go in a pause): until then they keep the rules that they have.
    if (chain.rulesBefore && !this.#programs.has(chain.id)) return;
    this.#changed.add(chain);
    this.#want(chain, this.#rules(chain) ?? []);
    this.#broken.delete(chain);
    const excepts = new Map<SetId, readonly Cidr[]>();
    for (const table of this.#deps.tables) {
      const rendered = this.#render(chain, table.family);
      for (const [id, members] of rendered.exceptSets) excepts.set(id, members);
      table.desireChain(chain.table, policyChain(this.#names, chain.direction, chain.id), rendered.rules);
    }
    for (const [id, members] of excepts) this.#useExcept(id, members);
    for (const id of chain.excepts) this.#dropExcept(id);
    chain.excepts = [...excepts.keys()];
  }

  #render(chain: Programmed, family: IpFamily): ReturnType<typeof renderPolicy> {
    const { sets, log } = this.#deps;
    const rules = this.#rules(chain);
    const options = this.#deps.flowLog?.(family);
    const flowLog = options && { ...options, direction: chain.direction };
    try {
      if (!rules) throw new Error('the policy is named and was never known');
      const setName = (id: SetId): string | undefined => sets.nameOf(id, family);
      return renderPolicy(rules, chain.id, { names: this.#names, family, setName, ...(flowLog ? { flowLog } : {}) });
    } catch (error) {
      this.#broken.set(chain, errorText(error));
      log.error(
        { policy: chain.id, direction: chain.direction, family, reason: errorText(error) },
        'policy cannot be rendered, it drops everything',
      );
      return { rules: closed(chain, options), exceptSets: new Map() };
    }
  }

  #remove(chain: Programmed): void {
    this.#programmed.delete(keyOf(chain.table, chain.direction, chain.id));
    this.#broken.delete(chain);
    this.#changed.delete(chain);
    this.#want(chain, undefined);
    this.#removed.push(chain);
    for (const table of this.#deps.tables)
      table.undesireChain(chain.table, policyChain(this.#names, chain.direction, chain.id));
    for (const id of chain.excepts) this.#dropExcept(id);
    chain.excepts = [];
  }

  #want(chain: Programmed, rules: readonly PolicyRule[] | undefined): void {
    if (chain.wanted) this.#uses.remove(chain.direction, chain.wanted);
    chain.wanted = rules;
    if (rules) this.#uses.add(chain.direction, rules);
  }

  #useExcept(id: SetId, members: readonly Cidr[]): void {
    const uses = this.#exceptUse.get(id) ?? 0;
    this.#exceptUse.set(id, uses + 1);
    if (uses === 0) this.#deps.sets.desire(id, 'net', members);
  }
  #dropExcept(id: SetId): void {
    const uses = this.#exceptUse.get(id)! - 1;
    if (uses > 0) this.#exceptUse.set(id, uses);
    else {
      this.#exceptUse.delete(id);
      this.#deps.sets.undesire(id);
    }
  }
}

function closed({ id, direction }: Programmed, options: FlowLogOptions | undefined): Rule[] {
  const comment = `${id} cannot be rendered`;
  const by = { type: 'rule', policy: id, rule: 0 } as const;
  return [
    ...flowLogRules('', { verdict: 'denied', direction, by }, comment, options),
    { match: '', target: '-j DROP', comment },
  ];
}

function newProgrammed(id: PolicyId, direction: Direction, table: TableName): Programmed {
  return { table, id, direction, references: 0, rulesBefore: undefined, wanted: undefined, excepts: [] };
}
