/**
 * Every kind of policy as the calculation sees it: whom it is about, where it stands, what rules it has. The one place where the
 * kinds are made known; what is behind it knows none of them.
 */
import { unreachable } from '#kit';
import {
  isStagedKind,
  type ModelObjects,
  type ModelUpdate,
  type ObjectKey,
  type PolicyId,
  type StagedKind,
  type TierObject,
} from '#model';
import { calicoPolicySubject, compileCalicoPolicy } from './calico-policy.ts';
import { clusterPolicySubject, compileClusterPolicy } from './cluster-policy.ts';
import { compileNetworkPolicy, networkPolicySubject } from './network-policy.ts';
import type { CompiledPolicy, Direction } from './peer-rules.ts';
import type { PodSelector } from './sets.ts';
import { calicoTier, clusterPolicyTier, networkPolicyOrder, networkPolicyTier, type PolicyPlace } from './tiers.ts';

export const policyKinds = [
  'NetworkPolicy',
  'ClusterNetworkPolicy',
  'AdminNetworkPolicy',
  'BaselineAdminNetworkPolicy',
  'CalicoNetworkPolicy',
  'GlobalNetworkPolicy',
  'StagedNetworkPolicy',
  'StagedGlobalNetworkPolicy',
  'StagedKubernetesNetworkPolicy',
] as const;
export type PolicyKind = (typeof policyKinds)[number];

export type Policy = { readonly [K in PolicyKind]: { readonly kind: K; readonly object: ModelObjects[K] } }[PolicyKind];
export type PolicyObjectUpdate = Extract<ModelUpdate, { readonly kind: PolicyKind }>;

export function isPolicyUpdate(update: ModelUpdate): update is PolicyObjectUpdate {
  return (policyKinds as readonly string[]).includes(update.kind);
}

export function policyIdOf(kind: PolicyKind, key: ObjectKey): PolicyId {
  return `${kind}:${key}`;
}

/** The pods whose traffic the policy decides, in the directions that it is about. */
export function subjectOf(policy: Policy): PodSelector {
  switch (policy.kind) {
    case 'NetworkPolicy':
    case 'StagedKubernetesNetworkPolicy':
      return networkPolicySubject(policy.object);
    case 'ClusterNetworkPolicy':
    case 'AdminNetworkPolicy':
    case 'BaselineAdminNetworkPolicy':
      return clusterPolicySubject(policy.object);
    case 'CalicoNetworkPolicy':
    case 'GlobalNetworkPolicy':
    case 'StagedNetworkPolicy':
    case 'StagedGlobalNetworkPolicy':
      return calicoPolicySubject(policy.object);
    default:
      return unreachable(policy);
  }
}

/** @param tiers Calico's objects by name. */
export function placeOf(policy: Policy, id: PolicyId, tiers: ReadonlyMap<string, TierObject>): PolicyPlace {
  // Of equal names in one tier the kind decides, which stands behind the name here. A staged policy stands where it would if it were in force.
  const kind = isStaged(policy) ? enforcedKinds[policy.kind] : policy.kind;
  const name = `${id.slice(id.indexOf(':') + 1)}:${kind}`;
  switch (policy.kind) {
    case 'NetworkPolicy':
    case 'StagedKubernetesNetworkPolicy':
      return { tier: networkPolicyTier, order: networkPolicyOrder, name };
    case 'ClusterNetworkPolicy':
    case 'AdminNetworkPolicy':
    case 'BaselineAdminNetworkPolicy':
      return { tier: clusterPolicyTier(policy.object.tier), order: policy.object.priority, name };
    case 'CalicoNetworkPolicy':
    case 'GlobalNetworkPolicy':
    case 'StagedNetworkPolicy':
    case 'StagedGlobalNetworkPolicy':
      return { tier: calicoTier(policy.object.tier, tiers.get(policy.object.tier)), order: policy.object.order, name };
    default:
      return unreachable(policy);
  }
}

/** Whether it stands among those that decide in this direction, and so makes its tier count there. */
export function isAbout(policy: Policy, direction: Direction): boolean {
  if (isStaged(policy) && policy.object.stagedAction !== 'Set') return false;
  switch (policy.kind) {
    case 'CalicoNetworkPolicy':
    case 'GlobalNetworkPolicy':
    case 'StagedNetworkPolicy':
    case 'StagedGlobalNetworkPolicy':
      return policy.object.types.includes(direction === 'ingress' ? 'Ingress' : 'Egress');
    case 'NetworkPolicy':
    case 'StagedKubernetesNetworkPolicy':
      return policy.object.policyTypes.includes(direction === 'ingress' ? 'Ingress' : 'Egress');
    case 'ClusterNetworkPolicy':
    case 'AdminNetworkPolicy':
    case 'BaselineAdminNetworkPolicy':
      return policy.object[direction].length > 0;
    default:
      return unreachable(policy);
  }
}

export function compilePolicy(policy: Policy): CompiledPolicy {
  switch (policy.kind) {
    case 'NetworkPolicy':
    case 'StagedKubernetesNetworkPolicy':
      return compileNetworkPolicy(policy.object);
    case 'ClusterNetworkPolicy':
    case 'AdminNetworkPolicy':
    case 'BaselineAdminNetworkPolicy':
      return compileClusterPolicy(policy.object);
    case 'CalicoNetworkPolicy':
    case 'GlobalNetworkPolicy':
    case 'StagedNetworkPolicy':
    case 'StagedGlobalNetworkPolicy':
      return compileCalicoPolicy(policy.object);
    default:
      return unreachable(policy);
  }
}

/** Which of a host endpoint's traffic it decides: what ends or begins at the node (`local`), and more. */
export function hostTrafficOf(policy: Policy): readonly ('local' | 'forward' | 'preDNAT' | 'untracked')[] {
  const isGlobal = policy.kind === 'GlobalNetworkPolicy' || policy.kind === 'StagedGlobalNetworkPolicy';
  const traffic = isGlobal ? policy.object.hostTraffic : undefined;
  return traffic === undefined ? ['local'] : traffic === 'forward' ? ['local', 'forward'] : [traffic];
}

/** Of the kinds whose tiers are objects. */
export function calicoTierOf(policy: Policy): string | undefined {
  switch (policy.kind) {
    case 'CalicoNetworkPolicy':
    case 'GlobalNetworkPolicy':
    case 'StagedNetworkPolicy':
    case 'StagedGlobalNetworkPolicy':
      return policy.object.tier;
    default:
      return undefined;
  }
}

export type StagedPolicy = Extract<Policy, { readonly kind: StagedKind }>;

/** Never in force, whatever it says. */
export function isStaged(policy: Policy): policy is StagedPolicy {
  return isStagedKind(policy.kind);
}

const enforcedKinds: Readonly<Record<StagedKind, PolicyKind>> = {
  StagedNetworkPolicy: 'CalicoNetworkPolicy',
  StagedGlobalNetworkPolicy: 'GlobalNetworkPolicy',
  StagedKubernetesNetworkPolicy: 'NetworkPolicy',
};

/** The enforced policy of a staged one's name: in the same tier the staged one takes its place. Undefined: `id` is no staged policy's. */
export function enforcedIdOf(id: PolicyId): PolicyId | undefined {
  const colon = id.indexOf(':');
  const kind = id.slice(0, colon) as PolicyKind;
  return isStagedKind(kind) ? policyIdOf(enforcedKinds[kind], id.slice(colon + 1)) : undefined;
}
