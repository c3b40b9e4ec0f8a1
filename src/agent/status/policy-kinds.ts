/** The kinds of policies, and of what belongs to them, that are reported on, and those of them that have a status. */
export const clusterPolicyKinds = ['ClusterNetworkPolicy', 'AdminNetworkPolicy', 'BaselineAdminNetworkPolicy'] as const;
export const calicoPolicyKinds = [
  'CalicoNetworkPolicy',
  'GlobalNetworkPolicy',
  'Tier',
  'NetworkSet',
  'GlobalNetworkSet',
] as const;
/** Never in force: what they would decide is reported. */
const stagedPolicyKinds = [
  'StagedNetworkPolicy',
  'StagedGlobalNetworkPolicy',
  'StagedKubernetesNetworkPolicy',
] as const;
/** They have InForce, the staged ones Staged. */
export const inForceKinds = [
  ...clusterPolicyKinds,
  ...calicoPolicyKinds,
  'HostEndpoint',
  ...stagedPolicyKinds,
] as const;
export type InForceKind = (typeof inForceKinds)[number];

export function isInForceKind(kind: string): kind is InForceKind {
  return (inForceKinds as readonly string[]).includes(kind);
}
export function isStagedPolicyKind(kind: string): boolean {
  return (stagedPolicyKinds as readonly string[]).includes(kind);
}
/** Of NetworkPolicy, which has no status, Events, and the reports of nodes, say it. */
export function isPolicyKind(kind: string): boolean {
  return kind === 'NetworkPolicy' || isInForceKind(kind);
}
