/**
 * Whether this kernel takes the rules that tell of packets: asked of each family by one chain that nothing jumps to, written by itself
 * ahead of all else. Where it is refused policies are written without such rules, and it is asked again when everything is read back: modules may have
 * been loaded. An agent that starts again finds the chain, and asks nothing.
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
  readonly #refused = new Map<IpFamily, string>();

  constructor(deps: FlowLogDeps, options: { readonly names: Names; readonly wanted: FlowLogOptions | undefined }) {
    this.#deps = deps;
    this.#names = options.names;
    this.#wanted = options.wanted;
  }

  /**
   * Asks each family that has not taken them; before policies and endpoints are rendered.
   *
   * @returns whether one takes them now: everything is to be rendered again.
   */
  async ask(): Promise<boolean> {
    if (!this.#wanted) return false;
    const label = { verdict: 'denied', direction: 'ingress', by: { type: 'none' } } as const;
    const rules = flowLogRules('', label, 'nothing, no rule jumps here: the kernel takes such rules', this.#wanted);
    const before = this.#taken.size;
    for (const table of this.#deps.tables) {
      if (this.#taken.has(table.family)) continue;
      const reason = await table.tryChain('mangle', flowLogChain(this.#names), rules);
      if (reason === undefined) {
        this.#taken.add(table.family);
        this.#refused.delete(table.family);
        continue;
      }
      if (!this.#refused.has(table.family))
        this.#deps.log.warn({ family: table.family, reason }, 'flows are not logged: the kernel refuses the rules');
      this.#refused.set(table.family, reason);
    }
    return this.#taken.size > before;
  }

  of(family: IpFamily): FlowLogOptions | undefined {
    return this.#taken.has(family) ? this.#wanted : undefined;
  }
  /** Why packets of a family are not told of though they should be. */
  get refused(): string | undefined {
    const [first] = this.#refused;
    if (!first) return undefined;
    const [family, reason] = first;
    return `the kernel takes no rules that log IPv${family} packets, so denied flows are not seen: load the modules nfnetlink_log, xt_NFLOG (or nft_log) and xt_limit (nft_limit), or set flowLog: off; it is tried again when rules are read back; ${reason}`;
  }
}
