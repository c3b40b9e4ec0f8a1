/**
 * projectcalico.org/v3 StagedNetworkPolicy, StagedGlobalNetworkPolicy and StagedKubernetesNetworkPolicy: policies that are never in force. What they
 * would decide is reported.
 */
import type { CalicoPolicyObject } from './calico-policy.ts';
import type { Kind, NetworkPolicyObject } from './objects.ts';

/**
 * `Set`: as if it were there, in place of the enforced policy of its name and tier. `Delete`: as if that one were not there. `Learn` and `Ignore`
 * are recommendations of programs that nobody has accepted: they count for nothing.
 */
export type StagedAction = 'Set' | 'Delete' | 'Learn' | 'Ignore';

interface Staged {
  readonly stagedAction: StagedAction;
}

export interface StagedCalicoPolicyObject extends CalicoPolicyObject, Staged {}

/** With the rules of networking.k8s.io/v1. */
export interface StagedKubernetesPolicyObject extends NetworkPolicyObject, Staged {}

export const stagedKinds = [
  'StagedNetworkPolicy',
  'StagedGlobalNetworkPolicy',
  'StagedKubernetesNetworkPolicy',
] as const satisfies readonly Kind[];
export type StagedKind = (typeof stagedKinds)[number];

export function isStagedKind(kind: Kind): kind is StagedKind {
  return (stagedKinds as readonly Kind[]).includes(kind);
}
