/** The program of a host endpoint: what its policies decide of each kind of its traffic, and its profiles of the rest. */
import type { EndpointProgram, HostEndpointObject, HostTraffic, TierProgram } from '#model';
import { hostTrafficOf } from '../rules/policy.ts';
import { type PlacedPolicy, tiersOf } from './endpoint-programs.ts';

/** `policies` stand in the order of their places. */
export function hostProgram(host: HostEndpointObject, policies: readonly PlacedPolicy[]): EndpointProgram {
  const of = (traffic: ReturnType<typeof hostTrafficOf>[number]): HostTraffic => {
    const concerned = policies.filter(({ policy }) => hostTrafficOf(policy).includes(traffic));
    return { ingress: tiersOf(concerned, 'ingress'), egress: tiersOf(concerned, 'egress') };
  };
  const untracked = of('untracked');
  return {
    ...of('local'),
    host: {
      ...(host.interfaceName !== undefined && { interfaceName: host.interfaceName }),
      expectedIPs: host.expectedIPs,
      otherwise: host.profiles.some(allows) ? 'allow' : 'deny',
      forward: of('forward'),
      preDNAT: undenied(of('preDNAT').ingress),
      untracked: { ingress: undenied(untracked.ingress), egress: undenied(untracked.egress) },
    },
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
