/**
 * The policy half of the dataplane: what the policy engine, CNI and the pools say, kept in iptables and ipset.
 *
 *   apply, setEndpoint, setPools ... -> inbox -> managers (policy, endpoints, masquerade) -> drivers' desired state
 *                                                                                              |
 *   start: read back          setInSync: the apply loop opens ----------------------------> kernel
 *
 * One run of the loop:
 *   1. the inbox goes through the managers; drivers that do not know what is there read it
 *   2. sets: create, add         (a thing exists before anything names it)
 *   3. chains and jumps, both families, one restore each
 *   4. sets: remove members      -> everything is in force, waiters go on
 *   5. behind it, when the programs have ended: flows of what changed are cut, or go on again (flow-cutter.ts)
 * In a pause: endpoints that were removed, and chains and sets that nothing names any more.
 * Where that order would let a packet pass that neither the old nor the new state lets pass, some sets turn 2 and 4 round, and the new connections
 * of some addresses are held: see managers/transition.ts.
 *
 * Restart: before the mark "in sync" nothing is written. On a fresh node there is then nothing of ours, and CNI has to refuse pods; after a restart
 * the rules of the earlier run stay in force. Fail closed: an interface is unknown, and drops, until both its policy and its wiring are known.
 */
import { allSettledOrThrow, errorText, type IpAddress, type IpFamily } from '#kit';
import type { EndpointId, Failsafe, PolicyUpdate, SetId, WorkloadEndpoint } from '#model';
import { ApplyLoop } from './apply.ts';
import { type CleanupReport, cleanupPolicyDataplane } from './cleanup.ts';
import { newCounters } from './drivers/command.ts';
import type { PassingMember } from './drivers/ipset/saved-sets.ts';
import { type Backend, detectBackend } from './drivers/iptables/backend.ts';
import { cleanupIptables } from './drivers/iptables/cleanup.ts';
import { readCounters } from './drivers/iptables/counters.ts';
import type { IptablesFamily } from './drivers/iptables/iptables.ts';
import { checkWorkload } from './managers/endpoints.ts';
import type { Guard } from './managers/guard.ts';
import type { HostEndpointAt, NodeInterfaces } from './managers/host-endpoints.ts';
import type { Pool } from './managers/masquerade.ts';
import { paced } from './pace.ts';
import {
  type PolicyDataplane,
  type PolicyDataplaneDeps,
  type PolicyDataplaneOptions,
  type PolicyDataplaneStatus,
  refusedReportedMax,
} from './policy-dataplane-interface.ts';
import { applyUpdate, makeParts, type Parts, restoreCalls, tableCounters } from './policy-parts.ts';
import { defaultMarkMask, marksFromMask } from './render/marks.ts';
import { checkNames, defaultNames, type Names } from './render/names.ts';
import { type RuleCounter, ruleCounters, type WrittenRules } from './rule-counters.ts';

/** Done at once, or in the steps that it returns. */
type Change = (parts: Parts) => Iterable<void> | void;

export function createPolicyDataplane(deps: PolicyDataplaneDeps, options: PolicyDataplaneOptions): PolicyDataplane {
  return new Dataplane(deps, options);
}

class Dataplane implements PolicyDataplane {
  readonly #deps: PolicyDataplaneDeps;
  readonly #options: PolicyDataplaneOptions;
  readonly #names: Names;
  readonly #families: readonly IpFamily[];
  readonly #env: Readonly<Record<string, string>>;
  readonly #loop: ApplyLoop;
  readonly #inForce = new Map<EndpointId, string>();
  /** Inputs wait here so that drivers see no new wish while a run is writing. */
  #inbox: Change[] = [];
  /** Whose flows are to be judged once what is being written is in force. */
  readonly #recheck = new Set<IpAddress>();
  #parts: Parts | undefined;
  #inSync = false;
  #otherBackendClean = false;
  #ranOnce = false;
  #repairs = 0;

  constructor(deps: PolicyDataplaneDeps, options: PolicyDataplaneOptions) {
    this.#deps = deps;
    this.#options = options;
    const { chainPrefix, setPrefix, interfacePrefix } = { ...defaultNames, ...options };
    this.#names = { chainPrefix, setPrefix, interfacePrefix };
    checkNames(this.#names);
    this.#families = options.families ?? [4, 6];
    this.#env = options.lockFile === undefined ? {} : { XTABLES_LOCKFILE: options.lockFile };
    const run = (resync: boolean): Promise<void> => this.#run(resync);
    const tidy = (goOn: () => boolean): Promise<boolean> => this.#tidy(goOn);
    const { clock, log, onApply: onRun } = deps;
    this.#loop = new ApplyLoop({ clock, log, run, tidy, onRun }, options);
  }

  async start(chosen: Parameters<PolicyDataplane['start']>[0] = {}): Promise<void> {
    const { run, log } = this.#deps;
    const wanted = chosen.backend ?? this.#options.backend;
    const backend = wanted === 'auto' ? await detectBackend(run, this.#families, this.#env) : wanted;
    log.info({ backend, detected: wanted === 'auto' }, 'iptables back end chosen');
    const mask = chosen.markMask ?? this.#options.markMask ?? defaultMarkMask;
    const parts = makeParts(this.#deps, {
      backend,
      marks: marksFromMask(mask),
      names: this.#names,
      families: this.#families,
      env: this.#env,
      flowLog: chosen.flowLog ?? this.#options.flowLog,
      dnsQueue: this.#options.dnsQueue,
    });
    await Promise.all([parts.sets.read(), ...parts.tables.map((table) => table.read())]);
    this.#parts = parts;
    if (this.#inSync) this.#loop.open();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    await this.#parts?.programsEnded();
    await this.#parts?.cutter?.stop();
  }

  apply(updates: readonly PolicyUpdate[]): void {
    if (updates.length === 0) return;
    for (const update of updates) this.#inbox.push((parts) => applyUpdate(parts, update));
    this.#loop.markDirty();
  }
  setEndpoint(endpoint: WorkloadEndpoint): void {
    checkWorkload(endpoint, this.#names);
    this.#put(({ endpoints }) => endpoints.setWorkload(endpoint));
  }
  removeEndpoint(id: EndpointId, interfaceName?: string): void {
    this.#inbox.push(({ endpoints }) => endpoints.removeWorkload(id, interfaceName));
    this.#loop.markUntidy();
  }
  setPools(pools: readonly Pool[]): void {
    this.#put(({ masquerade }) => masquerade.setPools(pools));
  }
  setGuard(wanted: Guard): void {
    this.#put(({ guard }) => guard.set(wanted));
  }
  setInterfaces(interfaces: NodeInterfaces): void {
    this.#put(({ hosts }) => hosts.setInterfaces(interfaces));
  }
  setFailsafe(failsafe: Failsafe): void {
    this.#put(({ hosts }) => hosts.setFailsafe(failsafe));
  }
  hostEndpointOf(interfaceName: string): HostEndpointAt | undefined {
    return this.#parts?.hosts.endpointOf(interfaceName);
  }
  setDnsServers(servers: readonly IpAddress[]): void {
    this.#put(({ dns }) => dns.setServers(servers));
  }
  learn(id: SetId, members: readonly PassingMember[]): void {
    this.#parts?.sets.learn(id, members);
  }
  learntBefore(id: SetId): readonly PassingMember[] {
    return this.#parts?.sets.foundIn(id) ?? [];
  }
  recheckFlows(addresses: Iterable<IpAddress> | 'pods'): void {
    this.#put(({ endpoints }) => this.#note(addresses === 'pods' ? endpoints.addresses() : addresses));
  }
  setInSync(): void {
    if (this.#inSync) return;
    this.#inSync = true;
    if (this.#parts) this.#loop.open();
  }
  whenApplied(): Promise<void> {
    return this.#loop.whenApplied();
  }
  endpointInForce(id: EndpointId, interfaceName?: string): boolean {
    const inForce = this.#inForce.get(id);
    return inForce !== undefined && (interfaceName === undefined || interfaceName === inForce);
  }
  async counters(id: EndpointId): Promise<readonly RuleCounter[] | undefined> {
    const parts = this.#parts;
    const program = parts?.endpoints.programOf(id);
    const interfaceName = this.#inForce.get(id);
    if (!parts || !program || interfaceName === undefined) return undefined;
    const names = this.#names;
    const { run } = this.#deps;
    const ofFamily = async (table: IptablesFamily): Promise<RuleCounter[]> => {
      const { family } = table;
      const counts = await readCounters(run, { backend: parts.backend, family, env: this.#env });
      const written: WrittenRules = (chain) => table.rulesOf('mangle', chain);
      return ruleCounters(program, interfaceName, { names, family, written, counts });
    };
    return (await Promise.all(parts.tables.map(ofFamily))).flat();
  }
  resync(): void {
    this.#loop.requestResync();
  }

  status(): PolicyDataplaneStatus {
    const parts = this.#parts;
    const iptables = tableCounters(parts);
    return {
      backend: parts?.backend,
      inSync: this.#inSync,
      applied: this.#inSync && parts !== undefined && !this.#loop.pending,
      failures: this.#loop.failures,
      lastError: this.#loop.lastError,
      flowLogRefused: parts?.telling.refused,
      dnsRefused: parts?.dns.refused,
      endpoints: { known: parts?.endpoints.workloadCount ?? 0, programmed: parts?.endpoints.programmedCount ?? 0 },
      hostEndpoints: { programmed: parts?.hosts.programmedCount ?? 0, refused: parts?.hosts.refused ?? [] },
      policies: {
        known: parts?.policies.policyCount ?? 0,
        broken: parts?.policies.brokenCount ?? 0,
        refused: parts?.policies.refused(refusedReportedMax) ?? [],
      },
      sets: parts?.sets.setCount ?? 0,
      repairs: this.#repairs,
      flows: parts?.cutter?.counts ?? { cut: 0, restored: 0, failures: 0 },
      counters: { iptables, ipset: { ...(parts?.sets.counters ?? newCounters()) } },
    };
  }

  async cleanup(): Promise<CleanupReport> {
    await this.stop();
    this.#inForce.clear();
    return cleanupPolicyDataplane(this.#deps, { ...this.#names, families: this.#families, env: this.#env });
  }

  #put(change: Change): void {
    this.#inbox.push(change);
    this.#loop.markDirty();
  }

  #note(addresses: Iterable<IpAddress>): void {
    for (const address of addresses) this.#recheck.add(address);
  }

  /** What was handed in. A refused change must not keep the ones after it from the kernel: what it leaves half known drops. */
  *#taken(parts: Parts): Generator<void> {
    for (const change of this.#inbox.splice(0)) {
      try {
        yield* change(parts) ?? [];
      } catch (error) {
        this.#deps.log.error({ reason: errorText(error) }, 'change of the dataplane refused');
      }
      yield;
    }
  }

  async #run(resync: boolean): Promise<void> {
    const parts = this.#parts!;
    const { clock } = this.#deps;
    const isAnew = (resync || !this.#ranOnce) && (await parts.telling.ask());
    this.#ranOnce = true;
    if (isAnew) {
      parts.renderBase();
      parts.policies.renderAgain();
      parts.endpoints.renderAgain();
      parts.hosts.renderAgain();
    }
    // Nothing new is wanted and the last write succeeded: whatever has to be written was changed by others.
    const quiet = resync && !isAnew && this.#inbox.length === 0 && this.#loop.failures === 0;
    const before = restoreCalls(parts);
    await paced(clock, this.#taken(parts));
    if (await parts.dns.flush(parts.policies.namesDomains, resync)) parts.renderBase();
    await paced(clock, parts.endpoints.flush());
    await parts.hosts.ask(resync);
    parts.hosts.flush();
    if (resync) this.#note(parts.endpoints.addresses());
    await this.#write(parts, resync);
    const written = restoreCalls(parts) - before;
    if (!quiet || written === 0) return;
    this.#repairs++;
    this.#deps.log.warn(
      { restores: written },
      'rules or sets of ours were changed by another program; they are as they should be again',
    );
  }

  /** Brings the kernel to what the managers want now, but for chains and sets that nothing names any more. */
  async #write({ tables, sets, policies, endpoints, cutter, programsEnded }: Parts, resync: boolean): Promise<void> {
    await paced(this.#deps.clock, policies.flush());
    await Promise.all([
      ...(resync || sets.stale ? [sets.read()] : []),
      ...tables.filter((table) => resync || table.stale).map((table) => table.read()),
    ]);
    const { contested } = policies.transition();
    await sets.grow(contested);
    // Neither family is still being written when anything else is tried.
    await allSettledOrThrow(tables.map((table) => table.write()));
    await sets.shrink();
    await paced(this.#deps.clock, policies.settled());
    if (policies.releaseHeld()) await sets.shrink();
    this.#inForce.clear();
    for (const [id, interfaceName] of endpoints.programmed()) this.#inForce.set(id, interfaceName);
    const addresses = [...this.#recheck];
    this.#recheck.clear();
    void programsEnded().then(() => cutter?.recheck(addresses));
  }

  async #tidy(goOn: () => boolean): Promise<boolean> {
    const parts = this.#parts!;
    const { tables, sets, backend, endpoints, hosts } = parts;
    // Until then no other program commits, and a change that comes would wait for both.
    await parts.programsEnded();
    if (!goOn()) return false;
    await paced(this.#deps.clock, this.#taken(parts));
    endpoints.flushRemovals();
    await hosts.ask(false);
    hosts.flush();
    await this.#write(parts, false);
    for (const table of tables) {
      if (!goOn()) return false;
      await table.sweep();
    }
    await parts.programsEnded();
    if (!goOn()) return false;
    await sets.sweep();
    if (this.#otherBackendClean) return true;
    // Rules of an earlier run on the other back end would drop pods that they do not know.
    const other: Backend = backend === 'nft' ? 'legacy' : 'nft';
    for (const family of this.#families) {
      const options = { backend: other, family, chainPrefix: this.#names.chainPrefix, env: this.#env };
      const { chains } = await cleanupIptables(this.#deps, options);
      if (chains > 0)
        this.#deps.log.warn({ backend: other, family, chains }, 'removed our rules from the other back end');
    }
    this.#otherBackendClean = true;
    return true;
  }
}
