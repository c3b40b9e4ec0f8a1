/** From a logged packet to a flow with names: pods, policy, rule. Pure. */
import type { FlowDeciderView, FlowEndView, FlowView } from '#api';
import { type FlowLabel, flowNameHash } from '#felix';
import type { EndpointId, PolicyId, TierProgram } from '#model';
import { type PolicyState, policiesOf } from '#policy';
import type { AddressNames } from './address-names.ts';
import { allowedBy, type JudgedPacket, ruleDecider, stagedOf, tierDecider } from './judge.ts';
import { ICMP, ICMPV6, type PacketHeaders, SCTP, TCP, UDP } from './packet.ts';

export type FlowDescription = Pick<
  FlowView,
  'verdict' | 'direction' | 'source' | 'destination' | 'protocol' | 'icmp' | 'host' | 'by' | 'staged'
>;

export interface DescribeDeps {
  readonly names: Pick<AddressNames, 'of'>;
  readonly state: PolicyState;
  /** Whether one packet more may be judged by staged policies now: it costs a walk over all rules of its pod. */
  readonly mayJudge: () => boolean;
}

/** Of the one kind that may select a host endpoint. */
const hostPolicies = 'GlobalNetworkPolicy:';
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
  { names, state, mayJudge }: DescribeDeps,
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
  const host = isOfHost(label, judgedPod({ direction, source, destination }), state);
  const pod = judgedPod({ direction, source, destination, host });
  const judged = pod === undefined ? undefined : { packet, pod, direction };
  const hasSay = pod !== undefined && state.endpoints.get(pod)?.staged?.[direction] !== undefined;
  const staged = judged && hasSay && label.by.type !== 'dataplane' && mayJudge() ? stagedOf(state, judged) : undefined;
  return {
    verdict,
    direction,
    source,
    destination,
    protocol: protocolNames[packet.protocol] ?? String(packet.protocol),
    ...(packet.icmp ? { icmp: packet.icmp } : {}),
    ...(host ? { host } : {}),
    by:
      label.by.type === 'dataplane'
        ? { ...label.by, ...(fromPod === undefined ? {} : { pod: fromPod }) }
        : deciderOf({ ...label, by: label.by }, judged, state),
    ...(staged ? { staged } : {}),
  };
}

/** The pod whose policy decided. */
export function judgedPod({
  direction,
  source,
  destination,
  host,
}: Pick<FlowDescription, 'direction' | 'source' | 'destination'> & {
  readonly host?: boolean | undefined;
}): EndpointId | undefined {
  return host ? undefined : (direction === 'ingress' ? destination : source).pod;
}

/** Chains of policies do not say for whom they were asked: what is none of the pod's own was asked for a host endpoint on the way. */
function isOfHost(
  { host, by, direction }: FlowLabel,
  pod: EndpointId | undefined,
  state: PolicyState,
): true | undefined {
  if (host || by.type !== 'rule' || !by.policy.startsWith(hostPolicies)) return host;
  const tiers = (pod !== undefined && state.endpoints.get(pod)?.[direction]) || [];
  if (tiers.some(({ policies }) => policies.includes(by.policy))) return undefined;
  const ofHost = state.endpoints.values().some((program) => program.host && policiesOf(program).has(by.policy));
  return ofHost || undefined;
}

type PolicyDecider = Exclude<FlowLabel['by'], { readonly type: 'dataplane' }>;

function deciderOf(
  { by, direction }: FlowLabel & { readonly by: PolicyDecider },
  judged: JudgedPacket | undefined,
  state: PolicyState,
): FlowDeciderView {
  const tiers: readonly TierProgram[] = (judged && state.endpoints.get(judged.pod)?.[direction]) ?? [];
  switch (by.type) {
    case 'none':
      return by;
    case 'staged':
      return judged ? allowedBy(state, judged) : { type: 'none' };
    case 'endOfTier':
      return tierDecider(tiers.find(({ tier }) => isNamed(by.tier, tier))?.tier ?? by.tier, tiers);
    case 'rule':
      return ruleDecider(state, direction, policyNamed(by.policy, tiers), by.rule);
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
