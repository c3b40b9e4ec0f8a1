/** A suite's cluster as model objects: performs the operations of a step and says what they changed. */
import assert from 'node:assert/strict';
import { type Cidr, type IpAddress, toCidr, toIpAddress } from '#kit';
import type {
  LabelSelector,
  ModelUpdate,
  NamespaceObject,
  NetworkPolicyObject,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  NetworkPolicyRule,
  ObjectMeta,
  PodObject,
  Protocol,
} from '#model';
import type { NaiveCluster } from './naive-policy.ts';
import type { SuiteCluster, SuiteManifest, SuiteOperation, SuitePod } from './policy-suite.ts';

/** A step that this world cannot perform, and why: the runner counts and names it. */
export class Unsupported extends Error {}

export class SuiteWorld {
  readonly namespaces = new Map<string, NamespaceObject>();
  readonly pods = new Map<string, PodObject>();
  readonly policies = new Map<string, NetworkPolicyObject>();

  /** The updates that describe the cluster at the start. */
  static create(cluster: SuiteCluster): { readonly world: SuiteWorld; readonly updates: ModelUpdate[] } {
    const world = new SuiteWorld();
    const updates = [
      ...cluster.namespaces.flatMap((namespace) => world.perform({ op: 'addNamespace', namespace })),
      ...cluster.pods.flatMap((pod) => world.perform({ op: 'addPod', pod })),
    ];
    return { world, updates };
  }

  snapshot(): NaiveCluster {
    return {
      namespaces: [...this.namespaces.values()],
      pods: [...this.pods.values()],
      policies: [...this.policies.values()],
    };
  }

  /** @throws Unsupported for policy kinds other than NetworkPolicy, flows, and what is done to the agent. */
  perform(operation: SuiteOperation): ModelUpdate[] {
    switch (operation.op) {
      case 'apply':
        return [this.#setPolicy(networkPolicyOf(operation.object))];
      case 'delete': {
        if (operation.kind !== 'NetworkPolicy') throw new Unsupported(`kind ${operation.kind}`);
        return [this.#deletePolicy(`${operation.namespace ?? 'default'}/${operation.name}`)];
      }
      case 'addNamespace': {
        const { name, labels } = operation.namespace;
        return [this.#setNamespace({ metadata: meta('', name, labels) })];
      }
      case 'deleteNamespace': {
        const inside = (key: string): boolean => key.startsWith(`${operation.name}/`);
        const policies = [...this.policies.keys()].filter(inside).map((key) => this.#deletePolicy(key));
        const pods = [...this.pods.keys()].filter(inside).map((key) => this.#deletePod(key));
        this.namespaces.delete(operation.name);
        return [...policies, ...pods, { type: 'delete', kind: 'Namespace', key: operation.name }];
      }
      case 'addPod':
        if (operation.hammer) throw new Unsupported('addPod with hammer');
        return [this.#setPod(podOf(operation.pod))];
      case 'deletePod':
        return [this.#deletePod(`${operation.namespace}/${operation.name}`)];
      case 'setLabels':
        return [this.#setLabels(operation)];
      case 'setPod': {
        const before = this.#pod(`${operation.namespace}/${operation.name}`);
        const { phase, ips, terminating } = operation.set;
        return [
          this.#setPod({
            ...before,
            ...(phase !== undefined && { phase: phase as PodObject['phase'] }),
            ...(ips && { podIPs: ips.map(address) }),
            ...(terminating !== undefined && { terminating }),
          }),
        ];
      }
      default:
        throw new Unsupported(`op ${operation.op}`);
    }
  }

  #pod(key: string): PodObject {
    const pod = this.pods.get(key);
    assert.ok(pod, `no pod ${key}`);
    return pod;
  }

  #setPod(object: PodObject): ModelUpdate {
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    this.pods.set(key, object);
    return { type: 'upsert', kind: 'Pod', key, object };
  }

  #deletePod(key: string): ModelUpdate {
    this.pods.delete(key);
    return { type: 'delete', kind: 'Pod', key };
  }

  #setNamespace(object: NamespaceObject): ModelUpdate {
    const key = object.metadata.name;
    this.namespaces.set(key, object);
    return { type: 'upsert', kind: 'Namespace', key, object };
  }

  #setPolicy(object: NetworkPolicyObject): ModelUpdate {
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    this.policies.set(key, object);
    return { type: 'upsert', kind: 'NetworkPolicy', key, object };
  }

  #deletePolicy(key: string): ModelUpdate {
    this.policies.delete(key);
    return { type: 'delete', kind: 'NetworkPolicy', key };
  }

  #setLabels(operation: Extract<SuiteOperation, { op: 'setLabels' }>): ModelUpdate {
    const { kind, namespace, name, labels } = operation;
    if (kind === 'Namespace') return this.#setNamespace({ metadata: meta('', name, labels) });
    if (kind !== 'Pod') throw new Unsupported(`setLabels of ${kind}`);
    const before = this.#pod(`${namespace}/${name}`);
    return this.#setPod({ ...before, metadata: { ...before.metadata, labels } });
  }
}

function meta(namespace: string, name: string, labels: Readonly<Record<string, string>>): ObjectMeta {
  return { namespace, name, uid: `${namespace}/${name}`, labels, annotations: {} };
}

function address(text: string): IpAddress {
  const parsed = toIpAddress(text);
  assert.ok(parsed, `${text} is no address`);
  return parsed;
}

function cidr(text: string): Cidr {
  const parsed = toCidr(text);
  assert.ok(parsed, `${text} is no prefix`);
  return parsed;
}

function podOf(pod: SuitePod): PodObject {
  return {
    metadata: meta(pod.namespace, pod.name, pod.labels),
    nodeName: pod.node,
    hostNetwork: pod.hostNetwork ?? false,
    serviceAccountName: 'default',
    ports: pod.ports.map(({ name, port, protocol }) => ({
      ...(name && { name }),
      containerPort: port,
      protocol: protocol as Protocol,
    })),
    phase: (pod.phase ?? 'Running') as PodObject['phase'],
    terminating: pod.terminating ?? false,
    podIPs: pod.ips.map(address),
  };
}

interface RawRule {
  readonly from?: readonly RawPeer[] | null;
  readonly to?: readonly RawPeer[] | null;
  readonly ports?: readonly Partial<NetworkPolicyPort>[] | null;
}
interface RawPeer {
  readonly podSelector?: RawSelector | null;
  readonly namespaceSelector?: RawSelector | null;
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] } | null;
}
type RawSelector = {
  readonly matchLabels?: LabelSelector['matchLabels'] | null;
  readonly matchExpressions?: readonly Partial<LabelSelector['matchExpressions'][number]>[] | null;
};

/** A NetworkPolicy manifest with the API server's defaults. @throws Unsupported for other kinds. */
export function networkPolicyOf(manifest: SuiteManifest): NetworkPolicyObject {
  if (manifest.kind !== 'NetworkPolicy' || manifest.apiVersion !== 'networking.k8s.io/v1') {
    throw new Unsupported(`kind ${manifest.kind}`);
  }
  const spec = manifest.spec as {
    readonly podSelector?: RawSelector | null;
    readonly policyTypes?: readonly ('Ingress' | 'Egress')[] | null;
    readonly ingress?: readonly RawRule[] | null;
    readonly egress?: readonly RawRule[] | null;
  };
  const inferred: readonly ('Ingress' | 'Egress')[] = spec.egress?.length ? ['Ingress', 'Egress'] : ['Ingress'];
  return {
    metadata: meta(manifest.metadata.namespace ?? 'default', manifest.metadata.name, {}),
    podSelector: selectorOf(spec.podSelector),
    policyTypes: spec.policyTypes?.length ? spec.policyTypes : inferred,
    ingress: (spec.ingress ?? []).map((rule) => ruleOf(rule, rule.from)),
    egress: (spec.egress ?? []).map((rule) => ruleOf(rule, rule.to)),
  };
}

function selectorOf(raw: RawSelector | null | undefined): LabelSelector {
  return {
    matchLabels: raw?.matchLabels ?? {},
    matchExpressions: (raw?.matchExpressions ?? []).map(({ key, operator, values }) => ({
      key: key!,
      operator: operator!,
      values: values ?? [],
    })),
  };
}

function ruleOf(raw: RawRule, peers: readonly RawPeer[] | null | undefined): NetworkPolicyRule {
  return {
    peers: (peers ?? []).map(peerOf),
    ports: (raw.ports ?? []).map(({ protocol, port, endPort }) => ({
      protocol: protocol ?? 'TCP',
      ...(port !== undefined && { port }),
      ...(endPort !== undefined && { endPort }),
    })),
  };
}

function peerOf(raw: RawPeer): NetworkPolicyPeer {
  return {
    ...(raw.podSelector && { podSelector: selectorOf(raw.podSelector) }),
    ...(raw.namespaceSelector && { namespaceSelector: selectorOf(raw.namespaceSelector) }),
    ...(raw.ipBlock && {
      ipBlock: { cidr: cidr(raw.ipBlock.cidr), except: (raw.ipBlock.except ?? []).map(cidr) },
    }),
  };
}
