/**
 * The rules by which DNS answers reach the agent: there while some set of names is wanted, and a trusted server known. Whether the kernel takes
 * them (NFQUEUE may be missing) is asked of each family first, by the one chain that needs it; where it is refused nothing holds answers, and
 * names match nothing.
 */
import type { IpAddress, IpFamily, Logger } from '#kit';
import type { IptablesFamily } from '../drivers/iptables/iptables.ts';
import { type DnsWatch, dnsChains } from '../render/dns.ts';
import type { Marks } from '../render/marks.ts';
import { dnsAnswerChain, dnsChain, type Names } from '../render/names.ts';

export interface DnsDeps {
  readonly tables: readonly IptablesFamily[];
  readonly log: Logger;
}

export interface DnsOptions {
  readonly names: Names;
  readonly marks: Marks;
  /** Absent: nobody reads answers. */
  readonly queue: number | undefined;
}

export class DnsManager {
  readonly #deps: DnsDeps;
  readonly #options: DnsOptions;
  readonly #taken = new Set<IpFamily>();
  readonly #refused = new Map<IpFamily, string>();
  #servers: readonly IpAddress[] = [];
  #dirty = false;

  constructor(deps: DnsDeps, options: DnsOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  setServers(servers: readonly IpAddress[]): void {
    this.#servers = servers;
    this.#dirty = true;
  }
  setsChanged(): void {
    this.#dirty = true;
  }

  /**
   * Wishes for what changed.
   *
   * @param again asks a kernel that refused once more.
   * @returns whether the base chains are to be rendered again: `of` says something else now.
   */
  async flush(isWanted: boolean, again: boolean): Promise<boolean> {
    const { queue } = this.#options;
    if (queue === undefined || !(this.#dirty || (again && this.#refused.size > 0))) return false;
    this.#dirty = false;
    const before = [...this.#taken].join();
    for (const table of this.#deps.tables) {
      const watch: DnsWatch = { queue, servers: this.#servers };
      if (isWanted && (await this.#takes(table, watch, again))) this.#desire(table, watch);
      else this.#undesire(table);
    }
    return [...this.#taken].join() !== before;
  }

  /** Answers of this family go by way of the agent. */
  of(family: IpFamily): boolean {
    return this.#taken.has(family);
  }
  /** Why names match nothing in a family. */
  get refused(): string | undefined {
    const [first] = this.#refused;
    if (!first) return undefined;
    const [family, reason] = first;
    return `the kernel takes no rules that hand over IPv${family} packets, so addresses of domain names are not learnt: load the modules nfnetlink_queue and xt_NFQUEUE (or nft_queue); it is tried again when rules are read back; ${reason}`;
  }

  async #takes(table: IptablesFamily, watch: DnsWatch, again: boolean): Promise<boolean> {
    const { family } = table;
    if (this.#taken.has(family)) return true;
    if (this.#refused.has(family) && !again) return false;
    const answer = this.#chains(table, watch).find(({ name }) => name === dnsAnswerChain(this.#options.names))!;
    const reason = await table.tryChain('mangle', answer.name, answer.rules);
    if (reason === undefined) {
      this.#refused.delete(family);
      return true;
    }
    if (!this.#refused.has(family))
      this.#deps.log.warn(
        { family, reason },
        'domain names match nothing: the kernel refuses the rules for DNS answers',
      );
    this.#refused.set(family, reason);
    return false;
  }

  #chains({ family }: IptablesFamily, watch: DnsWatch): ReturnType<typeof dnsChains> {
    const { names, marks } = this.#options;
    return dnsChains({ names, marks, family }, watch);
  }
  #desire(table: IptablesFamily, watch: DnsWatch): void {
    for (const { name, rules } of this.#chains(table, watch)) table.desireChain('mangle', name, rules);
    this.#taken.add(table.family);
  }
  #undesire(table: IptablesFamily): void {
    const { names } = this.#options;
    if (!this.#taken.delete(table.family)) return;
    for (const name of [dnsChain(names), dnsAnswerChain(names)]) table.undesireChain('mangle', name);
  }
}
