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
import { type Direction, type Names, policyChain } from '../render/names.ts';
import { renderPolicy } from '../render/policy.ts';
import type { Rule } from '../render/rule.ts';

export interface PolicyDeps {
  readonly tables: readonly IptablesFamily[];
  readonly sets: Ipsets;
  readonly log: Logger;
}

/** One chain's worth of a policy. */
interface Programmed {
  readonly id: PolicyId;
  readonly direction: Direction;
  /** Endpoint chains that name it. */
  references: number;
  /** What the kernel holds; undefined before it was in force. */
  rulesBefore: readonly PolicyRule[] | undefined;
  /** Except sets per family that its rules name. */
  excepts: readonly SetId[];
}

type SetUpdate = Extract<PolicyUpdate, { type: 'set' | 'setDelta' | 'setRemove' }>;

export class PolicyManager {
  readonly #deps: PolicyDeps;
  readonly #names: Names;
  readonly #programs = new Map<PolicyId, PolicyProgram>();
  readonly #programmed = new Map<string, Programmed>();
  readonly #dirty = new Set<Programmed>();
  /** Could not be rendered; tried again when sets come. */
  readonly #broken = new Set<Programmed>();
  readonly #exceptUse = new Map<SetId, number>();
  /** Rendered since the last `settled`. */
  readonly #changed = new Set<Programmed>();

  constructor(deps: PolicyDeps, options: { readonly names: Names }) {
    this.#deps = deps;
    this.#names = options.names;
  }

  get policyCount(): number {
    return this.#programs.size;
  }
  /** Chains that drop everything because they could not be rendered. */
  get brokenCount(): number {
    return this.#broken.size;
  }

  updateSet(update: SetUpdate): void {
    const { sets } = this.#deps;
    switch (update.type) {
      case 'set': {
        const before = sets.typeOf(update.id);
        sets.desire(update.id, update.setType, update.members);
        if (before === undefined) for (const chain of this.#broken) this.#dirty.add(chain);
        else if (before !== update.setType) for (const chain of this.#programmed.values()) this.#dirty.add(chain);
        return;
      }
      case 'setDelta':
        sets.delta(update.id, update.added, update.removed);
        return;
      case 'setRemove':
        sets.undesire(update.id);
        return;
      default:
        unreachable(update);
    }
  }

  /** Undefined removes. */
  updatePolicy(id: PolicyId, program: PolicyProgram | undefined): void {
    if (program) this.#programs.set(id, program);
    else this.#programs.delete(id);
    for (const direction of ['ingress', 'egress'] as const) {
      const chain = this.#programmed.get(`${direction} ${id}`);
      if (chain) this.#dirty.add(chain);
    }
  }

  /** An endpoint's chain is going to name the policy's. */
  acquire(direction: Direction, id: PolicyId): void {
    const key = `${direction} ${id}`;
    const chain = this.#programmed.get(key) ?? { id, direction, references: 0, rulesBefore: undefined, excepts: [] };
    this.#programmed.set(key, chain);
    if (chain.references++ === 0) this.#dirty.add(chain);
  }
  release(direction: Direction, id: PolicyId): void {
    const chain = this.#programmed.get(`${direction} ${id}`);
    if (chain && --chain.references === 0) this.#dirty.add(chain);
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
   * Sets that rules name which change in this apply, see `Ipsets.grow`. Of a set that only ever allows, members go first and come last: nothing opens
   * that neither the old nor the new policy allows. (A set that a deny rule names grows first, as all others do.)
   */
  contestedSets(): Set<SetId> {
    const allowing = new Set<SetId>();
    const other = new Set<SetId>();
    for (const chain of this.#changed) {
      if (!chain.rulesBefore) continue;
      for (const rule of [...chain.rulesBefore, ...(this.#rules(chain) ?? [])]) {
        for (const { id, not } of setsOf(rule)) {
          // Whoever comes into a set that a rule excludes is denied where it allows, and the other way round.
          const opens = not ? rule.action === 'deny' : rule.action === 'allow';
          (opens ? allowing : other).add(id);
        }
      }
    }
    return allowing.difference(other);
  }

  /** Everything flushed is in the kernel. */
  settled(): void {
    for (const chain of this.#changed) chain.rulesBefore = this.#rules(chain) ?? [];
    this.#changed.clear();
  }

  #rules(chain: Programmed): readonly PolicyRule[] | undefined {
    return this.#programs.get(chain.id)?.[chain.direction];
  }

  #program(chain: Programmed): void {
    // Its last endpoints are on their way out (their chains go in a pause): until then they keep the rules that they have.
    if (chain.rulesBefore && !this.#programs.has(chain.id)) return;
    this.#changed.add(chain);
    this.#broken.delete(chain);
    const excepts = new Map<SetId, readonly Cidr[]>();
    for (const table of this.#deps.tables) {
      const rendered = this.#render(chain, table.family);
      for (const [id, members] of rendered.exceptSets) excepts.set(id, members);
      table.desireChain('mangle', policyChain(this.#names, chain.direction, chain.id), rendered.rules);
    }
    for (const [id, members] of excepts) this.#useExcept(id, members);
    for (const id of chain.excepts) this.#dropExcept(id);
    chain.excepts = [...excepts.keys()];
  }

  #render(chain: Programmed, family: IpFamily): ReturnType<typeof renderPolicy> {
    const { sets, log } = this.#deps;
    const rules = this.#rules(chain);
    try {
      if (!rules) throw new Error('the policy is named and was never known');
      return renderPolicy(rules, chain.id, { names: this.#names, family, setName: (id) => sets.nameOf(id, family) });
    } catch (error) {
      this.#broken.add(chain);
      log.error(
        { policy: chain.id, direction: chain.direction, family, reason: errorText(error) },
        'policy cannot be rendered, it drops everything',
      );
      return { rules: [closed(chain.id)], exceptSets: new Map() };
    }
  }

  #remove(chain: Programmed): void {
    this.#programmed.delete(`${chain.direction} ${chain.id}`);
    this.#broken.delete(chain);
    this.#changed.delete(chain);
    for (const table of this.#deps.tables)
      table.undesireChain('mangle', policyChain(this.#names, chain.direction, chain.id));
    for (const id of chain.excepts) this.#dropExcept(id);
    chain.excepts = [];
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

function closed(id: PolicyId): Rule {
  return { match: '', target: '-j DROP', comment: `${id} cannot be rendered` };
}

function* setsOf(rule: PolicyRule): Generator<{ readonly id: SetId; readonly not: boolean }> {
  const { source, destination, destinationNamedPorts, conditions } = rule;
  if (source?.type === 'set') yield { id: source.set, not: false };
  if (destination?.type === 'set') yield { id: destination.set, not: false };
  if (destinationNamedPorts !== undefined) yield { id: destinationNamedPorts, not: false };
  for (const condition of conditions ?? []) {
    if (condition.type !== 'ports') yield { id: condition.set, not: condition.not };
  }
}
