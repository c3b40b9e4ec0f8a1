/** natOutgoing: what a pod of such a pool sends to outside all pools gets the node's address. Without such a pool the nat table is left alone. */
import { type Cidr, familyOf } from '#kit';
import type { Ipsets } from '../drivers/ipset/ipset.ts';
import type { IptablesFamily } from '../drivers/iptables/iptables.ts';
import { masqueradeSetId, natChain, natJump, natRules, poolSetId } from '../render/base.ts';
import type { Marks } from '../render/marks.ts';
import type { Names } from '../render/names.ts';

export interface Pool {
  readonly cidr: Cidr;
  readonly natOutgoing: boolean;
}

export class MasqueradeManager {
  readonly #deps: { readonly tables: readonly IptablesFamily[]; readonly sets: Ipsets };
  readonly #options: { readonly names: Names; readonly marks: Marks };

  constructor(
    deps: { readonly tables: readonly IptablesFamily[]; readonly sets: Ipsets },
    options: { readonly names: Names; readonly marks: Marks },
  ) {
    this.#deps = deps;
    this.#options = options;
  }

  setPools(pools: readonly Pool[]): void {
    const { tables, sets } = this.#deps;
    const outgoing = pools.filter((pool) => pool.natOutgoing);
    const wish = (id: string, members: readonly Pool[]): void =>
      outgoing.length > 0
        ? sets.desire(
            id,
            'net',
            members.map((pool) => pool.cidr),
          )
        : sets.undesire(id);
    wish(poolSetId, pools);
    wish(masqueradeSetId, outgoing);
    for (const table of tables) {
      const { names } = this.#options;
      if (outgoing.some((pool) => familyOf(pool.cidr) === table.family)) {
        table.desireChain('nat', natChain(names), natRules({ ...this.#options, family: table.family }));
        table.desireJump(natJump(names));
      } else {
        table.undesireJump(natJump(names));
        table.undesireChain('nat', natChain(names));
      }
    }
  }
}
