/** From a logged packet to a flow with names: pods, policy, rule. Pure. */
import type { FlowDeciderView, FlowEndView, FlowView } from '#api';
import { type FlowLabel, flowNameHash } from '#felix';
import type { EndpointId, PolicyId, TierProgram } from '#model';
import { type PolicyState, ruleText } from '#policy';
import type { AddressNames } from './address-names.ts';
import { ICMP, ICMPV6, type PacketHeaders, SCTP, TCP, UDP } from './packet.ts';

export type FlowDescription = Pick<
  FlowView,
  'verdict' | 'direction' | 'source' | 'destination' | 'protocol' | 'icmp' | 'by'
>;

export interface DescribeDeps {
  readonly names: Pick<AddressNames, 'of'>;
  readonly state: PolicyState;
}

/** Of a tier whose policies all did not allow; more are not named. */
const policiesNamedMax = 16;
const protocolNames: Readonly<Record<number, string>> = {
  [TCP]: 'TCP',
  [UDP]: 'UDP',
  [SCTP]: 'SCTP',
  [ICMP]: 'ICMP',
  [ICMPV6]: 'ICMPv6',
};

/** @param fromPod the pod of this node by whose interface the packet came in. */
export function describeFlow(
  label: FlowLabel,
  packet: PacketHeaders,
  fromPod: EndpointId | undefined,
  { names, state }: DescribeDeps,
): FlowDescription {
  const end = (side: 'source' | 'destination'): FlowEndView => ({
    address: packet[side],
    ...(packet.ports ? { port: packet.ports[side] } : {}),
    ...names.of(packet[side]),
  });
  const [source, destination] = [end('source'), end('destination')];
  const { verdict } = label;
  const isFromOutside = label.by.type === 'dataplane' && fromPod === undefined;
  const direction = isFromOutside ? 'ingress' : label.direction;
  const judged = judgedPod({ direction, source, destination });
  return {
    verdict,
    direction,
    source,
    destination,
    protocol: protocolNames[packet.protocol] ?? String(packet.protocol),
    ...(packet.icmp ? { icmp: packet.icmp } : {}),
    by:
      label.by.type === 'dataplane'
        ? { ...label.by, ...(fromPod === undefined ? {} : { pod: fromPod }) }
        : deciderOf({ ...label, by: label.by }, judged, state),
  };
}

/** The pod whose policy decided. */
export function judgedPod(flow: Pick<FlowDescription, 'direction' | 'source' | 'destination'>): EndpointId | undefined {
  return (flow.direction === 'ingress' ? flow.destination : flow.source).pod;
}

type PolicyDecider = Exclude<FlowLabel['by'], { readonly type: 'dataplane' }>;

function deciderOf(
  { by, direction }: FlowLabel & { readonly by: PolicyDecider },
  pod: EndpointId | undefined,
  state: PolicyState,
): FlowDeciderView {
  const tiers: readonly TierProgram[] = (pod !== undefined && state.endpoints.get(pod)?.[direction]) || [];
  switch (by.type) {
    case 'none':
      return by;
    case 'endOfTier': {
      const tier = tiers.find(({ tier }) => isNamed(by.tier, tier));
      return {
        type: 'endOfTier',
        tier: tier?.tier ?? by.tier,
        policies: tier?.policies.slice(0, policiesNamedMax) ?? [],
      };
    }
    case 'rule': {
      const policy = policyNamed(by.policy, tiers);
      const rule = state.policies.get(policy)?.[direction][by.rule - 1];
      return { type: 'rule', policy, rule: by.rule, ...(rule ? { text: ruleText(state, rule, direction) } : {}) };
    }
  }
}

/** A name that stands as its hash is one of the pod's own policies; else the hash has to do. */
function policyNamed(name: PolicyId, tiers: readonly TierProgram[]): PolicyId {
  if (!name.startsWith('#')) return name;
  for (const { policies } of tiers) {
    const found = policies.find((policy) => isNamed(name, policy));
    if (found !== undefined) return found;
  }
  return name;
}

function isNamed(text: string, name: string): boolean {
  return text === name || (text.startsWith('#') && text === flowNameHash(name));
}
