/**
 * EndpointSlices that a cluster would make of services and pods, for manifests that hold none: as the endpoint slice controller of Kubernetes
 * does it, for whoever asks by address and port.
 */
import { familyOf, type IpFamily } from '#kit';
import {
  type EndpointPort,
  type EndpointSliceObject,
  labelValue,
  type ModelUpdate,
  objectKey,
  type PodObject,
  type ServiceSelection,
  serviceKeyOf,
  serviceNameLabel,
} from '#model';

/** The objects with slices for each service that none of them is of. Pods without an address are behind no service. */
export function withEndpointSlices(
  updates: readonly ModelUpdate[],
  services: readonly ServiceSelection[],
): readonly ModelUpdate[] {
  if (services.length === 0) return updates;
  const known = new Set<string>();
  const pods: PodObject[] = [];
  for (const update of updates) {
    if (update.type !== 'upsert') continue;
    if (update.kind === 'Pod') pods.push(update.object);
    if (update.kind === 'EndpointSlice') known.add(serviceKeyOf(update.object));
  }
  const slices = services
    .filter((service) => !known.has(objectKey(service)))
    .flatMap((service) => endpointSlicesOf(service, pods));
  return [...updates, ...slices.map((object) => upsertSlice(object))];
}

export function upsertSlice(object: EndpointSliceObject): ModelUpdate {
  return { type: 'upsert', kind: 'EndpointSlice', key: objectKey(object.metadata), object };
}

/** One for each family and each set of ports that pods have behind it; of no pods an empty one, as the controller leaves it. */
export function endpointSlicesOf(service: ServiceSelection, pods: Iterable<PodObject>): EndpointSliceObject[] {
  if (Object.keys(service.selector).length === 0) return [];
  const slices = new Map<
    string,
    { readonly ports: readonly EndpointPort[]; readonly of: PodObject[]; family: IpFamily }
  >();
  for (const pod of pods) {
    if (!isBehind(service, pod)) continue;
    const ports = portsAt(service, pod);
    for (const family of [4, 6] as const) {
      const key = `${family} ${ports.map(({ protocol, port }) => `${protocol} ${port}`).join()}`;
      const slice = slices.get(key) ?? { ports, of: [], family };
      slices.set(key, slice);
      slice.of.push(pod);
    }
  }
  const found = [...slices.values()]
    .map(({ ports, of, family }) => ({
      ports,
      addresses: [...new Set(of.flatMap(({ podIPs }) => podIPs.filter((address) => familyOf(address) === family)))],
    }))
    .filter(({ addresses }) => addresses.length > 0);
  if (found.length === 0) found.push({ ports: [], addresses: [] });
  return found.map(({ ports, addresses }, index) => ({
    metadata: {
      name: `${service.name}-${index}`,
      namespace: service.namespace,
      uid: '',
      labels: { [serviceNameLabel]: service.name },
      annotations: {},
    },
    serviceName: service.name,
    addresses,
    ports,
  }));
}

/** Not ready, or on its way out: it stands in a slice all the same. */
function isBehind({ namespace, selector }: ServiceSelection, { metadata, phase }: PodObject): boolean {
  return (
    metadata.namespace === namespace &&
    phase !== 'Succeeded' &&
    phase !== 'Failed' &&
    Object.entries(selector).every(([key, value]) => labelValue(metadata.labels, key) === value)
  );
}

/** A port that the pod does not declare under the name is none of its. */
function portsAt({ ports }: ServiceSelection, pod: PodObject): EndpointPort[] {
  const found = ports.flatMap(({ port, protocol, targetPort = port }): EndpointPort[] => {
    if (typeof targetPort === 'number') return [{ port: targetPort, protocol }];
    const declared = pod.ports.find(({ name, protocol: of }) => name === targetPort && of === protocol);
    return declared ? [{ port: declared.containerPort, protocol }] : [];
  });
  return [...new Map(found.map((each) => [`${each.protocol} ${each.port}`, each])).values()];
}
