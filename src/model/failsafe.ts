/** Ports of a node that stay open whatever policies say of its host endpoints, so that a mistake locks nobody out. */
import type { Cidr } from '#kit';
import type { FelixConfigurationObject, HostPort } from './felix-configuration.ts';

export interface FailsafePort {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** 1..65535. */
  readonly port: number;
  /** Addresses of the other end; absent: any. */
  readonly net?: Cidr;
}
export interface Failsafe {
  /** Ports of the node. */
  readonly inbound: readonly FailsafePort[];
  /** Ports of others. */
  readonly outbound: readonly FailsafePort[];
}

const on = (protocol: FailsafePort['protocol'], ...ports: number[]): FailsafePort[] =>
  ports.map((port) => ({ protocol, port }));

/** Calico's: SSH, DHCP, DNS, BGP, etcd, Typha, the API server and an etcd of its own making. */
export const defaultFailsafe: Failsafe = {
  inbound: [...on('tcp', 22), ...on('udp', 68), ...on('tcp', 179, 2379, 2380, 5473, 6443, 6666, 6667)],
  outbound: [...on('udp', 53, 67), ...on('tcp', 179, 2379, 2380, 5473, 6443, 6666, 6667)],
};

const lowerCase = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' } as const;

/** Each list from `node.NAME`, else from `default`, else Calico's. */
export function failsafeOfNode(configurations: Iterable<FelixConfigurationObject>, nodeName: string): Failsafe {
  let here: FelixConfigurationObject | undefined;
  let everywhere: FelixConfigurationObject | undefined;
  for (const configuration of configurations) {
    if (configuration.metadata.name === `node.${nodeName}`) here = configuration;
    else if (configuration.metadata.name === 'default') everywhere = configuration;
  }
  const ports = (own: readonly HostPort[] | undefined, otherwise: readonly FailsafePort[]): readonly FailsafePort[] =>
    own?.map(({ protocol, ...port }) => ({ ...port, protocol: lowerCase[protocol] })) ?? otherwise;
  return {
    inbound: ports(here?.failsafeInboundHostPorts ?? everywhere?.failsafeInboundHostPorts, defaultFailsafe.inbound),
    outbound: ports(here?.failsafeOutboundHostPorts ?? everywhere?.failsafeOutboundHostPorts, defaultFailsafe.outbound),
  };
}
