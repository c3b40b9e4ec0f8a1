/**
 * Chains that call the policies of a tier in order, one for all endpoints that have the same ones. Counted: a chain is there while an endpoint's chain
 * names it.
 */
import type { PolicyId, TierProgram } from '#model';
import type { IptablesFamily } from '../drivers/iptables/iptables.ts';
import { renderGroup } from '../render/endpoint.ts';
import type { Marks } from '../render/marks.ts';
import { type Direction, groupChain, type Names } from '../render/names.ts';

/**
 * Fewer are called from the endpoint's chain: a pod whose labels change gets one call more or less there, which is quicker to write than a chain for a
 * selection of policies that no other pod has.
 */
export const groupedMin = 24;

export class PolicyGroups {
  readonly #tables: readonly IptablesFamily[];
  readonly #names: Names;
  readonly #marks: Marks;
  /** By chain. */
  readonly #references = new Map<string, number>();

  constructor(tables: readonly IptablesFamily[], options: { readonly names: Names; readonly marks: Marks }) {
    this.#tables = tables;
    this.#names = options.names;
    this.#marks = options.marks;
  }

  /** Undefined: these few are called one by one. */
  chainOf(direction: Direction, policies: readonly PolicyId[]): string | undefined {
    return policies.length < groupedMin ? undefined : groupChain(this.#names, direction, policies);
  }

  /** An endpoint's chain is going to name those of its tiers. */
  acquire(direction: Direction, tiers: readonly TierProgram[]): void {
    for (const { policies } of tiers) {
      const chain = this.chainOf(direction, policies);
      if (chain === undefined) continue;
      const before = this.#references.get(chain) ?? 0;
      this.#references.set(chain, before + 1);
      if (before > 0) continue;
      const rules = renderGroup(policies, direction, { names: this.#names, marks: this.#marks });
      for (const table of this.#tables) table.desireChain('mangle', chain, rules);
    }
  }

  release(direction: Direction, tiers: readonly TierProgram[]): void {
    for (const { policies } of tiers) {
      const chain = this.chainOf(direction, policies);
      if (chain === undefined) continue;
      const left = this.#references.get(chain)! - 1;
      if (left > 0) {
        this.#references.set(chain, left);
        continue;
      }
      this.#references.delete(chain);
      for (const table of this.#tables) table.undesireChain('mangle', chain);
    }
  }
}
