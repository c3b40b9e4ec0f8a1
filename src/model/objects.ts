/**
 * What the datastore says, as typed records: Kubernetes' objects cut down to the fields that mean something here, with
 * addresses canonical and defaults filled in. Names are the API's. No I/O.
 */
import type { Cidr, IpAddress, Secret } from '#kit';

export type Labels = Readonly<Record<string, string>>;

export interface ObjectMeta {
  readonly name: string;
  /** Empty for cluster-scoped kinds. */
  readonly namespace: string;
  readonly uid: string;
  readonly labels: Labels;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface NodeObject {
  readonly metadata: ObjectMeta;
  /** spec.podCIDRs, at most one of each family. */
  readonly podCIDRs: readonly Cidr[];
  /** status.addresses of type InternalIP, in order. */
  readonly internalIPs: readonly IpAddress[];
}

export interface NamespaceObject {
  readonly metadata: ObjectMeta;
}

export type Protocol = 'TCP' | 'UDP' | 'SCTP';

export interface ContainerPort {
  readonly name?: string;
  /** 1..65535. */
  readonly containerPort: number;
  readonly protocol: Protocol;
}

export interface PodObject {
  readonly metadata: ObjectMeta;
  readonly nodeName: string;
  readonly hostNetwork: boolean;
  readonly serviceAccountName: string;
  /** Ports of containers and of restartable init containers (sidecars). */
  readonly ports: readonly ContainerPort[];
  readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown';
  /** metadata.deletionTimestamp is set. */
  readonly terminating: boolean;
  /** status.podIPs; empty until the kubelet says. */
  readonly podIPs: readonly IpAddress[];
}

export interface LabelSelectorRequirement {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  readonly values: readonly string[];
}

/** metav1.LabelSelector. Empty selects everything. */
export interface LabelSelector {
  readonly matchLabels: Labels;
  readonly matchExpressions: readonly LabelSelectorRequirement[];
}

export interface NetworkPolicyPeer {
  readonly podSelector?: LabelSelector;
  readonly namespaceSelector?: LabelSelector;
  readonly ipBlock?: { readonly cidr: Cidr; readonly except: readonly Cidr[] };
}

export interface NetworkPolicyPort {
  /** Defaulted to TCP. */
  readonly protocol: Protocol;
  /** Number, port name, or absent for every port of the protocol. */
  readonly port?: number | string;
  /** Inclusive; only with a numeric port. */
  readonly endPort?: number;
}

export interface NetworkPolicyRule {
  /** Empty means every peer. */
  readonly peers: readonly NetworkPolicyPeer[];
  /** Empty means every port of every protocol. */
  readonly ports: readonly NetworkPolicyPort[];
}

/** networking.k8s.io/v1, defaults applied (policyTypes inferred as the API server does). */
export interface NetworkPolicyObject {
  readonly metadata: ObjectMeta;
  readonly podSelector: LabelSelector;
  readonly policyTypes: readonly ('Ingress' | 'Egress')[];
  readonly ingress: readonly NetworkPolicyRule[];
  readonly egress: readonly NetworkPolicyRule[];
}

/** projectcalico.org/v3. The object named `default` is for all nodes, `node.NAME` for one. */
export interface BGPConfigurationObject {
  readonly metadata: ObjectMeta;
  readonly asNumber?: number;
  readonly nodeToNodeMeshEnabled?: boolean;
  readonly listenPort?: number;
  /** Ours: announce the node's own addresses (its InternalIPs) as host routes. */
  readonly advertiseNodeAddresses?: boolean;
  /** Ours: seconds, 0 or >= 3. */
  readonly holdTimeSec?: number;
}

/** projectcalico.org/v3. Without `node` and `nodeSelector` it is global. */
export interface BGPPeerObject {
  readonly metadata: ObjectMeta;
  readonly node?: string;
  /** Calico selector text, e.g. `rack == 'r1'`, `all()`, `has(x)`. */
  readonly nodeSelector?: string;
  readonly peerIP: IpAddress;
  readonly port: number;
  readonly asNumber: number;
  /** Ours: the text of the password (file datastore), or undefined. */
  readonly password?: Secret;
  /** Ours: seconds, 0 or >= 3. */
  readonly holdTimeSec?: number;
  /** Calico's maxRestartTime, seconds. */
  readonly maxRestartTimeSec?: number;
}

/** projectcalico.org/v3. */
export interface IPPoolObject {
  readonly metadata: ObjectMeta;
  readonly cidr: Cidr;
  readonly natOutgoing: boolean;
  readonly disabled: boolean;
}

export interface ModelObjects {
  readonly Node: NodeObject;
  readonly Namespace: NamespaceObject;
  readonly Pod: PodObject;
  readonly NetworkPolicy: NetworkPolicyObject;
  readonly BGPConfiguration: BGPConfigurationObject;
  readonly BGPPeer: BGPPeerObject;
  readonly IPPool: IPPoolObject;
}
export type Kind = keyof ModelObjects;
export const kinds: readonly Kind[] = [
  'Node',
  'Namespace',
  'Pod',
  'NetworkPolicy',
  'BGPConfiguration',
  'BGPPeer',
  'IPPool',
];

/** `namespace/name`, or `name` for cluster-scoped kinds. */
export type ObjectKey = string;
export function objectKey(metadata: { readonly namespace: string; readonly name: string }): ObjectKey {
  return metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name;
}

/** One change of one object. A repeated upsert of an equal object is allowed and means nothing. */
export type ModelUpdate = {
  [K in Kind]:
    | { readonly type: 'upsert'; readonly kind: K; readonly key: ObjectKey; readonly object: ModelObjects[K] }
    | { readonly type: 'delete'; readonly kind: K; readonly key: ObjectKey };
}[Kind];
