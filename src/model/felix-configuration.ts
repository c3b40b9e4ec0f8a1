/** Settings of agents. */
import type { Cidr } from '#kit';
import type { DnsServer } from './dns-servers.ts';
import type { ObjectMeta, Protocol } from './objects.ts';

/** A port that host endpoints leave open. */
export interface HostPort {
  readonly protocol: Protocol;
  /** 1..65535. */
  readonly port: number;
  /** Of the other end; absent: any. */
  readonly net?: Cidr;
}

/**
 * projectcalico.org/v3, `default` or `node.NAME`. The fields that mean something here; names of all others that are set are in
 * `notUsed`.
 */
export interface FelixConfigurationObject {
  readonly metadata: ObjectMeta;
  /** Bits of the packet mark, and of the connection mark the highest of them, that are ours alone. */
  readonly iptablesMarkMask?: number;
  readonly iptablesBackend?: 'auto' | 'nft' | 'legacy';
  readonly logSeverityScreen?: 'error' | 'warn' | 'info' | 'debug';
  /** Whose answers say what addresses domain names have. */
  readonly dnsTrustedServers?: readonly DnsServer[];
  /** How much longer an address counts than its answer says. */
  readonly dnsExtraTtlSec?: number;
  /** Allowed flows are told of as well. */
  readonly flowLogsLocalReporter?: 'Enabled' | 'Disabled';
  /** Packets of one flow within it are one entry. 1000..3600000. */
  readonly flowLogsFlushIntervalMs?: number;
  /** Of host endpoints; absent: the default ones. */
  readonly failsafeInboundHostPorts?: readonly HostPort[];
  readonly failsafeOutboundHostPorts?: readonly HostPort[];
  readonly notUsed: readonly string[];
}
