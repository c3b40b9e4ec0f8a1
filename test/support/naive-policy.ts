/**
 * An oracle for policy: decides one connection straight from the objects, by the words of the API documents, looking at
 * everything each time. It shares no code with the engine (not even address arithmetic) and knows no sets, no indexes, no order.
 *
 * Source: networking.k8s.io/v1 API reference and kubernetes.io/docs/concepts/services-networking/network-policies.
 */
import ipaddr from 'ipaddr.js';
import type {
  NamespaceObject,
  NetworkPolicyObject,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  NetworkPolicyRule,
  NodeObject,
  PodObject,
  Protocol,
} from '#model';
import { naiveCalicoPolicies, naiveTiersAllow, type RawCalico } from './naive-calico-policy.ts';
import { naiveClusterPolicies, type RawClusterPolicy } from './naive-cluster-policy.ts';
import { counts, inBlock, namespaceLabels, selects } from './naive-match.ts';

export interface NaiveCluster {
  readonly namespaces: readonly NamespaceObject[];
  readonly pods: readonly PodObject[];
  readonly policies: readonly NetworkPolicyObject[];
  readonly nodes?: readonly NodeObject[];
  /** As manifests. */
  readonly clusterPolicies?: readonly RawClusterPolicy[];
  /** As manifests: policies, tiers, network sets, service accounts. */
  readonly calico?: readonly RawCalico[];
}

/** A pod, or an address outside the cluster (or of a node). */
export type NaiveEnd = { readonly pod: PodObject } | { readonly external: string };

export interface NaiveConnection {
  readonly from: NaiveEnd;
  readonly to: NaiveEnd;
  readonly protocol: Protocol;
  /** Destination port. */
  readonly port: number;
  readonly family: 'IPv4' | 'IPv6';
}

/**
 * Whether the connection may be made; undefined when an end has no address of the family. Egress of the source and ingress of
 * the destination must both allow it; a pod always reaches itself.
 */
export function naiveVerdict(cluster: NaiveCluster, connection: NaiveConnection): 'allow' | 'deny' | undefined {
  const { from, to, family } = connection;
  const fromAddress = addressOf(from, family);
  const toAddress = addressOf(to, family);
  if (fromAddress === undefined || toAddress === undefined) return undefined;
  if ('pod' in from && 'pod' in to && samePod(from.pod, to.pod)) return 'allow';
  const packet: NaivePacket = { fromAddress, toAddress, protocol: connection.protocol, port: connection.port };
  if ('pod' in from && !naiveDirectionAllows(cluster, from.pod, 'Egress', packet)) return 'deny';
  if ('pod' in to && !naiveDirectionAllows(cluster, to.pod, 'Ingress', packet)) return 'deny';
  return 'allow';
}

/** Addresses are canonical text. */
export interface NaivePacket {
  readonly fromAddress: string;
  readonly toAddress: string;
  readonly protocol: Protocol;
  readonly port: number;
}

function samePod(a: PodObject, b: PodObject): boolean {
  return a.metadata.namespace === b.metadata.namespace && a.metadata.name === b.metadata.name;
}

function addressOf(end: NaiveEnd, family: 'IPv4' | 'IPv6'): string | undefined {
  const addresses = 'pod' in end ? end.pod.podIPs : [end.external];
  return addresses.find((address) => (ipaddr.parse(address).kind() === 'ipv4' ? 'IPv4' : 'IPv6') === family);
}

/**
 * One direction alone: whether the policies of `subject` let the packet out (Egress) or in (Ingress). The Admin tier is asked first, then
 * NetworkPolicy if any isolates the pod in this direction, else the Baseline tier; Calico's tiers stand between these by their orders.
 */
export function naiveDirectionAllows(
  cluster: NaiveCluster,
  subject: PodObject,
  direction: 'Ingress' | 'Egress',
  packet: NaivePacket,
): boolean {
  if (!counts(subject)) return true;
  const isolating = cluster.policies.filter(
    (policy) =>
      policy.metadata.namespace === subject.metadata.namespace &&
      policy.policyTypes.includes(direction) &&
      selects(policy.podSelector, subject.metadata.labels),
  );
  const networkPolicies = isolating.map((policy) => {
    const rules = direction === 'Ingress' ? policy.ingress : policy.egress;
    const allows = rules.some(
      (rule) => peersAllow(cluster, policy, rule, direction, packet) && portsAllow(cluster, rule, packet),
    );
    const name = `${policy.metadata.namespace}/${policy.metadata.name}:NetworkPolicy`;
    return { tier: 'default', order: 1_000, name, says: allows ? ('allow' as const) : undefined };
  });
  return naiveTiersAllow(cluster, [
    ...networkPolicies,
    ...naiveClusterPolicies(cluster, subject, direction, packet),
    ...naiveCalicoPolicies(cluster, subject, direction, packet),
  ]);
}

function peersAllow(
  cluster: NaiveCluster,
  policy: NetworkPolicyObject,
  rule: NetworkPolicyRule,
  direction: 'Ingress' | 'Egress',
  packet: NaivePacket,
): boolean {
  if (rule.peers.length === 0) return true;
  const address = direction === 'Ingress' ? packet.fromAddress : packet.toAddress;
  return rule.peers.some((peer) => peerAllows(cluster, policy, peer, address));
}

function peerAllows(
  cluster: NaiveCluster,
  policy: NetworkPolicyObject,
  peer: NetworkPolicyPeer,
  address: string,
): boolean {
  if (peer.ipBlock) {
    const { cidr, except } = peer.ipBlock;
    return inBlock(address, cidr) && !except.some((cut) => inBlock(address, cut));
  }
  if (!peer.podSelector && !peer.namespaceSelector) return false;
  return cluster.pods.some((pod) => {
    if (!counts(pod) || !pod.podIPs.some((own) => own === address)) return false;
    const namespaceFits = peer.namespaceSelector
      ? selects(peer.namespaceSelector, namespaceLabels(cluster, pod.metadata.namespace))
      : pod.metadata.namespace === policy.metadata.namespace;
    return namespaceFits && (!peer.podSelector || selects(peer.podSelector, pod.metadata.labels));
  });
}

function portsAllow(cluster: NaiveCluster, rule: NetworkPolicyRule, packet: NaivePacket): boolean {
  return rule.ports.length === 0 || rule.ports.some((port) => portAllows(cluster, port, packet));
}

function portAllows(cluster: NaiveCluster, wanted: NetworkPolicyPort, packet: NaivePacket): boolean {
  if (wanted.protocol !== packet.protocol) return false;
  if (wanted.port === undefined) return true;
  if (typeof wanted.port === 'number') {
    return packet.port >= wanted.port && packet.port <= (wanted.endPort ?? wanted.port);
  }
  // A name is looked up on the pod that the packet goes to; what is not a pod has no names.
  return cluster.pods.some(
    (pod) =>
      counts(pod) &&
      pod.podIPs.some((own) => own === packet.toAddress) &&
      pod.ports.some(
        (declared) =>
          declared.name === wanted.port &&
          declared.protocol === packet.protocol &&
          declared.containerPort === packet.port,
      ),
  );
}
