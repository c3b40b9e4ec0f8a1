/** The kinds of policies, and of what belongs to them, that are reported on, and those of them that have a status. */
export const clusterPolicyKinds = ['ClusterNetworkPolicy', 'AdminNetworkPolicy', 'BaselineAdminNetworkPolicy'] as const;
export const calicoPolicyKinds = [
  'CalicoNetworkPolicy',
  'GlobalNetworkPolicy',
  'Tier',
  'NetworkSet',
  'GlobalNetworkSet',
] as const;
/** They have InForce. */
export const inForceKinds = [...clusterPolicyKinds, ...calicoPolicyKinds] as const;
export type InForceKind = (typeof inForceKinds)[number];

export function isInForceKind(kind: string): kind is InForceKind {
  return (inForceKinds as readonly string[]).includes(kind);
}
/** Of NetworkPolicy, which has no status, Events, and the reports of nodes, say it. */
export function isPolicyKind(kind: string): boolean {
  return kind === 'NetworkPolicy' || isInForceKind(kind);
}
