/**
 * Whether this kernel takes the rules that tell of packets: asked of each family by one chain that nothing jumps to, written by itself
 * ahead of all else. Where it is refused policies are written without such rules. An agent that starts again finds the chain, and asks nothing.
 */
import type { IpFamily, Logger } from '#kit';
import type { IptablesFamily } from '../drivers/iptables/iptables.ts';
import { type FlowLogOptions, flowLogRules } from '../render/flow-log.ts';
import { flowLogChain, type Names } from '../render/names.ts';

export interface FlowLogDeps {
  readonly tables: readonly IptablesFamily[];
  readonly log: Logger;
}

export class FlowLogManager {
  readonly #deps: FlowLogDeps;
  readonly #names: Names;
  readonly #wanted: FlowLogOptions | undefined;
  readonly #taken = new Set<IpFamily>();
  #asked = false;
  #refused: string | undefined;

  constructor(deps: FlowLogDeps, options: { readonly names: Names; readonly wanted: FlowLogOptions | undefined }) {
    this.#deps = deps;
    this.#names = options.names;
    this.#wanted = options.wanted;
  }

  /** Once; before policies and endpoints are rendered. */
  async ask(): Promise<void> {
    if (this.#asked || !this.#wanted) return;
    this.#asked = true;
    const label = { verdict: 'denied', direction: 'ingress', by: { type: 'none' } } as const;
    const rules = flowLogRules('', label, 'nothing, no rule jumps here: the kernel takes such rules', this.#wanted);
    for (const table of this.#deps.tables) {
      const reason = await table.tryChain('mangle', flowLogChain(this.#names), rules);
      if (reason === undefined) {
        this.#taken.add(table.family);
        continue;
      }
      this.#refused = `the kernel takes no rules that log IPv${table.family} packets, so denied flows are not seen: load the modules nfnetlink_log, xt_NFLOG (or nft_log) and xt_limit (nft_limit) and restart the agent, or set flowLog: off; ${reason}`;
      this.#deps.log.warn({ family: table.family, reason }, 'flows are not logged: the kernel refuses the rules');
    }
  }

  of(family: IpFamily): FlowLogOptions | undefined {
    return this.#taken.has(family) ? this.#wanted : undefined;
  }
  /** Why packets of a family are not told of though they should be. */
  get refused(): string | undefined {
    return this.#refused;
  }
}
