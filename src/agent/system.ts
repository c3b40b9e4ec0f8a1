/** What of the machine the agent hands to its parts, and where it keeps its files. */
import path from 'node:path';
import type { AgentConfig } from '#config';
import type { CommandRunner } from '#felix';
import type { IpAddress } from '#kit';
import { dumpLinks, exec, Netlink, openConntrack } from '#sys';

/** Pod interfaces begin with it; whatever does is ours. */
export const INTERFACE_PREFIX = 'pop';

export interface AgentPaths {
  readonly lock: string;
  readonly apiSocket: string;
  readonly cniSocket: string;
  readonly cniQueue: string;
  readonly attachments: string;
  readonly sysctls: string;
  readonly dnsServers: string;
  readonly domainAddresses: string;
}

export function agentPaths(config: AgentConfig): AgentPaths {
  return {
    lock: path.join(config.runDir, 'agent.lock'),
    apiSocket: config.apiSocket || path.join(config.runDir, 'api.sock'),
    cniSocket: config.cniSocket || path.join(config.runDir, 'cni', 'cni.sock'),
    cniQueue: config.cniQueue || path.join(config.stateDir, 'cni-queue'),
    attachments: path.join(config.stateDir, 'attachments'),
    sysctls: path.join(config.stateDir, 'sysctls.json'),
    dnsServers: path.join(config.stateDir, 'dns-servers.json'),
    domainAddresses: path.join(config.stateDir, 'domain-addresses'),
  };
}

/** Runs programs for felix with this process's environment and what it adds. */
export const runCommand: CommandRunner['run'] = ([command, ...args], options = {}) =>
  exec(command!, args, {
    ...(options.stdin === undefined ? {} : { stdin: options.stdin }),
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
    ...(options.inherit === undefined ? {} : { inherit: options.inherit }),
    ...(options.onOutput === undefined ? {} : { onOutput: options.onOutput }),
    ...(options.onStart === undefined ? {} : { onStart: options.onStart }),
    env: { ...definedEnvironment(), ...options.env },
  });

function definedEnvironment(): Record<string, string> {
  return Object.fromEntries(Object.entries(process.env).filter((e): e is [string, string] => e[1] !== undefined));
}

/** Opened when first needed: connection tracking may be a module that is not loaded before the first rule. */
export function conntrackFlusher(): (addresses: readonly IpAddress[]) => Promise<void> {
  let conntrack: ReturnType<typeof openConntrack> | undefined;
  return async (addresses) => {
    conntrack ??= openConntrack();
    for (const address of addresses) await conntrack.forget(address);
  };
}

export interface UplinkMtu {
  /** Bytes: the smallest of the interfaces that are neither loopback nor pods', so that no pod sends what an uplink cannot carry. */
  get(): number | undefined;
  /** Links changed: look again at the next ADD. Reading them costs in proportion to the pods. */
  forget(): void;
}

export function uplinkMtu(podPrefix: string): UplinkMtu {
  const netlink = new Netlink();
  let known: number | undefined;
  return {
    get() {
      if (known !== undefined) return known;
      const uplinks = dumpLinks(netlink).filter(
        (link) => link.up && link.name !== 'lo' && !link.name.startsWith(podPrefix),
      );
      known = uplinks.length === 0 ? undefined : Math.min(...uplinks.map((link) => link.mtu));
      return known;
    },
    forget() {
      known = undefined;
    },
  };
}
