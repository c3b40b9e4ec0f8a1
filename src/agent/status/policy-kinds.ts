/** The kinds of policies that are reported on, and those of them that have a status. */
export const clusterPolicyKinds = ['ClusterNetworkPolicy', 'AdminNetworkPolicy', 'BaselineAdminNetworkPolicy'] as const;
export type ClusterPolicyKind = (typeof clusterPolicyKinds)[number];

export function isClusterPolicyKind(kind: string): kind is ClusterPolicyKind {
  return (clusterPolicyKinds as readonly string[]).includes(kind);
}
const withoutStatus: readonly string[] = ['NetworkPolicy', 'CalicoNetworkPolicy', 'GlobalNetworkPolicy'];
/** Of those without a status Events, and the reports of nodes, say it. */
export function isPolicyKind(kind: string): boolean {
  return withoutStatus.includes(kind) || isClusterPolicyKind(kind);
}
