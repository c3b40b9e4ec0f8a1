/** Kubernetes' Node, Namespace and Pod, cut down to the fields that mean something here; others pass unread. */
import { type Cidr, familyOf, type IpAddress, toIpAddress } from '#kit';
import type { ContainerPort, NamespaceObject, NodeObject, ObjectMeta, PodObject } from '#model';
import { readAddress, readCidr } from './metadata.ts';
import { portNameFault } from './names.ts';
import { protocols } from './network-policy.ts';
import { type Reader, show } from './reader.ts';

export function readNode(document: Reader, metadata: ObjectMeta): NodeObject {
  const spec = document.field('spec');
  spec.notMisspelt(['podCIDR', 'podCIDRs']);
  const status = document.field('status');
  status.notMisspelt(['addresses']);
  const otherIPs = readOtherIps(status.field('addresses'));
  return {
    metadata,
    podCIDRs: readPodCidrs(spec),
    internalIPs: readInternalIps(status.field('addresses')),
    ...(otherIPs.length > 0 ? { otherIPs } : {}),
    ...(isNetworkUnavailable(status.field('conditions')) ? { networkUnavailable: true } : {}),
  };
}

function isNetworkUnavailable(conditions: Reader): boolean {
  return conditions.list().some(({ value }) => {
    const { type, status } = value as { type?: unknown; status?: unknown };
    return type === 'NetworkUnavailable' && status === 'True';
  });
}

function readPodCidrs(spec: Reader): Cidr[] {
  const listReader = spec.field('podCIDRs');
  const singleReader = spec.field('podCIDR');
  const single = singleReader.present && singleReader.value !== '' ? readCidr(singleReader) : undefined;
  const out = listReader.list().flatMap((entry) => readCidr(entry) ?? []);
  if (single && out.length === 0) out.push(single);
  if (single && out[0] !== single) singleReader.fault(`${single} differs from podCIDRs[0] ${out[0]}; make them equal`);
  if (new Set(out.map(familyOf)).size !== out.length) {
    listReader.fault(`${show(out)} has two prefixes of one family; give at most one for IPv4 and one for IPv6`);
  }
  return out;
}

function readInternalIps(reader: Reader): IpAddress[] {
  const out: IpAddress[] = [];
  for (const entry of reader.list()) {
    entry.onlyFields(['type', 'address']);
    if (entry.field('type').requiredString() !== 'InternalIP') continue;
    const address = readAddress(entry.field('address'));
    if (address && !out.includes(address)) out.push(address);
  }
  return out;
}

/** External ones; names of hosts stand beside them. */
function readOtherIps(reader: Reader): IpAddress[] {
  const out = new Set<IpAddress>();
  for (const entry of Array.isArray(reader.value) ? reader.value : []) {
    const { type, address } = (entry ?? {}) as { readonly type?: unknown; readonly address?: unknown };
    const found = type !== 'InternalIP' && typeof address === 'string' ? toIpAddress(address) : undefined;
    if (found) out.add(found);
  }
  return [...out];
}

/** The label by which namespaces are selected by name; the API server sets it on every one. */
export const namespaceNameLabel = 'kubernetes.io/metadata.name';

export function readNamespace(document: Reader, metadata: ObjectMeta): NamespaceObject {
  document.field('spec').mapping();
  document.field('status').mapping();
  return { metadata: { ...metadata, labels: { ...metadata.labels, [namespaceNameLabel]: metadata.name } } };
}

const phases = ['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'] as const;

export function readPod(document: Reader, metadata: ObjectMeta): PodObject {
  const spec = document.field('spec');
  spec.notMisspelt(
    ['nodeName', 'hostNetwork', 'containers', 'initContainers', 'serviceAccountName'],
    ['serviceAccount', 'ephemeralContainers'],
  );
  const status = document.field('status');
  status.notMisspelt(['phase', 'podIP', 'podIPs'], ['hostIP', 'hostIPs']);
  const containers = spec.field('containers').list();
  const sidecars = spec
    .field('initContainers')
    .list()
    .filter((container) => container.field('restartPolicy').value === 'Always');
  return {
    metadata,
    nodeName: spec.field('nodeName').string() ?? '',
    hostNetwork: spec.field('hostNetwork').boolean() ?? false,
    serviceAccountName: spec.field('serviceAccountName').string() || 'default',
    ports: [...containers, ...sidecars].flatMap(readContainerPorts),
    phase: status.field('phase').oneOf(phases) ?? 'Pending',
    terminating: document.field('metadata').field('deletionTimestamp').present,
    podIPs: readPodIps(status),
  };
}

function readContainerPorts(container: Reader): ContainerPort[] {
  container.notMisspelt(['ports', 'restartPolicy']);
  const names = new Set<string>();
  return container
    .field('ports')
    .list()
    .flatMap((entry): ContainerPort[] => {
      entry.onlyFields(['name', 'containerPort', 'protocol', 'hostPort', 'hostIP']);
      const nameReader = entry.field('name');
      const name = nameReader.string() || undefined;
      const nameFault = name && portNameFault(name);
      if (nameFault) nameReader.fault(`${show(name)} is not a port name: it ${nameFault}`);
      if (name && names.has(name)) nameReader.fault(`${show(name)} is used twice in this container; rename one`);
      if (name) names.add(name);
      const portReader = entry.field('containerPort');
      const containerPort = portReader.present ? portReader.integer(1, 65535) : portReader.fault('is required');
      const protocol = entry.field('protocol').oneOf(protocols) ?? 'TCP';
      return containerPort === undefined ? [] : [{ ...(name ? { name } : {}), containerPort, protocol }];
    });
}

function readPodIps(status: Reader): IpAddress[] {
  const out = status
    .field('podIPs')
    .list()
    .flatMap((entry) => {
      entry.onlyFields(['ip']);
      return readAddress(entry.field('ip')) ?? [];
    });
  const singleReader = status.field('podIP');
  const single = singleReader.present && singleReader.value !== '' ? readAddress(singleReader) : undefined;
  if (single && out.length === 0) out.push(single);
  if (single && out[0] !== single) singleReader.fault(`${single} differs from podIPs[0] ${out[0]}; make them equal`);
  return [...new Set(out)];
}
