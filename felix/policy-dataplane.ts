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
 *   5. behind it: flows of what changed are cut, or go on again (flow-cutter.ts)
 * In a pause: endpoints that were removed, and chains and sets that nothing names any more.
 * Where that order would let a packet pass that neither the old nor the new state lets pass, some sets turn 2 and 4 round, and the new connections
 * of some addresses are held: see managers/transition.ts.
 *
 * Restart: before the mark "in sync" nothing is written. On a fresh node there is then nothing of ours, and CNI has to refuse pods; after a restart
 * the rules of the earlier run stay in force. Fail closed: an interface is unknown, and drops, until both its policy and its wiring are known.
 */
import { errorText, type IpAddress, type IpFamily, type Startable } from '#kit';
import type { EndpointId, PolicyUpdate, WorkloadEndpoint } from '#model';
import { ApplyLoop, type ApplyOptions, type ApplyTiming } from './apply.ts';
import { type CleanupReport, cleanupPolicyDataplane } from './cleanup.ts';
import { newCounters, type WriteCounters } from './drivers/command.ts';
import { type Backend, detectBackend } from './drivers/iptables/backend.ts';
import { cleanupIptables } from './drivers/iptables/cleanup.ts';
import { readCounters } from './drivers/iptables/counters.ts';
import type { IptablesFamily } from './drivers/iptables/iptables.ts';
import type { NftTables } from './drivers/nft-tables.ts';
import type { FlowCounts } from './flow-cutter.ts';
import { checkWorkload } from './managers/endpoints.ts';
import type { Guard } from './managers/guard.ts';
import type { Pool } from './managers/masquerade.ts';
import type { RefusedPolicy } from './managers/policy.ts';
import { paced } from './pace.ts';
import { applyUpdate, makeParts, type Parts, type PartsDeps, restoreCalls, tableCounters } from './policy-parts.ts';
import type { FlowLogOptions } from './render/flow-log.ts';
import { defaultMarkMask, marksFromMask } from './render/marks.ts';
import { checkNames, defaultNames, type Names } from './render/names.ts';
import { type RuleCounter, ruleCounters, type WrittenRules } from './rule-counters.ts';

/** Policies that cannot be rendered, named in the status. */
const refusedReportedMax = 200;

export interface PolicyDataplaneOptions extends Partial<Names>, Partial<ApplyOptions> {
  /** `auto` looks at what this node's Kubernetes uses. */
  readonly backend: 'auto' | Backend;
  /** At least two bits that nobody else uses; default 0x000f0000. */
  readonly markMask?: number;
  readonly families?: readonly IpFamily[];
  /** Absent: no rule tells of packets. */
  readonly flowLog?: FlowLogOptions;
  /** XTABLES_LOCKFILE, for hosts with several agents; default the machine's. */
  readonly lockFile?: string;
}

export interface PolicyDataplaneDeps extends PartsDeps {
  readonly tables: NftTables;
  /** Told of every run. */
  readonly onApply?: (timing: ApplyTiming) => void;
}

export interface PolicyDataplaneStatus {
  /** Absent before `start`. */
  readonly backend: Backend | undefined;
  readonly inSync: boolean;
  /** Everything handed in is in the kernel. */
  readonly applied: boolean;
  /** Failed runs in a row, and why the last one failed. */
  readonly failures: number;
  readonly lastError: string | undefined;
  /** Why flows are not logged though they should be. */
  readonly flowLogRefused: string | undefined;
  readonly endpoints: { readonly known: number; readonly programmed: number };
  readonly policies: {
    readonly known: number;
    readonly broken: number;
    /** The broken ones, at most `refusedReportedMax`. */
    readonly refused: readonly RefusedPolicy[];
  };
  readonly sets: number;
  /** Readings back that found something else than was written, and put it right: others change our rules. */
  readonly repairs: number;
  readonly flows: FlowCounts;
  readonly counters: { readonly iptables: WriteCounters; readonly ipset: WriteCounters };
}

export interface PolicyDataplane extends Startable {
  /** @param chosen instead of what the options say: what only the model knows, when it is complete. */
  start(
    chosen?: Pick<PolicyDataplaneOptions, 'markMask' | 'flowLog'> & Partial<Pick<PolicyDataplaneOptions, 'backend'>>,
  ): Promise<void>;
  /** In dependency order, as the engine emits. */
  apply(updates: readonly PolicyUpdate[]): void;
  /** @throws RangeError when the interface's name is not one of ours. */
  setEndpoint(endpoint: WorkloadEndpoint): void;
  /**
   * With `interfaceName`: only while the endpoint is on that interface (a pod of the same name may have come since). Its chains go in the next pause,
   * within 2 s; `whenApplied` does not wait for that.
   */
  removeEndpoint(id: EndpointId, interfaceName?: string): void;
  setPools(pools: readonly Pool[]): void;
  /** Ports of nodes that no pod reaches, whatever policy says. */
  setGuard(guard: Guard): void;
  /**
   * What was handed in may have changed the verdict on flows from and to these addresses (`pods`: on every pod's): they are judged when it is in
   * force. All are once more at each refresh.
   */
  recheckFlows(addresses: Iterable<IpAddress> | 'pods'): void;
  /** The model is complete: from now on the kernel is written. */
  setInSync(): void;
  /** Resolves when everything handed in before is in the kernel; not before `setInSync`. @throws Error when stopped first. */
  whenApplied(): Promise<void>;
  /** Its policy and wiring were part of a run that succeeded, on that interface when one is given. */
  endpointInForce(id: EndpointId, interfaceName?: string): boolean;
  /**
   * What each rule of the endpoint's programs counted since it was written. Undefined while it has no program or no interface here.
   *
   * @throws Error when the kernel's rules cannot be read.
   */
  counters(id: EndpointId): Promise<readonly RuleCounter[] | undefined>;
  /** Reads everything back and repairs it, now instead of at the next refresh. */
  resync(): void;
  status(): PolicyDataplaneStatus;
  /** Stops, and removes all that was ever made, of both back ends. */
  cleanup(): Promise<CleanupReport>;
}

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
  #inbox: ((parts: Parts) => void)[] = [];
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
    const tidy = (): Promise<void> => this.#tidy();
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
    });
    await Promise.all([parts.sets.read(), ...parts.tables.map((table) => table.read())]);
    this.#parts = parts;
    if (this.#inSync) this.#loop.open();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
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
      endpoints: { known: parts?.endpoints.workloadCount ?? 0, programmed: parts?.endpoints.programmedCount ?? 0 },
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

  #put(change: (parts: Parts) => void): void {
    this.#inbox.push(change);
    this.#loop.markDirty();
  }

  #note(addresses: Iterable<IpAddress>): void {
    for (const address of addresses) this.#recheck.add(address);
  }

  /** A refused change must not keep the ones after it from the kernel: what it leaves half known drops. */
  #take(change: (parts: Parts) => void, parts: Parts): void {
    try {
      change(parts);
    } catch (error) {
      this.#deps.log.error({ reason: errorText(error) }, 'change of the dataplane refused');
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
    }
    // Nothing new is wanted and the last write succeeded: whatever has to be written was changed by others.
    const quiet = resync && !isAnew && this.#inbox.length === 0 && this.#loop.failures === 0;
    const before = restoreCalls(parts);
    await paced(clock, this.#inbox.splice(0), (change) => this.#take(change, parts));
    await paced(clock, parts.endpoints.flush());
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
  async #write({ tables, sets, policies, endpoints, cutter }: Parts, resync: boolean): Promise<void> {
    await paced(this.#deps.clock, policies.flush());
    await Promise.all([
      ...(resync || sets.stale ? [sets.read()] : []),
      ...tables.filter((table) => resync || table.stale).map((table) => table.read()),
    ]);
    const { contested } = policies.transition();
    await sets.grow(contested);
    await Promise.all(tables.map((table) => table.write()));
    await sets.shrink();
    await paced(this.#deps.clock, policies.settled());
    if (policies.releaseHeld()) await sets.shrink();
    this.#inForce.clear();
    for (const [id, interfaceName] of endpoints.programmed()) this.#inForce.set(id, interfaceName);
    cutter?.recheck(this.#recheck);
    this.#recheck.clear();
  }

  async #tidy(): Promise<void> {
    const parts = this.#parts!;
    const { tables, sets, backend, endpoints } = parts;
    await paced(this.#deps.clock, this.#inbox.splice(0), (change) => this.#take(change, parts));
    endpoints.flushRemovals();
    await this.#write(parts, false);
    await Promise.all(tables.map((table) => table.sweep()));
    await sets.sweep();
    if (this.#otherBackendClean) return;
    // Rules of an earlier run on the other back end would drop pods that they do not know.
    const other: Backend = backend === 'nft' ? 'legacy' : 'nft';
    for (const family of this.#families) {
      const options = { backend: other, family, chainPrefix: this.#names.chainPrefix, env: this.#env };
      const { chains } = await cleanupIptables(this.#deps, options);
      if (chains > 0)
        this.#deps.log.warn({ backend: other, family, chains }, 'removed our rules from the other back end');
    }
    this.#otherBackendClean = true;
  }
}
