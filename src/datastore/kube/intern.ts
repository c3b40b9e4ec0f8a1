/**
 * Equal values of many objects, kept once: names of namespaces and nodes, the labels and ports of one workload's pods, the
 * rules that every namespace's policies repeat. The table is a cache: when it is full it begins anew, and only sharing is lost.
 */
import type { ContainerPort, Labels, NetworkPolicyObject, PodObject } from '#model';

const entriesMax = 20_000;

export class Interner {
  readonly #texts = new Map<string, string>();
  readonly #labels = new Map<string, Labels>();
  readonly #ports = new Map<string, readonly ContainerPort[]>();
  readonly #values = new Map<string, unknown>();

  text(value: string): string {
    return shared(this.#texts, value, value);
  }
  labels(value: Labels): Labels {
    let id = '';
    for (const key in value) id += `${key}\0${value[key]}\0`;
    return shared(this.#labels, id, value);
  }
  ports(value: readonly ContainerPort[]): readonly ContainerPort[] {
    let id = '';
    for (const { name, containerPort, protocol } of value) id += `${name ?? ''}:${containerPort}/${protocol} `;
    return shared(this.#ports, id, value);
  }
  pod(pod: PodObject): PodObject {
    const { metadata } = pod;
    return {
      ...pod,
      metadata: { ...metadata, namespace: this.text(metadata.namespace), labels: this.labels(metadata.labels) },
      nodeName: this.text(pod.nodeName),
      serviceAccountName: this.text(pod.serviceAccountName),
      ports: this.ports(pod.ports),
    };
  }
  /** Selectors and rules, of which a policy is mostly made. */
  policy(policy: NetworkPolicyObject): NetworkPolicyObject {
    return {
      ...policy,
      metadata: { ...policy.metadata, namespace: this.text(policy.metadata.namespace) },
      podSelector: this.#value(policy.podSelector),
      policyTypes: this.#value(policy.policyTypes),
      ingress: policy.ingress.map((rule) => this.#value(rule)),
      egress: policy.egress.map((rule) => this.#value(rule)),
    };
  }

  #value<V>(value: V): V {
    return shared(this.#values, JSON.stringify(value), value) as V;
  }
}

function shared<V>(table: Map<string, V>, id: string, value: V): V {
  const known = table.get(id);
  if (known !== undefined) return known;
  if (table.size >= entriesMax) table.clear();
  table.set(id, value);
  return value;
}
