/**
 * What the datastore says, as typed records: Kubernetes' objects cut down to the fields that mean something here, with
 * addresses canonical and defaults filled in. Names are the API's. No I/O.
 */
import type { Cidr, IpAddress, Secret } from '#kit';
import type {
  CalicoPolicyObject,
  HostEndpointObject,
  NetworkSetObject,
  ServiceAccountObject,
  TierObject,
} from './calico-policy.ts';
import type { ClusterPolicyObject } from './cluster-policy.ts';
import type { EndpointSliceObject } from './endpoint-slice.ts';
import type { FelixConfigurationObject } from './felix-configuration.ts';
import type { StagedCalicoPolicyObject, StagedKubernetesPolicyObject } from './staged-policy.ts';

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
  /** Addresses of status.addresses of any other type (ExternalIP); absent: there are none. */
  readonly otherIPs?: readonly IpAddress[];
  /** The condition NetworkUnavailable is True; absent: there is no such condition, or it is not True. */
  readonly networkUnavailable?: boolean;
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
  /** The object could never be read: until it can, what it selects is denied. */
  readonly standIn?: true;
}

/** Where the text of a TCP-MD5 password, or of a TCP-AO key, stands. `value` is ours, for directories of manifests. */
export type PasswordSource =
  | { readonly type: 'value'; readonly value: Secret }
  /** A Secret in the agent's own namespace. */
  | { readonly type: 'secretKeyRef'; readonly name: string; readonly key: string };

/** Ours: a key of TCP-AO (RFC 5925). */
export interface TCPAOKey {
  /** KeyIDs of what the node sends and receives, 0..255. */
  readonly sendID: number;
  readonly recvID: number;
  readonly algorithm: 'hmac-sha-1-96' | 'aes-128-cmac-96';
  readonly secret: PasswordSource;
  /** Other TCP options are not signed. Default false. */
  readonly excludeTCPOptions?: boolean;
}

/** v1 Secret: only those that other objects name are read, by name. */
export interface SecretObject {
  readonly metadata: ObjectMeta;
  /** Decoded from base64, as UTF-8 text. */
  readonly data: Readonly<Record<string, Secret>>;
}

/** BFD beside a BGP session (RFC 5880 to 5883); what is left out has the speaker's default. */
export interface BFDSettings {
  /** Shortest intervals of what we send and take, milliseconds, 10..60000. */
  readonly minTxMs?: number;
  readonly minRxMs?: number;
  /** 1..255. */
  readonly multiplier?: number;
  /** The peer is not on a link of the node. */
  readonly multihop?: boolean;
  /** BFD that falls may be a restart of the peer's control plane. */
  readonly graceful?: boolean;
}

/** How many prefixes of one family a peer may have here. */
export interface PrefixLimit {
  /** 1..4294967295. */
  readonly limit: number;
  /** 1..100. */
  readonly warnPercent?: number;
  /** Seconds until the peer may come back. */
  readonly restartSec?: number;
  readonly warnOnly?: boolean;
}

/** What goes with the node's own prefixes inside `cidr`. */
export interface PrefixAdvertisement {
  readonly cidr: Cidr;
  /** `aa:nn` (RFC 1997) or `aa:nn:mm` (RFC 8092). */
  readonly communities: readonly string[];
}

/** projectcalico.org/v3. The object named `default` is for all nodes, `node.NAME` for one. */
export interface BGPConfigurationObject {
  readonly metadata: ObjectMeta;
  readonly asNumber?: number;
  readonly nodeToNodeMeshEnabled?: boolean;
  readonly listenPort?: number;
  /** `NodeIP`: listen on the node's BGP addresses only. Default: every address. */
  readonly bindMode?: 'None' | 'NodeIP';
  readonly nodeMeshPassword?: PasswordSource;
  /** Seconds, graceful restart time told to mesh peers. */
  readonly nodeMeshMaxRestartTimeSec?: number;
  /** Ours: names of BGPFilters that apply to mesh peers, in order. */
  readonly nodeMeshFilters?: readonly string[];
  /** Ours: BFD beside the sessions of the mesh. */
  readonly nodeMeshBFD?: BFDSettings;
  /** Names of communities are resolved. */
  readonly prefixAdvertisements?: readonly PrefixAdvertisement[];
  /** Interface name patterns (`*` wildcard) whose addresses are never the node's. */
  readonly ignoredInterfaces?: readonly string[];
  /** Ours: announce the node's own addresses (its InternalIPs) as host routes. */
  readonly advertiseNodeAddresses?: boolean;
  /** Ours: seconds, 0 or >= 3. */
  readonly holdTimeSec?: number;
}

/** projectcalico.org/v3. Without `node` and `nodeSelector` it is global. Exactly one of `peerIP`, `peerSelector`, `interface` and `range`. */
export interface BGPPeerObject {
  readonly metadata: ObjectMeta;
  readonly node?: string;
  /** Calico selector text, e.g. `rack == 'r1'`, `all()`, `has(x)`. */
  readonly nodeSelector?: string;
  readonly peerIP?: IpAddress;
  /** Of peerIP. */
  readonly port: number;
  /** Selector of nodes to peer with; both ends are generated. */
  readonly peerSelector?: string;
  /** Ours: the router that is found on that interface. */
  readonly interface?: string;
  /** Ours: who connects from there, at most `limit` at once. */
  readonly range?: { readonly prefix: Cidr; readonly limit: number };
  /** Absent with `peerSelector`: the selected node's own. Exactly one of it and the next two with `interface` and `range`. */
  readonly asNumber?: number;
  /** Ours: one of them. */
  readonly asNumbers?: readonly number[];
  /** Ours: any that is not the node's, or the node's. */
  readonly remoteAS?: 'External' | 'Internal';
  /** Replaces our AS number on this session. */
  readonly localASNumber?: number;
  readonly nextHopMode?: 'Auto' | 'Self' | 'Keep';
  /** Default UseNodeIP. */
  readonly sourceAddress?: 'UseNodeIP' | 'None';
  readonly password?: PasswordSource;
  /** Ours: in place of `password`, at least one, in order of preference. */
  readonly tcpAO?: { readonly keys: readonly TCPAOKey[] };
  /** Ours: seconds, 0 or >= 3. */
  readonly holdTimeSec?: number;
  readonly keepaliveTimeSec?: number;
  /** Calico's maxRestartTime, seconds. */
  readonly maxRestartTimeSec?: number;
  readonly numAllowedLocalASNumbers?: number;
  /** Hops, 1..255 (RFC 5082). */
  readonly ttlSecurity?: number;
  /** Gateway of a static host route to the peer. */
  readonly reachableBy?: IpAddress;
  /** Names of BGPFilters, in order. */
  readonly filters?: readonly string[];
  /** With `peerSelector`; default Auto: the other end is generated. */
  readonly reversePeering?: 'Auto' | 'Manual';
  /** Ours, as what follows. */
  readonly bfd?: BFDSettings;
  readonly maxPrefixes?: { readonly ipv4?: PrefixLimit; readonly ipv6?: PrefixLimit };
  /** RFC 7911; `send`: the best so many paths, 0..128. */
  readonly addPath?: { readonly receive: boolean; readonly send: number; readonly limit?: number };
  /** RFC 8326. */
  readonly gracefulShutdown?: boolean;
  /** RFC 9494, seconds, 0..16777215. */
  readonly longLivedStaleTimeSec?: number;
  /** RFC 9234: what the node is to the router at `peerIP`. */
  readonly role?: 'Provider' | 'RouteServer' | 'RouteServerClient' | 'Customer' | 'Peer';
  readonly strictRole?: boolean;
  /** What the peer announces is kept as received. Default: with filters on import. */
  readonly adjRibIn?: boolean;
  /** RFC 7999: obeyed; shortest prefixes of which it is, 1..32 and 1..128, default 32 and 128. */
  readonly blackhole?: { readonly ipv4?: number; readonly ipv6?: number };
  /** RFC 10005: of the link to the peer, 1..1e15. */
  readonly linkBandwidthBytesPerSec?: number;
}

export interface BGPFilterRule {
  readonly action: 'Accept' | 'Reject';
  readonly matchOperator?: 'Equal' | 'NotEqual' | 'In' | 'NotIn';
  readonly cidr?: Cidr;
  readonly prefixLength?: { readonly min?: number; readonly max?: number };
  readonly source?: 'RemotePeers';
  /** With `*` as wildcard. */
  readonly interface?: string;
  readonly peerType?: 'eBGP' | 'iBGP';
  readonly communities?: readonly string[];
  readonly asPathPrefix?: readonly number[];
  readonly priority?: number;
  readonly operations?: readonly BGPFilterOperation[];
}

export type BGPFilterOperation =
  | { readonly type: 'addCommunity'; readonly value: string }
  | { readonly type: 'prependASPath'; readonly asNumbers: readonly number[] }
  | { readonly type: 'setPriority'; readonly value: number };

/** projectcalico.org/v3. First match decides; no match goes on to the next filter. */
export interface BGPFilterObject {
  readonly metadata: ObjectMeta;
  readonly exportV4: readonly BGPFilterRule[];
  readonly importV4: readonly BGPFilterRule[];
  readonly exportV6: readonly BGPFilterRule[];
  readonly importV6: readonly BGPFilterRule[];
}

/** projectcalico.org/v3. */
export interface IPPoolObject {
  readonly metadata: ObjectMeta;
  readonly cidr: Cidr;
  readonly natOutgoing: boolean;
  readonly disabled: boolean;
  readonly disableBGPExport: boolean;
  /** Selector of the nodes that it is for; absent: all. */
  readonly nodeSelector?: string;
}

/** projectcalico.org/v3: asks the agent of `node` for a report in its status, every `updatePeriodSec` (0: once). */
export interface CalicoNodeStatusObject {
  readonly metadata: ObjectMeta;
  readonly node: string;
  readonly classes: readonly ('Agent' | 'BGP' | 'Routes')[];
  readonly updatePeriodSec: number;
}

export interface ModelObjects {
  readonly Node: NodeObject;
  readonly Namespace: NamespaceObject;
  readonly Pod: PodObject;
  readonly NetworkPolicy: NetworkPolicyObject;
  readonly ClusterNetworkPolicy: ClusterPolicyObject;
  readonly AdminNetworkPolicy: ClusterPolicyObject;
  readonly BaselineAdminNetworkPolicy: ClusterPolicyObject;
  /** projectcalico.org's NetworkPolicy. */
  readonly CalicoNetworkPolicy: CalicoPolicyObject;
  readonly GlobalNetworkPolicy: CalicoPolicyObject;
  readonly StagedNetworkPolicy: StagedCalicoPolicyObject;
  readonly StagedGlobalNetworkPolicy: StagedCalicoPolicyObject;
  readonly StagedKubernetesNetworkPolicy: StagedKubernetesPolicyObject;
  readonly Tier: TierObject;
  readonly NetworkSet: NetworkSetObject;
  readonly GlobalNetworkSet: NetworkSetObject;
  readonly HostEndpoint: HostEndpointObject;
  readonly ServiceAccount: ServiceAccountObject;
  readonly EndpointSlice: EndpointSliceObject;
  readonly BGPConfiguration: BGPConfigurationObject;
  readonly BGPPeer: BGPPeerObject;
  readonly BGPFilter: BGPFilterObject;
  readonly IPPool: IPPoolObject;
  readonly CalicoNodeStatus: CalicoNodeStatusObject;
  readonly FelixConfiguration: FelixConfigurationObject;
  readonly Secret: SecretObject;
}
export type Kind = keyof ModelObjects;
export const kinds: readonly Kind[] = [
  'Node',
  'Namespace',
  'Pod',
  'NetworkPolicy',
  'ClusterNetworkPolicy',
  'AdminNetworkPolicy',
  'BaselineAdminNetworkPolicy',
  'CalicoNetworkPolicy',
  'GlobalNetworkPolicy',
  'StagedNetworkPolicy',
  'StagedGlobalNetworkPolicy',
  'StagedKubernetesNetworkPolicy',
  'Tier',
  'NetworkSet',
  'GlobalNetworkSet',
  'HostEndpoint',
  'ServiceAccount',
  'EndpointSlice',
  'BGPConfiguration',
  'BGPPeer',
  'BGPFilter',
  'IPPool',
  'CalicoNodeStatus',
  'FelixConfiguration',
  'Secret',
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
