/** What the policy half of the dataplane needs, takes, and says of itself. */
import type { IpAddress, IpFamily, Startable } from '#kit';
import type { EndpointId, Failsafe, PolicyUpdate, SetId, WorkloadEndpoint } from '#model';
import type { ApplyOptions, ApplyTiming } from './apply.ts';
import type { CleanupReport } from './cleanup.ts';
import type { WriteCounters } from './drivers/command.ts';
import type { PassingMember } from './drivers/ipset/saved-sets.ts';
import type { Backend } from './drivers/iptables/backend.ts';
import type { NftTables } from './drivers/nft-tables.ts';
import type { FlowCounts } from './flow-cutter.ts';
import type { Guard } from './managers/guard.ts';
import type { HostEndpointAt, NodeInterfaces, RefusedHostEndpoint } from './managers/host-endpoints.ts';
import type { Pool } from './managers/masquerade.ts';
import type { RefusedPolicy } from './managers/policy.ts';
import type { PartsDeps } from './policy-parts.ts';
import type { FlowLogOptions } from './render/flow-log.ts';
import type { Names } from './render/names.ts';
import type { RuleCounter } from './rule-counters.ts';

/** Policies that cannot be rendered, named in the status. */
export const refusedReportedMax = 200;

export interface PolicyDataplaneOptions extends Partial<Names>, Partial<ApplyOptions> {
  /** `auto` looks at what this node's Kubernetes uses. */
  readonly backend: 'auto' | Backend;
  /** At least two bits that nobody else uses; default 0x000f0000. */
  readonly markMask?: number;
  readonly families?: readonly IpFamily[];
  /** Absent: no rule tells of packets. */
  readonly flowLog?: FlowLogOptions;
  /** Queue of nfnetlink_queue over which DNS answers to pods go; absent: domain names match nothing. */
  readonly dnsQueue?: number;
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
  /** Why domain names match nothing. */
  readonly dnsRefused: string | undefined;
  readonly endpoints: { readonly known: number; readonly programmed: number };
  readonly hostEndpoints: { readonly programmed: number; readonly refused: readonly RefusedHostEndpoint[] };
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
  /** Which host endpoint an interface is of may follow from its addresses. */
  setInterfaces(interfaces: NodeInterfaces): void;
  /** Ports that no policy of a host endpoint closes; Calico's before the first call. */
  setFailsafe(failsafe: Failsafe): void;
  /** The host endpoint whose policies are asked of what passes the interface. */
  hostEndpointOf(interfaceName: string): HostEndpointAt | undefined;
  /** DNS servers whose answers to pods are handed over, while some set is of domain names. */
  setDnsServers(servers: readonly IpAddress[]): void;
  /**
   * Addresses of names, new or once more, that are in the kernel when this returns if their set is; a `setDelta` of the new ones has to follow.
   *
   * @param id of a set of domain names.
   */
  learn(id: SetId, members: readonly PassingMember[]): void;
  /** What the set held when sets were last read back, and holds still: of an earlier agent. */
  learntBefore(id: SetId): readonly PassingMember[];
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
