/** The program of a host endpoint: what its policies decide of each kind of its traffic, and its profiles of the rest. */
import type { EndpointProgram, HostEndpointObject, HostProgram, HostTraffic, TierProgram } from '#model';
import { hostTrafficOf } from '../rules/policy.ts';
import { type ConsideredPolicies, type PlacedPolicy, tiersOf } from './endpoint-programs.ts';

export function hostProgram(
  host: HostEndpointObject,
  { inForce, staged, changes }: ConsideredPolicies,
): EndpointProgram {
  const { local, ...traffic } = trafficOf(inForce);
  const program = {
    ...local,
    host: {
      ...(host.interfaceName !== undefined && { interfaceName: host.interfaceName }),
      expectedIPs: host.expectedIPs,
      otherwise: host.profiles.some(allows) ? ('allow' as const) : ('deny' as const),
      ...traffic,
    },
  };
  if (changes.length === 0) return program;
  const { local: stagedLocal, ...stagedTraffic } = trafficOf(staged);
  return { ...program, staged: { ...stagedLocal, host: stagedTraffic } };
}

/** `policies` stand in the order of their places. */
function trafficOf(
  policies: readonly PlacedPolicy[],
): Pick<HostProgram, 'forward' | 'preDNAT' | 'untracked'> & { readonly local: HostTraffic } {
  const of = (traffic: ReturnType<typeof hostTrafficOf>[number]): HostTraffic => {
    const concerned = policies.filter(({ policy }) => hostTrafficOf(policy).includes(traffic));
    return { ingress: tiersOf(concerned, 'ingress'), egress: tiersOf(concerned, 'egress') };
  };
  const untracked = of('untracked');
  return {
    local: of('local'),
    forward: of('forward'),
    preDNAT: undenied(of('preDNAT').ingress),
    untracked: { ingress: undenied(untracked.ingress), egress: undenied(untracked.egress) },
  };
}

/** The profiles that Calico makes of namespaces allow everything, those of service accounts nothing; one that is not known denies. */
function allows(profile: string): boolean {
  return profile === 'projectcalico-default-allow' || profile.startsWith('kns.');
}

/** What these policies leave undecided goes on to those of what ends at the node, whatever their tier says. */
function undenied(tiers: readonly TierProgram[]): TierProgram[] {
  return tiers.map((tier) => ({ ...tier, endOfTier: 'pass' }));
}
