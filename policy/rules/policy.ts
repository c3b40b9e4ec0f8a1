/**
 * Every kind of policy as the calculation sees it: whom it is about, where it stands, what rules it has. The one place where the
 * kinds are made known; what is behind it knows none of them.
 */
import { unreachable } from '#kit';
import type { ModelObjects, ModelUpdate, ObjectKey, PolicyId, TierObject } from '#model';
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
      return networkPolicySubject(policy.object);
    case 'ClusterNetworkPolicy':
    case 'AdminNetworkPolicy':
    case 'BaselineAdminNetworkPolicy':
      return clusterPolicySubject(policy.object);
    case 'CalicoNetworkPolicy':
    case 'GlobalNetworkPolicy':
      return calicoPolicySubject(policy.object);
    default:
      return unreachable(policy);
  }
}

/** @param tiers Calico's objects by name. */
export function placeOf(policy: Policy, id: PolicyId, tiers: ReadonlyMap<string, TierObject>): PolicyPlace {
  // Of equal names in one tier the kind decides, which stands behind the name here.
  const name = `${id.slice(id.indexOf(':') + 1)}:${policy.kind}`;
  switch (policy.kind) {
    case 'NetworkPolicy':
      return { tier: networkPolicyTier, order: networkPolicyOrder, name };
    case 'ClusterNetworkPolicy':
    case 'AdminNetworkPolicy':
    case 'BaselineAdminNetworkPolicy':
      return { tier: clusterPolicyTier(policy.object.tier), order: policy.object.priority, name };
    case 'CalicoNetworkPolicy':
    case 'GlobalNetworkPolicy':
      return { tier: calicoTier(policy.object.tier, tiers.get(policy.object.tier)), order: policy.object.order, name };
    default:
      return unreachable(policy);
  }
}

/** Whether it stands among those that decide in this direction, and so makes its tier count there. */
export function isAbout(policy: Policy, direction: Direction): boolean {
  switch (policy.kind) {
    case 'CalicoNetworkPolicy':
    case 'GlobalNetworkPolicy':
      return policy.object.types.includes(direction === 'ingress' ? 'Ingress' : 'Egress');
    case 'NetworkPolicy':
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
      return compileNetworkPolicy(policy.object);
    case 'ClusterNetworkPolicy':
    case 'AdminNetworkPolicy':
    case 'BaselineAdminNetworkPolicy':
      return compileClusterPolicy(policy.object);
    case 'CalicoNetworkPolicy':
    case 'GlobalNetworkPolicy':
      return compileCalicoPolicy(policy.object);
    default:
      return unreachable(policy);
  }
}

/** Which of a host endpoint's traffic it decides: what ends or begins at the node (`local`), and more. */
export function hostTrafficOf(policy: Policy): readonly ('local' | 'forward' | 'preDNAT' | 'untracked')[] {
  const traffic = policy.kind === 'GlobalNetworkPolicy' ? policy.object.hostTraffic : undefined;
  return traffic === undefined ? ['local'] : traffic === 'forward' ? ['local', 'forward'] : [traffic];
}

/** Of the kinds whose tiers are objects. */
export function calicoTierOf(policy: Policy): string | undefined {
  return policy.kind === 'CalicoNetworkPolicy' || policy.kind === 'GlobalNetworkPolicy'
    ? policy.object.tier
    : undefined;
}
