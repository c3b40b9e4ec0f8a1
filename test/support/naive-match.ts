/** Who is who, for the oracle of policy: pods that count, labels, prefixes. Shares no code with the engine. */
import ipaddr from 'ipaddr.js';
import type { LabelSelector, Labels, NamespaceObject, PodObject } from '#model';

/** Pods that policies can see: in the pod network, and not completed. */
export function counts(pod: PodObject): boolean {
  return !pod.hostNetwork && pod.phase !== 'Succeeded' && pod.phase !== 'Failed';
}

export function namespaceLabels(cluster: { readonly namespaces: readonly NamespaceObject[] }, name: string): Labels {
  const found = cluster.namespaces.find((namespace) => namespace.metadata.name === name);
  return { ...found?.metadata.labels, 'kubernetes.io/metadata.name': name };
}

export function selects(selector: LabelSelector, labels: Labels): boolean {
  const has = (key: string): boolean => Object.keys(labels).includes(key);
  return (
    Object.entries(selector.matchLabels).every(([key, value]) => has(key) && labels[key] === value) &&
    selector.matchExpressions.every(({ key, operator, values }) => {
      if (operator === 'Exists') return has(key);
      if (operator === 'DoesNotExist') return !has(key);
      const listed = has(key) && values.includes(labels[key]!);
      return operator === 'In' ? listed : !listed;
    })
  );
}

export function inBlock(address: string, cidr: string): boolean {
  const parsed = ipaddr.parse(address);
  const [network, length] = ipaddr.parseCIDR(cidr);
  return parsed.kind() === network.kind() && parsed.match(network, length);
}
