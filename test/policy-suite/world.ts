/** A suite's cluster as the API server would hold it: performs operations and says what they change in the model. */
import { decodeObject, formatPath, type TypedObject } from '#datastore';
import { type IpAddress, toIpAddress } from '#kit';
import {
  type EndpointSliceObject,
  type Kind,
  type ModelUpdate,
  type NamespaceObject,
  type NodeObject,
  type ObjectMeta,
  objectKey,
  type PodObject,
} from '#model';
import { endpointSlicesOf, upsertSlice } from '#policy';
import { deletedKind, isService, policyKindOf } from './kinds.ts';
import type {
  SuiteCluster,
  SuiteExternal,
  SuiteManifest,
  SuiteNamespace,
  SuiteNode,
  SuiteOperation,
  SuitePod,
  SuitePort,
  SuiteService,
} from './suite.ts';

/** A step names what is not there, or what the API server would refuse: the case cannot go on. */
export class SuiteWorldError extends Error {}

/** Operations that change objects; the rest is for whoever runs agents and flows. */
export type ObjectOperation = Exclude<
  SuiteOperation,
  { op: 'openFlow' | 'closeFlow' | 'stopAgent' | 'startAgent' | 'restartAgent' }
>;

const defaultNamespaceLabel = 'kubernetes.io/metadata.name';

export class SuiteWorld {
  readonly nodes = new Map<string, NodeObject>();
  readonly namespaces = new Map<string, NamespaceObject>();
  readonly pods = new Map<string, PodObject>();
  /** What Kubernetes' controllers make of services and pods, by key. */
  readonly slices = new Map<string, EndpointSliceObject>();
  /** What the processes of a pod listen on. */
  readonly serves = new Map<string, readonly SuitePort[]>();
  readonly services = new Map<string, SuiteService>();
  readonly externals = new Map<string, SuiteExternal>();
  /** Policies and what belongs to them, by kind and key. */
  readonly policies = new Map<string, TypedObject>();

  constructor(cluster: SuiteCluster) {
    for (const node of cluster.nodes) this.nodes.set(node.name, nodeOf(node));
    for (const namespace of cluster.namespaces) this.#setNamespace(namespace);
    for (const pod of cluster.pods) this.#addPod(pod);
    for (const service of cluster.services) this.services.set(`${service.namespace}/${service.name}`, service);
    for (const external of cluster.externals) this.externals.set(external.name, external);
    this.#followServices();
  }

  /** Everything there is, as for somebody who begins now. */
  updates(): ModelUpdate[] {
    return [
      ...[...this.nodes.values()].map((object) => upsert('Node', object)),
      ...[...this.namespaces.values()].map((object) => upsert('Namespace', object)),
      ...[...this.pods.values()].map((object) => upsert('Pod', object)),
      ...[...this.slices.values()].map(upsertSlice),
      ...[...this.policies.values()].map(upsertTyped),
    ];
  }

  pod(key: string): PodObject {
    const pod = this.pods.get(key);
    if (!pod) throw new SuiteWorldError(`no pod ${key}`);
    return pod;
  }

  /** @throws SuiteWorldError */
  perform(operation: ObjectOperation): ModelUpdate[] {
    return [...this.#perform(operation), ...this.#followServices()];
  }

  #followServices(): ModelUpdate[] {
    const slices = [...this.services.values()].flatMap((service) => endpointSlicesOf(service, this.pods.values()));
    const now = new Map(slices.map((slice) => [objectKey(slice.metadata), slice]));
    const gone = [...this.slices.keys()].filter((key) => !now.has(key));
    for (const key of gone) this.slices.delete(key);
    const changed = [...now].filter(([key, slice]) => JSON.stringify(this.slices.get(key)) !== JSON.stringify(slice));
    for (const [key, slice] of changed) this.slices.set(key, slice);
    return [
      ...changed.map(([, slice]) => upsertSlice(slice)),
      ...gone.map((key): ModelUpdate => ({ type: 'delete', kind: 'EndpointSlice', key })),
    ];
  }

  #perform(operation: ObjectOperation): ModelUpdate[] {
    switch (operation.op) {
      case 'apply':
        return this.#apply(operation.object);
      case 'delete':
        return this.#delete(operation);
      case 'addNamespace':
        return [this.#setNamespace(operation.namespace)];
      case 'deleteNamespace':
        return this.#deleteNamespace(operation.name);
      case 'addPod':
        return [this.#addPod(operation.pod)];
      case 'deletePod': {
        const { metadata } = this.pod(`${operation.namespace}/${operation.name}`);
        return [this.#deletePod(objectKey(metadata))];
      }
      case 'setLabels':
        return [this.#setLabels(operation)];
      case 'setPod': {
        const key = `${operation.namespace}/${operation.name}`;
        const { phase, ips, terminating, serves } = operation.set;
        if (serves) this.serves.set(key, serves);
        return [
          this.#setPod({
            ...this.pod(key),
            ...(phase !== undefined && { phase: phase as PodObject['phase'] }),
            ...(ips && { podIPs: ips.map(address) }),
            ...(terminating !== undefined && { terminating }),
          }),
        ];
      }
    }
  }

  #apply(manifest: SuiteManifest): ModelUpdate[] {
    if (isService(manifest)) {
      const service = serviceOf(manifest);
      this.services.set(`${service.namespace}/${service.name}`, service);
      return [];
    }
    const kind = policyKindOf(manifest);
    if (!kind) throw new SuiteWorldError(`kind ${manifest.kind} of ${manifest.apiVersion}`);
    const { faults, typed } = decodeObject(kind, manifest);
    if (!typed) {
      const texts = faults.map(({ path, message }) => `${formatPath(path)}: ${message}`);
      throw new SuiteWorldError(`${manifest.kind} ${manifest.metadata.name} is refused: ${texts.join('; ')}`);
    }
    this.policies.set(`${kind} ${objectKey(typed.object.metadata)}`, typed);
    return [upsertTyped(typed)];
  }

  #delete(operation: Extract<SuiteOperation, { op: 'delete' }>): ModelUpdate[] {
    const namespace = operation.namespace ?? 'default';
    if (operation.kind === 'Service' && !operation.apiGroup) {
      this.services.delete(`${namespace}/${operation.name}`);
      return [];
    }
    const kind = deletedKind(operation.kind, operation.apiGroup);
    const [found] = [`${kind} ${namespace}/${operation.name}`, `${kind} ${operation.name}`].filter((key) =>
      this.policies.has(key),
    );
    if (!kind || !found) throw new SuiteWorldError(`no ${operation.kind} ${namespace}/${operation.name} to delete`);
    return [this.#dropPolicy(found)];
  }

  #dropPolicy(ref: string): ModelUpdate {
    const { kind, object } = this.policies.get(ref)!;
    this.policies.delete(ref);
    return { type: 'delete', kind, key: objectKey(object.metadata) };
  }

  /** With all that is in it, before itself. */
  #deleteNamespace(name: string): ModelUpdate[] {
    const policies = [...this.policies].filter(([, { object }]) => object.metadata.namespace === name);
    const pods = [...this.pods.values()].filter(({ metadata }) => metadata.namespace === name);
    for (const [key, service] of [...this.services]) if (service.namespace === name) this.services.delete(key);
    const updates = [
      ...policies.map(([ref]) => this.#dropPolicy(ref)),
      ...pods.map(({ metadata }) => this.#deletePod(objectKey(metadata))),
    ];
    this.namespaces.delete(name);
    return [...updates, { type: 'delete', kind: 'Namespace', key: name }];
  }

  #addPod(pod: SuitePod): ModelUpdate {
    this.serves.set(`${pod.namespace}/${pod.name}`, pod.serves ?? []);
    return this.#setPod(podOf(pod));
  }

  #setPod(object: PodObject): ModelUpdate {
    this.pods.set(objectKey(object.metadata), object);
    return upsert('Pod', object);
  }

  #deletePod(key: string): ModelUpdate {
    this.pods.delete(key);
    this.serves.delete(key);
    return { type: 'delete', kind: 'Pod', key };
  }

  #setNamespace({ name, labels }: SuiteNamespace): ModelUpdate {
    const object = { metadata: meta('', name, { ...labels, [defaultNamespaceLabel]: name }) };
    this.namespaces.set(name, object);
    return upsert('Namespace', object);
  }

  #setLabels(operation: Extract<SuiteOperation, { op: 'setLabels' }>): ModelUpdate {
    const { kind, namespace, name, labels } = operation;
    if (kind === 'Namespace') return this.#setNamespace({ name, labels });
    if (kind === 'Node') {
      const before = this.nodes.get(name);
      if (!before) throw new SuiteWorldError(`no node ${name}`);
      const node = { ...before, metadata: { ...before.metadata, labels } };
      this.nodes.set(name, node);
      return upsert('Node', node);
    }
    const before = this.pod(`${namespace}/${name}`);
    return this.#setPod({ ...before, metadata: { ...before.metadata, labels } });
  }
}

function upsert<K extends Kind>(kind: K, object: Extract<TypedObject, { kind: K }>['object']): ModelUpdate {
  return { type: 'upsert', kind, key: objectKey(object.metadata), object } as unknown as ModelUpdate;
}

function upsertTyped({ kind, object }: TypedObject): ModelUpdate {
  return { type: 'upsert', kind, key: objectKey(object.metadata), object } as unknown as ModelUpdate;
}

let uids = 0;
function meta(namespace: string, name: string, labels: Readonly<Record<string, string>>): ObjectMeta {
  return { namespace, name, uid: `${namespace}/${name}/${++uids}`, labels, annotations: {} };
}

function address(text: string): IpAddress {
  const parsed = toIpAddress(text);
  if (!parsed) throw new SuiteWorldError(`${JSON.stringify(text)} is no address`);
  return parsed;
}

function nodeOf({ name, ips, labels }: SuiteNode): NodeObject {
  return { metadata: meta('', name, labels ?? {}), podCIDRs: [], internalIPs: ips.map(address) };
}

function podOf(pod: SuitePod): PodObject {
  return {
    metadata: meta(pod.namespace, pod.name, pod.labels ?? {}),
    nodeName: pod.node,
    hostNetwork: pod.hostNetwork ?? false,
    serviceAccountName: pod.serviceAccount ?? 'default',
    ports: (pod.ports ?? []).map(({ name, port, protocol }) => ({
      ...(name && { name }),
      containerPort: port,
      protocol,
    })),
    phase: (pod.phase ?? 'Running') as PodObject['phase'],
    terminating: pod.terminating ?? false,
    podIPs: (pod.ips ?? []).map(address),
  };
}

/** The fields of a v1 Service that decide where its packets go. */
function serviceOf(manifest: SuiteManifest): SuiteService {
  const spec = (manifest.spec ?? {}) as {
    readonly selector?: Readonly<Record<string, string>>;
    readonly clusterIP?: string;
    readonly clusterIPs?: readonly string[];
    readonly ports?: readonly (Partial<SuitePort> & {
      readonly name?: string;
      readonly port: number;
      readonly targetPort?: number | string;
    })[];
  };
  return {
    namespace: manifest.metadata.namespace ?? 'default',
    name: manifest.metadata.name,
    selector: spec.selector ?? {},
    clusterIPs: spec.clusterIPs ?? (spec.clusterIP === undefined ? [] : [spec.clusterIP]),
    ports: (spec.ports ?? []).map((port) => ({ ...port, protocol: port.protocol ?? 'TCP' })),
  };
}
