/**
 * Where a policy stands: in a tier, and in an order within it.
 *
 *     tiers by order:      kube-admin 1000            default 1000000            kube-baseline 10000000
 *     policies by order:   priority 0..1000           1000 (NetworkPolicy)       priority 0..1000
 *     what is left over:   passes on                  is denied                  passes on, to be allowed
 *
 * A tier that no policy of a direction stands in is not there for an endpoint; one that ends in deny denies only what some policy
 * of it is about. Names and orders are those that Calico gives these three, so that tiers of its making stand between them.
 */
import { unreachable } from '#kit';
import type { TierObject, TierProgram } from '#model';

export interface Tier {
  readonly name: string;
  /** Lower first. */
  readonly order: number;
  readonly endOfTier: TierProgram['endOfTier'];
}

export interface PolicyPlace {
  readonly tier: Tier;
  /** Lower first; none stands behind all that have one. */
  readonly order: number | undefined;
  /** Decides between equal orders: the object's key. */
  readonly name: string;
}

export const adminTier: Tier = { name: 'kube-admin', order: 1_000, endOfTier: 'pass' };
/** The tier of all NetworkPolicies: they isolate what they select. */
export const networkPolicyTier: Tier = { name: 'default', order: 1_000_000, endOfTier: 'deny' };
export const baselineTier: Tier = { name: 'kube-baseline', order: 10_000_000, endOfTier: 'pass' };

export const networkPolicyOrder = 1_000;

export function clusterPolicyTier(tier: 'Admin' | 'Baseline'): Tier {
  switch (tier) {
    case 'Admin':
      return adminTier;
    case 'Baseline':
      return baselineTier;
    default:
      return unreachable(tier);
  }
}

const ownTiers: ReadonlyMap<string, Tier> = new Map(
  [adminTier, networkPolicyTier, baselineTier].map((tier) => [tier.name, tier]),
);

/** One that there is no object of (yet) stands last, and denies what its policies select and do not decide. */
export function calicoTier(name: string, object: TierObject | undefined): Tier {
  const own = ownTiers.get(name);
  if (own) return own;
  return {
    name,
    order: object?.order ?? Number.POSITIVE_INFINITY,
    endOfTier: object?.defaultAction === 'Pass' ? 'pass' : 'deny',
  };
}

export function comparePlaces(a: PolicyPlace, b: PolicyPlace): number {
  return (
    compare(a.tier.order, b.tier.order) ||
    compare(a.tier.name, b.tier.name) ||
    compare(a.order ?? Number.POSITIVE_INFINITY, b.order ?? Number.POSITIVE_INFINITY) ||
    compare(a.name, b.name)
  );
}

function compare<T extends number | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
