/**
 * An oracle for Calico's policies: reads the manifests as they were written, by the words of docs.tigera.io's resource definitions and
 * libcalico-go's conversions, looking at everything each time. It shares no code with the reader and the engine.
 */
import type { Labels, PodObject, Protocol } from '#model';
import { counts, inBlock, namespaceLabels } from './naive-match.ts';
import type { NaiveCluster, NaivePacket } from './naive-policy.ts';
import { naiveSelects } from './naive-selector.ts';

export interface RawEntity {
  readonly nets?: readonly string[];
  readonly notNets?: readonly string[];
  readonly selector?: string;
  readonly notSelector?: string;
  readonly namespaceSelector?: string;
  readonly serviceAccounts?: { readonly names?: readonly string[]; readonly selector?: string };
  readonly services?: { readonly name: string; readonly namespace?: string };
  readonly domains?: readonly string[];
  readonly ports?: readonly (number | string)[];
  readonly notPorts?: readonly (number | string)[];
}
export interface RawCalicoRule {
  readonly action: 'Allow' | 'Deny' | 'Log' | 'Pass';
  readonly ipVersion?: 4 | 6;
  readonly protocol?: Protocol | number;
  readonly notProtocol?: Protocol | number;
  readonly source?: RawEntity;
  readonly destination?: RawEntity;
}
interface RawMetadata {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Labels;
}
export interface RawCalicoPolicy {
  readonly apiVersion: 'projectcalico.org/v3';
  readonly kind: 'NetworkPolicy' | 'GlobalNetworkPolicy';
  readonly metadata: RawMetadata;
  readonly spec: {
    readonly tier?: string;
    readonly order?: number;
    readonly selector?: string;
    readonly namespaceSelector?: string;
    readonly serviceAccountSelector?: string;
    readonly types?: readonly Direction[];
    readonly ingress?: readonly RawCalicoRule[];
    readonly egress?: readonly RawCalicoRule[];
    readonly applyOnForward?: boolean;
    readonly preDNAT?: boolean;
    readonly doNotTrack?: boolean;
  };
}
export interface RawTier {
  readonly apiVersion: 'projectcalico.org/v3';
  readonly kind: 'Tier';
  readonly metadata: RawMetadata;
  readonly spec: { readonly order?: number; readonly defaultAction?: 'Deny' | 'Pass' };
}
export interface RawNetworkSet {
  readonly apiVersion: 'projectcalico.org/v3';
  readonly kind: 'NetworkSet' | 'GlobalNetworkSet';
  readonly metadata: RawMetadata;
  readonly spec: { readonly nets?: readonly string[] };
}
export interface RawEndpointSlice {
  readonly apiVersion: 'discovery.k8s.io/v1';
  readonly kind: 'EndpointSlice';
  readonly metadata: RawMetadata;
  readonly addressType: 'IPv4' | 'IPv6';
  readonly endpoints: readonly { readonly addresses: readonly string[]; readonly conditions?: object }[];
  readonly ports?: readonly { readonly name?: string; readonly port?: number; readonly protocol?: Protocol }[];
}
/** As a peer alone. */
export interface RawHostEndpoint {
  readonly apiVersion: 'projectcalico.org/v3';
  readonly kind: 'HostEndpoint';
  readonly metadata: RawMetadata;
  readonly spec: {
    readonly node: string;
    readonly interfaceName: string;
    readonly expectedIPs: readonly string[];
    readonly ports: readonly { readonly name: string; readonly protocol: Protocol; readonly port: number }[];
  };
}
export interface RawServiceAccount {
  readonly apiVersion: 'v1';
  readonly kind: 'ServiceAccount';
  readonly metadata: RawMetadata;
}
export type RawCalico =
  | RawCalicoPolicy
  | RawTier
  | RawNetworkSet
  | RawHostEndpoint
  | RawServiceAccount
  | RawEndpointSlice;

type Direction = 'Ingress' | 'Egress';
export type NaiveAction = 'allow' | 'deny' | 'pass';

/** A policy of any kind that selects the pod in the direction: where it stands, and what it does with the packet if anything. */
export interface NaivePlaced {
  readonly tier: string;
  readonly order: number | undefined;
  readonly name: string;
  readonly says: NaiveAction | undefined;
}

const numbers: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132 };
const numberOf = (protocol: Protocol | number): number =>
  typeof protocol === 'number' ? protocol : numbers[protocol]!;
const last = Number.MAX_VALUE;

export function naiveCalicoPolicies(
  cluster: NaiveCluster,
  subject: PodObject,
  direction: Direction,
  packet: NaivePacket,
): NaivePlaced[] {
  const labels = podLabels(cluster, subject);
  const inPlace = labels['projectcalico.org/namespace']!;
  return (cluster.calico ?? []).flatMap((policy) => {
    if (policy.kind !== 'NetworkPolicy' && policy.kind !== 'GlobalNetworkPolicy') return [];
    const { metadata, spec, kind } = policy;
    const namespaced = kind === 'NetworkPolicy';
    if (namespaced && metadata.namespace !== inPlace) return [];
    if (spec.preDNAT || spec.doNotTrack) return [];
    if (!naiveSelects(spec.selector ?? '', labels)) return [];
    if (!naiveSelects(spec.namespaceSelector ?? '', labels, 'pcns.')) return [];
    if (!naiveSelects(spec.serviceAccountSelector ?? '', labels, 'pcsa.')) return [];
    if (!typesOf(spec).includes(direction)) return [];
    const rules = (direction === 'Ingress' ? spec.ingress : spec.egress) ?? [];
    const rule = rules.find(
      (each) => each.action !== 'Log' && ruleFits(cluster, each, namespaced ? metadata.namespace! : '', packet),
    );
    const says = rule && ({ Allow: 'allow', Deny: 'deny', Pass: 'pass', Log: undefined } as const)[rule.action];
    const name = `${namespaced ? `${metadata.namespace}/` : ''}${metadata.name}:${namespaced ? 'CalicoNetworkPolicy' : kind}`;
    return [{ tier: spec.tier ?? 'default', order: spec.order, name, says }];
  });
}

function typesOf({ types, ingress = [], egress = [] }: RawCalicoPolicy['spec']): readonly Direction[] {
  if (types && types.length > 0) return types;
  if (egress.length === 0) return ['Ingress'];
  return ingress.length === 0 ? ['Egress'] : ['Ingress', 'Egress'];
}

/** What becomes of the packet: tiers in order, in each the policies in order; behind the last it is allowed. */
export function naiveTiersAllow(cluster: NaiveCluster, policies: readonly NaivePlaced[]): boolean {
  const fixed: Readonly<Record<string, readonly [number, NaiveAction]>> = {
    'kube-admin': [1_000, 'pass'],
    default: [1_000_000, 'deny'],
    'kube-baseline': [10_000_000, 'pass'],
  };
  const tierOf = (name: string): readonly [number, NaiveAction] => {
    if (fixed[name]) return fixed[name];
    const tier = (cluster.calico ?? []).find((each) => each.kind === 'Tier' && each.metadata.name === name);
    const spec = tier?.kind === 'Tier' ? tier.spec : {};
    return [spec.order ?? last, spec.defaultAction === 'Pass' ? 'pass' : 'deny'];
  };
  const byName = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);
  const tiers = [...new Set(policies.map(({ tier }) => tier))].sort(
    (a, b) => tierOf(a)[0] - tierOf(b)[0] || byName(a, b),
  );
  for (const tier of tiers) {
    const inTier = policies
      .filter((policy) => policy.tier === tier)
      .sort((a, b) => (a.order ?? last) - (b.order ?? last) || byName(a.name, b.name));
    const verdict = inTier.find(({ says }) => says !== undefined)?.says ?? tierOf(tier)[1];
    if (verdict !== 'pass') return verdict === 'allow';
  }
  return true;
}

function ruleFits(cluster: NaiveCluster, rule: RawCalicoRule, namespace: string, packet: NaivePacket): boolean {
  const version = packet.toAddress.includes(':') ? 6 : 4;
  if (rule.ipVersion !== undefined && rule.ipVersion !== version) return false;
  const protocol = numbers[packet.protocol]!;
  if (rule.protocol !== undefined && numberOf(rule.protocol) !== protocol) return false;
  if (rule.notProtocol !== undefined && numberOf(rule.notProtocol) === protocol) return false;
  const from = { address: packet.fromAddress, port: 50_000, protocol: packet.protocol };
  const to = { address: packet.toAddress, port: packet.port, protocol: packet.protocol };
  return (
    entityFits(cluster, rule.source ?? {}, namespace, from) &&
    entityFits(cluster, rule.destination ?? {}, namespace, to) &&
    serviceFits(cluster, rule.source?.services, namespace, from, false) &&
    serviceFits(cluster, rule.destination?.services, namespace, to, true)
  );
}

interface End {
  readonly address: string;
  readonly port: number;
  readonly protocol: Protocol;
}

/** Whether some slice of the service holds the address and, where ports count, the port. */
function serviceFits(
  cluster: NaiveCluster,
  service: RawEntity['services'],
  namespace: string,
  end: End,
  portsCount: boolean,
): boolean {
  if (!service) return true;
  return (cluster.calico ?? []).some((slice) => {
    if (slice.kind !== 'EndpointSlice' || slice.metadata.namespace !== (service.namespace ?? namespace)) return false;
    if (slice.metadata.labels?.['kubernetes.io/service-name'] !== service.name) return false;
    if (!slice.endpoints.some(({ addresses }) => addresses.includes(end.address))) return false;
    const isServed = (slice.ports ?? []).some(
      ({ port, protocol = 'TCP' }) => port === end.port && protocol === end.protocol,
    );
    return !portsCount || isServed;
  });
}

function entityFits(cluster: NaiveCluster, entity: RawEntity, namespace: string, end: End): boolean {
  const { nets = [], notNets = [], ports = [], notPorts = [], selector, notSelector, namespaceSelector } = entity;
  const { names = [], selector: ofAccounts } = entity.serviceAccounts ?? {};
  // Nobody here has asked for a name yet.
  if (entity.domains) return false;
  const within = (net: string): boolean =>
    net.includes('/') ? inBlock(end.address, net) : inBlock(end.address, `${net}/${net.includes(':') ? 128 : 32}`);
  if (nets.length > 0 && !nets.some(within)) return false;
  if (notNets.some(within)) return false;
  const here = whoIsAt(cluster, end.address);
  const asks = Boolean(selector || namespaceSelector || names.length > 0 || ofAccounts);
  const selects = asks || (namespace !== '' && Boolean(notSelector));
  const selected = ({ labels }: Standing): boolean => {
    const stands = labels['projectcalico.org/namespace'];
    if (namespaceSelector) {
      if (!naiveSelects(namespaceSelector, labels, 'pcns.', stands !== undefined)) return false;
    } else if (namespace !== '' && stands !== namespace) return false;
    if (names.length > 0 && !names.some((name) => name === labels['projectcalico.org/serviceaccount'])) return false;
    if (ofAccounts && !naiveSelects(ofAccounts, labels, 'pcsa.')) return false;
    if (notSelector && naiveSelects(notSelector, labels)) return false;
    return !selector || naiveSelects(selector, labels);
  };
  if (selects && !here.some(selected)) return false;
  if (!selects && notSelector && here.some(({ labels }) => naiveSelects(notSelector, labels))) return false;
  const exposing = here.filter((one) => !selects || selected(one));
  if (ports.length > 0 && !ports.some((port) => isPort(exposing, port, end))) return false;
  return !notPorts.some((port) => isPort(exposing, port, end));
}

function isPort(exposing: readonly Standing[], port: number | string, end: End): boolean {
  if (typeof port === 'number') return port === end.port;
  const [first, second] = port.split(':');
  if (second !== undefined) return Number(first) <= end.port && end.port <= Number(second);
  if (/^\d+$/.test(port)) return Number(port) === end.port;
  return exposing.some(({ ports }) =>
    ports.some((each) => each.name === port && each.protocol === end.protocol && each.containerPort === end.port),
  );
}

interface Standing {
  readonly labels: Labels;
  readonly ports: PodObject['ports'];
}

/** Every pod, network set and host endpoint that holds the address. */
function whoIsAt(cluster: NaiveCluster, address: string): Standing[] {
  const pods = cluster.pods.filter((pod) => counts(pod) && pod.podIPs.some((own) => own === address));
  const sets = (cluster.calico ?? []).flatMap((each) => {
    if (each.kind !== 'NetworkSet' && each.kind !== 'GlobalNetworkSet') return [];
    const nets = (each.spec.nets ?? []).map((net) =>
      net.includes('/') ? net : `${net}/${net.includes(':') ? 128 : 32}`,
    );
    if (!nets.some((net) => inBlock(address, net))) return [];
    const { labels = {}, namespace } = each.metadata;
    return [each.kind === 'NetworkSet' ? inNamespace(cluster, namespace!, labels) : labels];
  });
  const hosts = (cluster.calico ?? []).flatMap((each) => {
    if (each.kind !== 'HostEndpoint' || !each.spec.expectedIPs.includes(address)) return [];
    const ports = each.spec.ports.map(({ port, ...more }) => ({ ...more, containerPort: port }));
    return [{ labels: each.metadata.labels ?? {}, ports }];
  });
  return [
    ...hosts,
    ...pods.map((pod) => ({ labels: podLabels(cluster, pod), ports: pod.ports })),
    ...sets.map((labels) => ({ labels, ports: [] })),
  ];
}

function podLabels(cluster: NaiveCluster, pod: PodObject): Labels {
  const { namespace, labels } = pod.metadata;
  const account = (cluster.calico ?? []).find(
    ({ kind, metadata }) =>
      kind === 'ServiceAccount' && metadata.namespace === namespace && metadata.name === pod.serviceAccountName,
  );
  return {
    ...prefixed('pcsa.', { ...account?.metadata.labels, 'projectcalico.org/name': pod.serviceAccountName }),
    ...inNamespace(cluster, namespace, labels),
    'projectcalico.org/orchestrator': 'k8s',
    'projectcalico.org/serviceaccount': pod.serviceAccountName,
  };
}

function inNamespace(cluster: NaiveCluster, namespace: string, labels: Labels): Labels {
  const inherited = { ...namespaceLabels(cluster, namespace), 'projectcalico.org/name': namespace };
  return { ...prefixed('pcns.', inherited), ...labels, 'projectcalico.org/namespace': namespace };
}

function prefixed(prefix: string, labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).map(([key, value]) => [prefix + key, value]));
}
