/**
 * Objects of benches as the Kubernetes datastore leaves them in memory: equal texts and empty parts once, labels through JSON, so that
 * they take what decoded ones take.
 */
import type { Cidr, IpAddress } from '#kit';
import type {
  CalicoPolicyObject,
  CalicoRule,
  ClusterPolicyObject,
  ClusterPolicyRule,
  LabelSelector,
  Labels,
  ModelUpdate,
  NetworkPolicyObject,
  NetworkPolicyRule,
  ObjectMeta,
  PodObject,
} from '#model';

export interface LocalPod {
  readonly id: string;
  readonly addresses: readonly IpAddress[];
}

/** Inputs of one first calculation. */
export interface Workload {
  readonly updates: readonly ModelUpdate[];
  readonly local: readonly LocalPod[];
}

export const everything: LabelSelector = { matchLabels: {}, matchExpressions: [] };
export const hasLabel = (key: string): LabelSelector => ({
  matchLabels: {},
  matchExpressions: [{ key, operator: 'Exists', values: [] }],
});
export const addressOf = (i: number): IpAddress =>
  `${10 + (i >> 24)}.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}` as IpAddress;

const none = Object.freeze({});
const nothing = Object.freeze([]);
const ingressAlone = Object.freeze(['Ingress'] as const);

/** As a decoder leaves it: in one piece, which text that was put together is not. */
const decoded = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

function meta(namespace: string, name: string, uid: string, labels: Labels): ObjectMeta {
  return { namespace, name, uid, labels: decoded(labels), annotations: none };
}

export function namespace(name: string, labels: Labels): ModelUpdate {
  const metadata = meta('', name, name, { ...labels, 'kubernetes.io/metadata.name': name });
  return { type: 'upsert', kind: 'Namespace', key: name, object: { metadata } };
}

export function pod(ns: string, name: string, labels: Labels, addresses: readonly IpAddress[]): ModelUpdate {
  const { key, podIPs } = decoded({ key: `${ns}/${name}`, podIPs: addresses });
  const object: PodObject = {
    metadata: meta(ns, name, key, labels),
    nodeName: 'n1',
    hostNetwork: false,
    serviceAccountName: 'default',
    ports: nothing,
    phase: 'Running',
    terminating: false,
    podIPs,
  };
  return { type: 'upsert', kind: 'Pod', key, object };
}

export function networkPolicy(
  ns: string,
  name: string,
  part: Pick<NetworkPolicyObject, 'podSelector' | 'ingress' | 'egress'>,
): ModelUpdate {
  const policyTypes = part.egress.length > 0 ? (['Ingress', 'Egress'] as const) : (['Ingress'] as const);
  const key = decoded(`${ns}/${name}`);
  const object: NetworkPolicyObject = { metadata: meta(ns, name, key, none), policyTypes, ...part };
  return { type: 'upsert', kind: 'NetworkPolicy', key, object };
}

/** What a GlobalNetworkPolicy without order says: equal priorities, pods of all namespaces, who is listed comes in. */
export function clusterPolicy(name: string, subject: LabelSelector, sources: readonly LabelSelector[]): ModelUpdate {
  const rule = (podSelector: LabelSelector): ClusterPolicyRule => ({
    action: 'Accept',
    peers: [{ type: 'pods', namespaceSelector: everything, podSelector }],
    ports: nothing,
  });
  const object: ClusterPolicyObject = {
    metadata: meta('', name, name, none),
    tier: 'Admin',
    priority: 0,
    subject: { namespaceSelector: everything, podSelector: subject },
    ingress: sources.map(rule),
    egress: nothing,
  };
  return { type: 'upsert', kind: 'ClusterNetworkPolicy', key: name, object };
}

/** Of the default tier and without order: pods of all namespaces, who is listed comes in. Selectors are Calico's. */
export function globalPolicy(name: string, subject: string, sources: readonly string[]): ModelUpdate {
  const rule = (selector: string): CalicoRule => ({ action: 'Allow', source: { selector }, destination: none });
  const object: CalicoPolicyObject = {
    metadata: meta('', name, name, none),
    tier: 'default',
    selector: subject,
    types: ingressAlone,
    ingress: sources.map(rule),
    egress: nothing,
  };
  return { type: 'upsert', kind: 'GlobalNetworkPolicy', key: name, object };
}

export function globalNetworkSet(name: string, labels: Labels, addresses: readonly IpAddress[]): ModelUpdate {
  const nets = decoded(addresses.map((address) => `${address}/32` as Cidr));
  return {
    type: 'upsert',
    kind: 'GlobalNetworkSet',
    key: name,
    object: { metadata: meta('', name, name, labels), nets },
  };
}

/** One rule that lets `peers` of the own namespace in or out, on every port. */
export const ruleOf = (...selectors: readonly LabelSelector[]): NetworkPolicyRule => ({
  peers: selectors.map((podSelector) => ({ podSelector })),
  ports: nothing,
});
