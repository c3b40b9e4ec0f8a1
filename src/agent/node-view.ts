/** What of the cluster's objects holds on this node. Pure. */
import type { AgentConfig } from '#config';
import type { Guard, LocalAddress, NodeInterfaces } from '#felix';
import { type IpAddress, toIpAddress } from '#kit';
import {
  type BGPConfigurationObject,
  type BGPPeerObject,
  type Failsafe,
  type FailsafePort,
  type FelixConfigurationObject,
  failsafeOfNode,
  type NodeObject,
} from '#model';
import type { ModelStore } from './model-store.ts';

const ADDRESS_ANNOTATIONS = ['projectcalico.org/IPv4Address', 'projectcalico.org/IPv6Address'];
/** BFD: single hop, echo (RFC 5881), multihop (RFC 5883), on bundles of links (RFC 7130). */
const BFD_PORTS = [3784, 3785, 4784, 6784];

/** Every address of every node, with the ports on which the routing protocols listen. */
export function guardOf(
  nodes: readonly NodeObject[],
  configurations: readonly BGPConfigurationObject[],
  config: Pick<AgentConfig, 'bgpPort'>,
): Guard {
  const annotated = (node: NodeObject): IpAddress[] =>
    ADDRESS_ANNOTATIONS.flatMap((name) => {
      const text = node.metadata.annotations[name]?.split('/')[0];
      return (text && toIpAddress(text)) || [];
    });
  return {
    nodeAddresses: [...new Set(nodes.flatMap((node) => [...node.internalIPs, ...annotated(node)]))].sort(),
    tcp: listenPorts(configurations, config),
    udp: BFD_PORTS,
  };
}

function listenPorts(
  configurations: readonly BGPConfigurationObject[],
  { bgpPort }: Pick<AgentConfig, 'bgpPort'>,
): number[] {
  return [...new Set([bgpPort, ...configurations.flatMap(({ listenPort }) => listenPort ?? [])])];
}

export interface FailsafeInput {
  readonly configurations: readonly FelixConfigurationObject[];
  readonly bgpConfigurations: readonly BGPConfigurationObject[];
  readonly peers: readonly BGPPeerObject[];
  /** URL. */
  readonly apiServer: string | undefined;
}

export function failsafeInput(model: Pick<ModelStore, 'list'>, apiServer: string | undefined): FailsafeInput {
  return {
    configurations: model.list('FelixConfiguration'),
    bgpConfigurations: model.list('BGPConfiguration'),
    peers: model.list('BGPPeer'),
    apiServer,
  };
}

/**
 * What host endpoints leave open on this node, each list from `node.NAME`, else from `default`, else Calico's; and always what the agent needs
 * itself: routing protocols, without which the node is cut off, and its API server, without which nobody could take a policy back.
 */
export function failsafeOf(
  { configurations, bgpConfigurations, peers, apiServer }: FailsafeInput,
  config: Pick<AgentConfig, 'bgpPort' | 'nodeName'>,
): Failsafe {
  const { inbound, outbound } = failsafeOfNode(configurations, config.nodeName);
  const listening = listenPorts(bgpConfigurations, config);
  const of = (protocol: FailsafePort['protocol'], numbers: readonly number[]): FailsafePort[] =>
    [...new Set(numbers)].map((port) => ({ protocol, port }));
  return {
    inbound: [...inbound, ...of('tcp', listening), ...of('udp', BFD_PORTS)],
    outbound: [
      ...outbound,
      ...of('tcp', [...listening, ...peers.map(({ port }) => port), ...apiServerPorts(apiServer)]),
      ...of('udp', BFD_PORTS),
    ],
  };
}

/** Of URLs that name none. */
const defaultPorts: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443 };

function apiServerPorts(server: string | undefined): number[] {
  if (server === undefined || !URL.canParse(server)) return [];
  const { port, protocol } = new URL(server);
  return port ? [Number(port)] : [defaultPorts[protocol] ?? []].flat();
}

/** Addresses by the interface that has them. */
export function interfacesOf(addresses: readonly LocalAddress[]): NodeInterfaces {
  const byDevice = Map.groupBy(addresses, ({ device }) => device);
  return new Map([...byDevice].map(([device, its]) => [device, its.map(({ address }) => address)]));
}
