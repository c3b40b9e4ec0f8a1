/**
 * An oracle for ClusterNetworkPolicy, AdminNetworkPolicy and BaselineAdminNetworkPolicy: reads the manifests as they were written, by
 * the words of the API (kubernetes-sigs/network-policy-api apis/v1alpha1 and apis/v1alpha2), looking at everything each time.
 * It shares no code with the reader and the engine.
 */
import type { LabelSelector, NodeObject, PodObject, Protocol } from '#model';
import type { NaivePlaced } from './naive-calico-policy.ts';
import { counts, inBlock, namespaceLabels, selects } from './naive-match.ts';
import type { NaiveCluster, NaivePacket } from './naive-policy.ts';

type RawSelector = Partial<LabelSelector> | null;
interface RawPods {
  readonly namespaceSelector?: RawSelector;
  readonly podSelector?: RawSelector;
}
/** One of these; none of them is a field of another version of the API. */
export interface RawPeer {
  readonly namespaces?: RawSelector;
  readonly pods?: RawPods;
  readonly networks?: readonly string[];
  readonly nodes?: RawSelector;
  readonly domainNames?: readonly string[];
}
interface RawPortNumbers {
  readonly destinationPort: {
    readonly number?: number;
    readonly range?: { readonly start: number; readonly end: number };
  };
}
/** The first four are v1alpha2's, the others v1alpha1's. */
export interface RawPort {
  readonly tcp?: RawPortNumbers;
  readonly udp?: RawPortNumbers;
  readonly sctp?: RawPortNumbers;
  readonly destinationNamedPort?: string;
  readonly portNumber?: { readonly protocol: Protocol; readonly port: number };
  readonly portRange?: { readonly protocol: Protocol; readonly start: number; readonly end: number };
  readonly namedPort?: string;
}
export interface RawRule {
  readonly action: 'Accept' | 'Allow' | 'Deny' | 'Pass';
  readonly from?: readonly RawPeer[];
  readonly to?: readonly RawPeer[];
  readonly protocols?: readonly RawPort[];
  readonly ports?: readonly RawPort[];
}
export interface RawClusterPolicy {
  readonly apiVersion: string;
  readonly kind: 'ClusterNetworkPolicy' | 'AdminNetworkPolicy' | 'BaselineAdminNetworkPolicy';
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly tier?: 'Admin' | 'Baseline';
    readonly priority?: number;
    readonly subject: RawPeer;
    readonly ingress?: readonly RawRule[];
    readonly egress?: readonly RawRule[];
  };
}

type Direction = 'Ingress' | 'Egress';

/** Those that select the pod, in the tiers that Calico calls kube-admin and kube-baseline. Equal priorities are left open by the API. */
export function naiveClusterPolicies(
  cluster: NaiveCluster,
  subject: PodObject,
  direction: Direction,
  packet: NaivePacket,
): NaivePlaced[] {
  return (cluster.clusterPolicies ?? []).flatMap((policy) => {
    const { spec, kind, metadata } = policy;
    const rules = (direction === 'Ingress' ? spec.ingress : spec.egress) ?? [];
    if (rules.length === 0 || !isOf(cluster, spec.subject, subject)) return [];
    const said = rules.map((rule) => ruleSays(cluster, rule, direction, packet)).find((action) => action !== undefined);
    const says = said && ({ Accept: 'allow', Allow: 'allow', Deny: 'deny', Pass: 'pass' } as const)[said];
    const tier = tierOf(policy) === 'Admin' ? 'kube-admin' : 'kube-baseline';
    return [{ tier, order: spec.priority ?? 0, name: `${metadata.name}:${kind}`, says }];
  });
}

function tierOf({ kind, spec }: RawClusterPolicy): 'Admin' | 'Baseline' {
  if (kind === 'ClusterNetworkPolicy') return spec.tier!;
  return kind === 'AdminNetworkPolicy' ? 'Admin' : 'Baseline';
}

/** What the rule does with the packet; undefined where it is not about it. */
function ruleSays(
  cluster: NaiveCluster,
  rule: RawRule,
  direction: Direction,
  packet: NaivePacket,
): RawRule['action'] | undefined {
  const peers = (direction === 'Ingress' ? rule.from : rule.to) ?? [];
  const ports = rule.protocols ?? rule.ports ?? [];
  const accepts = rule.action === 'Accept' || rule.action === 'Allow';
  // "Fail closed": Accept rules match no traffic, others become a Deny of all. Names of domains are for Accept only.
  if (!peers.every((peer) => isKnownPeer(peer, accepts)) || !ports.every(isKnownPort)) {
    return accepts ? undefined : 'Deny';
  }
  const far = direction === 'Ingress' ? packet.fromAddress : packet.toAddress;
  if (!peers.some((peer) => isAt(cluster, peer, far))) return undefined;
  if (ports.length > 0 && !ports.some((port) => portFits(cluster, port, packet))) return undefined;
  return rule.action;
}

const isKnownPeer = (peer: RawPeer, accepts: boolean): boolean =>
  Boolean(peer.namespaces || peer.pods || peer.networks || peer.nodes || (peer.domainNames && accepts));
const isKnownPort = (port: RawPort): boolean =>
  Boolean(port.tcp || port.udp || port.sctp || portName(port) || port.portNumber || port.portRange);
const portName = (port: RawPort): string | undefined => port.destinationNamedPort ?? port.namedPort;

/** Whether the peer is about whoever holds the address. Domain names are about nobody: what they resolve to is not known. */
function isAt(cluster: NaiveCluster, peer: RawPeer, address: string): boolean {
  if (peer.networks) return peer.networks.some((cidr) => inBlock(address, cidr));
  if (peer.nodes) {
    return (cluster.nodes ?? []).some(
      (node) => addressesOf(node).includes(address) && selectsRaw(peer.nodes!, node.metadata.labels),
    );
  }
  return cluster.pods.some(
    (pod) => counts(pod) && pod.podIPs.some((own) => own === address) && isOf(cluster, peer, pod),
  );
}

const addressesOf = (node: NodeObject): readonly string[] => [...node.internalIPs, ...(node.otherIPs ?? [])];

/** Whether a subject, or a peer, is about the pod. */
function isOf(cluster: NaiveCluster, { namespaces, pods }: RawPeer, pod: PodObject): boolean {
  const own = namespaceLabels(cluster, pod.metadata.namespace);
  if (namespaces) return selectsRaw(namespaces, own);
  if (!pods) return false;
  return selectsRaw(pods.namespaceSelector ?? {}, own) && selectsRaw(pods.podSelector ?? {}, pod.metadata.labels);
}

function selectsRaw(selector: Partial<LabelSelector>, labels: PodObject['metadata']['labels']): boolean {
  const { matchLabels = {}, matchExpressions = [] } = selector;
  return selects({ matchLabels, matchExpressions }, labels);
}

function portFits(cluster: NaiveCluster, wanted: RawPort, packet: NaivePacket): boolean {
  const name = portName(wanted);
  if (name !== undefined) {
    // Of the pod that the packet goes to, with the protocol that it says there.
    return cluster.pods.some(
      (pod) =>
        counts(pod) &&
        pod.podIPs.some((own) => own === packet.toAddress) &&
        pod.ports.some(
          (port) => port.name === name && port.protocol === packet.protocol && port.containerPort === packet.port,
        ),
    );
  }
  const within = (protocol: Protocol, first: number, last: number): boolean =>
    protocol === packet.protocol && first <= packet.port && packet.port <= last;
  if (wanted.portNumber) return within(wanted.portNumber.protocol, wanted.portNumber.port, wanted.portNumber.port);
  if (wanted.portRange) return within(wanted.portRange.protocol, wanted.portRange.start, wanted.portRange.end);
  const protocol = wanted.tcp ? 'TCP' : wanted.udp ? 'UDP' : 'SCTP';
  const { number, range } = (wanted.tcp ?? wanted.udp ?? wanted.sctp)!.destinationPort;
  return range ? within(protocol, range.start, range.end) : within(protocol, number!, number!);
}
