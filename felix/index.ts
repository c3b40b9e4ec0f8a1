export type { ApplyTiming } from './apply.ts';
export type { CleanupOptions, CleanupReport } from './cleanup.ts';
export { cleanupPolicyDataplane } from './cleanup.ts';
export type {
  CommandOptions,
  CommandResult,
  CommandRunner,
  MemberLife,
  SetCreation,
  SetMemberChange,
  SetMemberWriter,
  TakeLock,
  WriteCounters,
} from './drivers/command.ts';
export { inputText } from './drivers/command.ts';
export type { FlowTable, TrackedFlow } from './drivers/flow-table.ts';
export { IpsetError, type IpsetFailure } from './drivers/ipset/commands.ts';
export { Ipsets } from './drivers/ipset/ipset.ts';
export type { LifeOf } from './drivers/ipset/kernel-set.ts';
export type { PassingMember } from './drivers/ipset/saved-sets.ts';
export type { Backend } from './drivers/iptables/backend.ts';
export { IptablesError, type IptablesFailure } from './drivers/iptables/iptables.ts';
export type { NftRule, NftTables } from './drivers/nft-tables.ts';
export type {
  KernelAddress,
  KernelLink,
  KernelNexthop,
  KernelRoute,
  RouteEvent,
  RouteKernel,
  RouteWrite,
  StateFile,
  SysctlFiles,
} from './drivers/route-ports.ts';
export { SysctlError, type SysctlFailure, SysctlSettings } from './drivers/sysctl.ts';
export type { FlowCounts, FlowJudge } from './flow-cutter.ts';
export { cleanupHostPorts, type HostPortCleanupReport } from './hostport-cleanup.ts';
export type { Guard } from './managers/guard.ts';
export type { NodeInterfaces } from './managers/host-endpoints.ts';
export type { Pool } from './managers/masquerade.ts';
export { NextHopResolver, type NextHopSetKey, type ResolvedHop } from './managers/next-hop-resolver.ts';
export {
  createRouteDataplane,
  type RouteDataplane,
  type RouteDataplaneDeps,
  type RouteDataplaneOptions,
} from './managers/routes.ts';
export { cleanupRoutes, type RouteCleanupDeps, type RouteCleanupReport } from './managers/routes-cleanup.ts';
export type { LinkDown, LocalAddress } from './managers/routes-kernel-view.ts';
export type { RouteCounts, RouteDataplaneStatus, RouteState, RouteStatus } from './managers/routes-report.ts';
export { createPolicyDataplane } from './policy-dataplane.ts';
export type {
  PolicyDataplane,
  PolicyDataplaneDeps,
  PolicyDataplaneOptions,
  PolicyDataplaneStatus,
} from './policy-dataplane-interface.ts';
export { type FlowLabel, type FlowLogOptions, flowNameHash, flowPrefix, parseFlowPrefix } from './render/flow-log.ts';
export type { RuleCounter } from './rule-counters.ts';
