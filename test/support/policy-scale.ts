/** A cluster by numbers, for what has to stay cheap however large it is: namespaces with pods of some applications, and policies between them. */
import type { IpAddress } from '#kit';
import type {
  LabelSelector,
  Labels,
  ModelUpdate,
  NetworkPolicyObject,
  ObjectMeta,
  PodObject,
  WorkloadEndpoint,
} from '#model';

export interface ScaleOptions {
  readonly namespaces: number;
  readonly podsPerNamespace: number;
  /** At most `apps`. */
  readonly policiesPerNamespace: number;
  /** Pods have the label `app` with one of so many values. */
  readonly apps: number;
  /** Pods of this node, spread over the namespaces. */
  readonly localPods: number;
}

export interface ScaleModel {
  readonly updates: readonly ModelUpdate[];
  readonly endpoints: readonly WorkloadEndpoint[];
  pod(namespace: number, index: number, labels?: Labels): ModelUpdate;
  policy(namespace: number, index: number, port: number): ModelUpdate;
}

const selector = (matchLabels: Labels): LabelSelector => ({ matchLabels, matchExpressions: [] });

function metadata(namespace: string, name: string, labels: Labels): ObjectMeta {
  return { name, namespace, uid: `${namespace}-${name}`, labels, annotations: {} };
}

/** Every policy selects all pods of its namespace, so that a pod has as many policies as its namespace. */
export function scaleModel(options: ScaleOptions): ScaleModel {
  const { namespaces, podsPerNamespace, policiesPerNamespace, apps, localPods } = options;
  const localUpTo = (namespace: number): number => Math.floor((namespace * localPods) / namespaces);
  const pod = (namespace: number, index: number, labels: Labels = { app: `a${index % apps}` }): ModelUpdate => {
    const object: PodObject = {
      metadata: metadata(`n${namespace}`, `p${index}`, labels),
      nodeName: isLocal(namespace, index) ? 'local' : 'other',
      hostNetwork: false,
      serviceAccountName: 'default',
      ports: [{ name: 'web', containerPort: 8080, protocol: 'TCP' }],
      phase: 'Running',
      terminating: false,
      podIPs: addresses(namespace, index),
    };
    return { type: 'upsert', kind: 'Pod', key: `n${namespace}/p${index}`, object };
  };
  const policy = (namespace: number, index: number, port: number): ModelUpdate => {
    const object: NetworkPolicyObject = {
      metadata: metadata(`n${namespace}`, `np${index}`, {}),
      podSelector: selector({}),
      policyTypes: ['Ingress', 'Egress'],
      ingress: [{ peers: [{ podSelector: selector({ app: `a${index}` }) }], ports: [{ protocol: 'TCP', port }] }],
      egress: [{ peers: [{ podSelector: selector({ app: `a${index}` }) }], ports: [] }],
    };
    return { type: 'upsert', kind: 'NetworkPolicy', key: `n${namespace}/np${index}`, object };
  };
  const isLocal = (namespace: number, index: number): boolean =>
    index < localUpTo(namespace + 1) - localUpTo(namespace);
  const updates: ModelUpdate[] = [];
  const endpoints: WorkloadEndpoint[] = [];
  for (let n = 0; n < namespaces; n++) {
    const meta = metadata('', `n${n}`, { 'kubernetes.io/metadata.name': `n${n}` });
    updates.push({ type: 'upsert', kind: 'Namespace', key: `n${n}`, object: { metadata: meta } });
    for (let i = 0; i < podsPerNamespace; i++) {
      updates.push(pod(n, i));
      if (!isLocal(n, i)) continue;
      // Spread like the hashes that real interface names end in.
      const name = `pop${((n * 1000 + i) * 2654435761).toString(16).padStart(11, '0').slice(-11)}`;
      endpoints.push({ id: `n${n}/p${i}`, interfaceName: name, addresses: addresses(n, i) });
    }
    for (let i = 0; i < policiesPerNamespace; i++) updates.push(policy(n, i, 1000 + i));
  }
  return { updates, endpoints, pod, policy };
}

function addresses(namespace: number, index: number): IpAddress[] {
  const host = namespace * 256 + index;
  return [
    `10.${1 + (host >> 16)}.${(host >> 8) & 255}.${host & 255}` as IpAddress,
    `fd00::${(host + 0x10000).toString(16).replace(/(.{4})$/, ':$1')}` as IpAddress,
  ];
}
