/** The kinds of policies that are reported on, and those of them that have a status. */
export const clusterPolicyKinds = ['ClusterNetworkPolicy', 'AdminNetworkPolicy', 'BaselineAdminNetworkPolicy'] as const;
export type ClusterPolicyKind = (typeof clusterPolicyKinds)[number];

export function isClusterPolicyKind(kind: string): kind is ClusterPolicyKind {
  return (clusterPolicyKinds as readonly string[]).includes(kind);
}
/** NetworkPolicy has no status: its Events, and the reports of nodes, say it. */
export function isPolicyKind(kind: string): boolean {
  return kind === 'NetworkPolicy' || isClusterPolicyKind(kind);
}
