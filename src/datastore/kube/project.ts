/**
 * Pod, Namespace and Node straight from what the API server sends, many a second: like the decoders in `../manifest`, but
 * trusting that the API server has checked syntax. Whatever has another type than it should gives undefined: the decoder
 * then says what is wrong. Some 2 µs a pod.
 */
import { type Cidr, type IpAddress, toCidr, toIpAddress } from '#kit';
import type { ContainerPort, Labels, NamespaceObject, NodeObject, ObjectMeta, PodObject, Protocol } from '#model';
import { namespaceNameLabel } from '../manifest/core.ts';
import { keptAnnotations } from '../manifest/metadata.ts';
import type { Interner } from './intern.ts';
import type { RawObject } from './raw-object.ts';

const none: Labels = Object.freeze({});

type Fields = Readonly<Record<string, unknown>>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const noFields: Fields = Object.freeze({});
const fieldsOf = (value: unknown): Fields | undefined =>
  value === undefined || value === null ? noFields : isFields(value) ? value : undefined;
/** An absent list is empty; undefined when it is something else. */
const listOf = (value: unknown): readonly unknown[] | undefined =>
  value === undefined || value === null ? [] : Array.isArray(value) ? value : undefined;
const isTextOrAbsent = (value: unknown): value is string | undefined =>
  value === undefined || typeof value === 'string';

function texts(value: unknown): Labels | undefined {
  if (value === undefined || value === null) return none;
  if (!isFields(value)) return undefined;
  for (const key in value) if (typeof value[key] !== 'string') return undefined;
  return value as Labels;
}

function projectMetadata(raw: RawObject, namespaced: boolean, intern: Interner): ObjectMeta | undefined {
  const { name, namespace, uid } = raw.metadata;
  const labels = texts(raw.metadata.labels);
  const annotations = texts(raw.metadata.annotations);
  if (typeof name !== 'string' || !isTextOrAbsent(uid) || !labels || !annotations) return undefined;
  if (namespaced ? typeof namespace !== 'string' || namespace === '' : namespace !== undefined) return undefined;
  return {
    name,
    namespace: namespaced ? intern.text(namespace!) : '',
    uid: uid ?? '',
    labels: intern.labels(labels),
    annotations: keptAnnotations(annotations),
  };
}

export function projectNamespace(raw: RawObject, intern: Interner): NamespaceObject | undefined {
  const metadata = projectMetadata(raw, false, intern);
  if (!metadata || !fieldsOf(raw.spec) || !fieldsOf(raw.status)) return undefined;
  if (metadata.labels[namespaceNameLabel] === metadata.name) return { metadata };
  return { metadata: { ...metadata, labels: { ...metadata.labels, [namespaceNameLabel]: metadata.name } } };
}

export function projectNode(raw: RawObject, intern: Interner): NodeObject | undefined {
  const metadata = projectMetadata(raw, false, intern);
  const spec = fieldsOf(raw.spec);
  const status = fieldsOf(raw.status);
  if (!metadata || !spec || !status) return undefined;
  const cidrTexts = listOf(spec['podCIDRs']);
  const addresses = listOf(status['addresses']);
  const conditions = listOf(status['conditions']);
  if (!cidrTexts || !addresses || !conditions) return undefined;
  const podCIDRs: Cidr[] = [];
  for (const text of cidrTexts) {
    const cidr = typeof text === 'string' && text.includes('/') ? toCidr(text) : undefined;
    if (!cidr) return undefined;
    podCIDRs.push(cidr);
  }
  const families =
    podCIDRs.length < 2 || (podCIDRs.length === 2 && podCIDRs[0]!.includes(':') !== podCIDRs[1]!.includes(':'));
  const single = spec['podCIDR'];
  if (!families || (single !== undefined && (podCIDRs.length === 0 || single !== cidrTexts[0]))) return undefined;
  const internalIPs: IpAddress[] = [];
  const otherIPs: IpAddress[] = [];
  for (const entry of addresses) {
    if (!isFields(entry) || typeof entry['type'] !== 'string' || entry['type'] === '') return undefined;
    const address = typeof entry['address'] === 'string' ? toIpAddress(entry['address']) : undefined;
    if (entry['type'] !== 'InternalIP') {
      if (address && !otherIPs.includes(address)) otherIPs.push(address);
      continue;
    }
    if (!address) return undefined;
    if (!internalIPs.includes(address)) internalIPs.push(address);
  }
  let networkUnavailable = false;
  for (const condition of conditions) {
    if (!isFields(condition)) return undefined;
    if (condition['type'] === 'NetworkUnavailable' && condition['status'] === 'True') networkUnavailable = true;
  }
  return {
    metadata,
    podCIDRs,
    internalIPs,
    ...(otherIPs.length > 0 ? { otherIPs } : {}),
    ...(networkUnavailable ? { networkUnavailable } : {}),
  };
}

/** Each name once, whichever text it came as. */
const phases: ReadonlyMap<unknown, PodObject['phase']> = new Map(
  (['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'] as const).map((phase) => [phase, phase]),
);
const noPorts: readonly ContainerPort[] = Object.freeze([]);
const noAddresses: readonly IpAddress[] = Object.freeze([]);

export function projectPod(raw: RawObject, intern: Interner): PodObject | undefined {
  const metadata = projectMetadata(raw, true, intern);
  const spec = fieldsOf(raw.spec);
  const status = fieldsOf(raw.status);
  if (!metadata || !spec || !status) return undefined;
  const nodeName = spec['nodeName'] ?? '';
  const hostNetwork = spec['hostNetwork'] ?? false;
  const serviceAccountName = spec['serviceAccountName'] ?? '';
  const phase = phases.get(status['phase'] ?? 'Pending');
  const ports = projectPorts(spec, intern);
  const podIPs = projectAddresses(status);
  if (typeof nodeName !== 'string' || typeof hostNetwork !== 'boolean' || typeof serviceAccountName !== 'string') {
    return undefined;
  }
  if (!phase || !ports || !podIPs) return undefined;
  return {
    metadata,
    nodeName: intern.text(nodeName),
    hostNetwork,
    serviceAccountName: intern.text(serviceAccountName || 'default'),
    ports,
    phase,
    terminating: (raw.metadata as Fields)['deletionTimestamp'] !== undefined,
    podIPs,
  };
}

function projectPorts(spec: Fields, intern: Interner): readonly ContainerPort[] | undefined {
  const containers = listOf(spec['containers']);
  const initContainers = listOf(spec['initContainers']);
  if (!containers || !initContainers) return undefined;
  let out: ContainerPort[] | undefined;
  for (const list of [containers, initContainers]) {
    for (const container of list) {
      if (!isFields(container)) return undefined;
      // Of init containers only those that run on beside the others: sidecars.
      if (list === initContainers && container['restartPolicy'] !== 'Always') continue;
      const ports = listOf(container['ports']);
      if (!ports) return undefined;
      for (const entry of ports) {
        const port = isFields(entry) ? projectPort(entry, intern) : undefined;
        if (!port) return undefined;
        out ??= [];
        out.push(port);
      }
    }
  }
  return out ? intern.ports(out) : noPorts;
}

function projectPort(entry: Fields, intern: Interner): ContainerPort | undefined {
  const { name, containerPort, protocol = 'TCP' } = entry;
  if (typeof containerPort !== 'number' || !isTextOrAbsent(name)) return undefined;
  if (protocol !== 'TCP' && protocol !== 'UDP' && protocol !== 'SCTP') return undefined;
  return { ...(name ? { name: intern.text(name) } : {}), containerPort, protocol: protocol satisfies Protocol };
}

function projectAddresses(status: Fields): readonly IpAddress[] | undefined {
  const list = listOf(status['podIPs']);
  const single = status['podIP'];
  if (!list || !isTextOrAbsent(single)) return undefined;
  if (list.length === 0 && !single) return noAddresses;
  if (list.length === 1) {
    // Most pods; an array that grows by push keeps room for 17.
    const text = isFields(list[0]) ? list[0]['ip'] : undefined;
    const address = typeof text === 'string' ? toIpAddress(text) : undefined;
    return address && (!single || text === single || toIpAddress(single) === address) ? [address] : undefined;
  }
  const out: IpAddress[] = [];
  for (const entry of list) {
    const text = isFields(entry) ? entry['ip'] : undefined;
    const address = typeof text === 'string' ? toIpAddress(text) : undefined;
    if (!address) return undefined;
    if (!out.includes(address)) out.push(address);
  }
  if (!single) return out;
  const first = toIpAddress(single);
  if (out.length === 0) return first && [first];
  return first === out[0] ? out : undefined;
}
