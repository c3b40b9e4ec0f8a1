/** Objects of the model as the datastore would give them. Pods are of the node n1 and have their own name as a label. */
import type { IpAddress } from '#kit';
import type { LabelSelector, Labels, ModelUpdate, NetworkPolicyObject, NetworkPolicyRule, ObjectMeta } from '#model';

const meta = (name: string, labels: Labels = {}): ObjectMeta => ({
  namespace: 'ns',
  name,
  uid: name,
  labels,
  annotations: {},
});
export const selector = (matchLabels: Labels): LabelSelector => ({ matchLabels, matchExpressions: [] });
/** Pods are labelled with their own names. */
export const named = (name: string): { readonly podSelector: LabelSelector } => ({ podSelector: selector({ name }) });

/** Which pods a policy is for, and what it allows them. */
export function networkPolicy(
  name: string,
  subject: string,
  rules: { readonly ingress?: readonly NetworkPolicyRule[]; readonly egress?: readonly NetworkPolicyRule[] },
): ModelUpdate {
  const object: NetworkPolicyObject = {
    metadata: meta(name),
    podSelector: selector({ name: subject }),
    policyTypes: [...(rules.ingress ? ['Ingress' as const] : []), ...(rules.egress ? ['Egress' as const] : [])],
    ingress: rules.ingress ?? [],
    egress: rules.egress ?? [],
  };
  return { type: 'upsert', kind: 'NetworkPolicy', key: `ns/${name}`, object };
}
export const noPolicy = (name: string): ModelUpdate => ({ type: 'delete', kind: 'NetworkPolicy', key: `ns/${name}` });

export function podObject(name: string, labels: Labels = { name }, podIPs: readonly IpAddress[] = []): ModelUpdate {
  const object = {
    metadata: meta(name, labels),
    nodeName: 'n1',
    hostNetwork: false,
    serviceAccountName: 'default',
    ports: [],
    phase: 'Running' as const,
    terminating: false,
    podIPs,
  };
  return { type: 'upsert', kind: 'Pod', key: `ns/${name}`, object };
}
