/** Keeps pods from the routing protocols of nodes: a chain of guarded ports, and the set of all nodes' addresses. */
import type { IpAddress, IpFamily } from '#kit';
import type { Ipsets } from '../drivers/ipset/ipset.ts';
import type { IptablesFamily } from '../drivers/iptables/iptables.ts';
import { type GuardedPorts, guardChain, guardRules, nodeSetId } from '../render/base.ts';
import { type FlowLogOptions, tellOfDrops } from '../render/flow-log.ts';
import type { Names } from '../render/names.ts';

export interface Guard extends GuardedPorts {
  readonly nodeAddresses: readonly IpAddress[];
}

export interface GuardDeps {
  readonly tables: readonly IptablesFamily[];
  readonly sets: Ipsets;
  /** Of a family. Absent: nobody is told of packets. */
  readonly flowLog?: (family: IpFamily) => FlowLogOptions | undefined;
}

export class GuardManager {
  readonly #deps: GuardDeps;
  readonly #names: Names;
  #ports: GuardedPorts = { tcp: [], udp: [] };

  /** The base chains name chain and set from the first write on, so both are there from the start. */
  constructor(deps: GuardDeps, options: { readonly names: Names }) {
    this.#deps = deps;
    this.#names = options.names;
    this.set({ nodeAddresses: [], tcp: [], udp: [] });
  }

  set({ nodeAddresses, ...ports }: Guard): void {
    this.#deps.sets.desire(nodeSetId, 'ip', [...new Set(nodeAddresses)]);
    this.#ports = ports;
    this.render();
  }

  render(): void {
    const rules = guardRules(this.#ports);
    for (const table of this.#deps.tables) {
      const told = tellOfDrops(rules, this.#names, this.#deps.flowLog?.(table.family));
      table.desireChain('mangle', guardChain(this.#names), told.rules);
      for (const [name, below] of told.chains) table.desireChain('mangle', name, below);
    }
  }
}
