export type { CleanupOptions, CleanupReport } from './cleanup.ts';
export { cleanupPolicyDataplane } from './cleanup.ts';
export type { CommandOptions, CommandResult, CommandRunner, WriteCounters } from './drivers/command.ts';
export { IpsetError, type IpsetFailure } from './drivers/ipset/ipset.ts';
export type { Backend } from './drivers/iptables/backend.ts';
export { IptablesError, type IptablesFailure } from './drivers/iptables/iptables.ts';
export type { Pool } from './managers/masquerade.ts';
export type {
  PolicyDataplane,
  PolicyDataplaneDeps,
  PolicyDataplaneOptions,
  PolicyDataplaneStatus,
} from './policy-dataplane.ts';
export { createPolicyDataplane } from './policy-dataplane.ts';
