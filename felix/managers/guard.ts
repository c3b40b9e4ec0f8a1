/** Keeps pods from the routing protocols of nodes: a chain of guarded ports, and the set of all nodes' addresses. */
import type { IpAddress } from '#kit';
import type { Ipsets } from '../drivers/ipset/ipset.ts';
import type { IptablesFamily } from '../drivers/iptables/iptables.ts';
import { type GuardedPorts, guardChain, guardRules, nodeSetId } from '../render/base.ts';
import type { Names } from '../render/names.ts';

export interface Guard extends GuardedPorts {
  readonly nodeAddresses: readonly IpAddress[];
}

export class GuardManager {
  readonly #deps: { readonly tables: readonly IptablesFamily[]; readonly sets: Ipsets };
  readonly #names: Names;

  /** The base chains name chain and set from the first write on, so both are there from the start. */
  constructor(
    deps: { readonly tables: readonly IptablesFamily[]; readonly sets: Ipsets },
    options: { readonly names: Names },
  ) {
    this.#deps = deps;
    this.#names = options.names;
    this.set({ nodeAddresses: [], tcp: [], udp: [] });
  }

  set({ nodeAddresses, ...ports }: Guard): void {
    this.#deps.sets.desire(nodeSetId, 'ip', [...new Set(nodeAddresses)]);
    for (const table of this.#deps.tables) table.desireChain('mangle', guardChain(this.#names), guardRules(ports));
  }
}
