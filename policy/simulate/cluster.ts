/**
 * A whole cluster's policy at once: the engine of a node that runs every pod, and the ends that connections are made between.
 * What a matrix, a comparison and a check of policies look at.
 */
import type { IpAddress } from '#kit';
import type {
  EndpointId,
  FelixConfigurationObject,
  HostEndpointObject,
  Kind,
  ModelUpdate,
  NodeObject,
  PodObject,
  Protocol,
} from '#model';
import { createPolicyEngine } from '../calc/engine.ts';
import { effectivePod } from '../calc/pods.ts';
import { type ConnectionEnd, type ConnectionVerdict, evaluateConnection } from '../explain/connection.ts';
import type { CrossedHost } from '../explain/host.ts';
import { type PolicyState, PolicyStateStore } from '../explain/policy-state.ts';
import { stagedState } from '../explain/staged-state.ts';
import { policyKinds } from '../rules/policy.ts';
import { SimulatedHosts } from './hosts.ts';

export interface ServedPort {
  readonly protocol: Protocol;
  /** 1..65535. */
  readonly port: number;
}

/** One end of connections. */
export interface SimulatedEnd {
  /** `namespace/pod`, `node:NAME` or `ext:NAME`. */
  readonly id: string;
  /** Of each family the first one counts. */
  readonly addresses: readonly IpAddress[];
  /** Of pods of the pod network: policy is asked. */
  readonly endpoint?: EndpointId;
  /** Where a pod runs, or the node that the end is (pods of the host's network are their node). */
  readonly node?: string;
  /** Of its node, where connections leave it. */
  readonly host?: CrossedHost;
  /** What it says that it serves, sorted, distinct. */
  readonly ports: readonly ServedPort[];
}

export interface SimulatedCluster {
  readonly state: PolicyState;
  /** Pods, those of the host's network too, by id. */
  readonly pods: readonly SimulatedEnd[];
  readonly nodes: readonly SimulatedEnd[];
  /** Pods that no packet comes from or goes to: completed, or without an address. */
  readonly leftOut: readonly { readonly id: string; readonly why: 'completed' | 'no address' }[];
}

/** Kinds that mean something for it. */
export const simulatedKinds: readonly Kind[] = [
  'Namespace',
  'Node',
  'Pod',
  'ServiceAccount',
  'EndpointSlice',
  'Tier',
  'NetworkSet',
  'GlobalNetworkSet',
  'HostEndpoint',
  'FelixConfiguration',
  ...policyKinds,
];

/** @param updates the final objects, in any order; kinds that mean nothing for policy are ignored. */
export function simulateCluster(updates: Iterable<ModelUpdate>): SimulatedCluster {
  const engine = createPolicyEngine(() => true);
  const hostEndpoints = new Map<EndpointId, HostEndpointObject>();
  const configurations = new Map<string, FelixConfigurationObject>();
  const pods = new Map<string, PodObject>();
  const nodes = new Map<string, NodeObject>();
  for (const update of updates) {
    engine.update(update);
    if (update.kind === 'Pod') note(pods, update.key, update.type === 'upsert' ? update.object : undefined);
    if (update.kind === 'HostEndpoint')
      note(hostEndpoints, `HostEndpoint:${update.key}`, update.type === 'upsert' ? update.object : undefined);
    if (update.kind === 'FelixConfiguration')
      note(configurations, update.key, update.type === 'upsert' ? update.object : undefined);
    if (update.kind === 'Node') note(nodes, update.key, update.type === 'upsert' ? update.object : undefined);
  }
  const hosts = new SimulatedHosts(hostEndpoints, [...configurations.values()]);
  const crossed = (end: SimulatedEnd): SimulatedEnd => {
    const node = end.node === undefined ? undefined : nodes.get(end.node);
    const host = end.node === undefined ? undefined : hosts.of(end.node, node ? addressesOf(node) : []);
    return host ? { ...end, host } : end;
  };
  const leftOut: { id: string; why: 'completed' | 'no address' }[] = [];
  const ends: SimulatedEnd[] = [];
  for (const [id, pod] of [...pods].sort(byKey)) {
    const counts = effectivePod(id, pod, undefined);
    // One without an address has a program too: policies select it already.
    if (counts) engine.setLocalEndpoint(id, counts.addresses);
    if (counts && counts.addresses.length > 0) {
      ends.push({ ...endOfPod(id, pod, counts.addresses), endpoint: id });
      continue;
    }
    const addresses = pod.hostNetwork ? hostAddresses(pod, nodes.get(pod.nodeName)) : [];
    if (pod.phase === 'Succeeded' || pod.phase === 'Failed') leftOut.push({ id, why: 'completed' });
    else if (addresses.length === 0) leftOut.push({ id, why: 'no address' });
    else ends.push(endOfPod(id, pod, addresses));
  }
  engine.inSync();
  const state = new PolicyStateStore();
  state.apply(engine.flush());
  const nodeEnds = [...nodes].sort(byKey).map(([name, node]) => crossed(endOfNode(name, node)));
  return { state, pods: ends.map(crossed), nodes: nodeEnds, leftOut };
}

/** The same cluster as if its staged policies were in force. */
export function withStagedPolicies(cluster: SimulatedCluster): SimulatedCluster {
  return { ...cluster, state: stagedState(cluster.state) };
}

function note<T>(into: Map<string, T>, key: string, object: T | undefined): void {
  if (object === undefined) into.delete(key);
  else into.set(key, object);
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function endOfPod(id: string, pod: PodObject, addresses: readonly IpAddress[]): SimulatedEnd {
  const served = new Map(
    pod.ports.map(({ protocol, containerPort }) => [
      `${protocol} ${String(containerPort).padStart(5, '0')}`,
      { protocol, port: containerPort },
    ]),
  );
  const ports = [...served].sort(byKey).map(([, port]) => port);
  return { id, addresses, ports, ...(pod.nodeName && { node: pod.nodeName }) };
}

function endOfNode(name: string, node: NodeObject): SimulatedEnd {
  return { id: `node:${name}`, node: name, addresses: addressesOf(node), ports: [] };
}

function addressesOf({ internalIPs, otherIPs = [] }: NodeObject): readonly IpAddress[] {
  return [...internalIPs, ...otherIPs];
}

function hostAddresses(pod: PodObject, node: NodeObject | undefined): readonly IpAddress[] {
  return pod.podIPs.length > 0 ? pod.podIPs : (node?.internalIPs ?? []);
}

/** What comes from a node itself, to a pod of that node: always passes, the dataplane does not ask policy. */
export function isFromOwnNode(from: SimulatedEnd, to: SimulatedEnd): boolean {
  return from.endpoint === undefined && to.endpoint !== undefined && from.node !== undefined && from.node === to.node;
}

/** Both directions of one connection between two ends, at these addresses of theirs. */
export function connectionVerdict(
  state: PolicyState,
  from: SimulatedEnd,
  to: SimulatedEnd,
  packet: { readonly fromAddress: IpAddress; readonly toAddress: IpAddress } & ServedPort,
): ConnectionVerdict {
  if (isFromOwnNode(from, to)) return { verdict: 'allow' };
  const { fromAddress, toAddress, protocol, port } = packet;
  return evaluateConnection(state, { ...connectionEnds(from, to, fromAddress, toAddress), protocol, port });
}

/** The two as a connection knows them; host endpoints are on its way only where it leaves a node. */
export function connectionEnds(
  from: SimulatedEnd,
  to: SimulatedEnd,
  fromAddress: IpAddress,
  toAddress: IpAddress,
): { readonly from: ConnectionEnd; readonly to: ConnectionEnd } {
  const leaves = from.node !== to.node;
  const end = ({ endpoint, host }: SimulatedEnd, address: IpAddress): ConnectionEnd => ({
    address,
    ...(endpoint !== undefined && { endpoint }),
    ...(leaves && host && { host }),
  });
  return { from: end(from, fromAddress), to: end(to, toAddress) };
}
