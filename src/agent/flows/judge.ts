/**
 * What the rules of a pod say of a packet that the kernel told of: what is in force, where the kernel did not say it, and what would be in force with the
 * staged policies. Pure; a packet costs one walk over the pod's rules.
 */
import type { FlowDeciderView, FlowStagedView } from '#api';
import type { EndpointId, PolicyId, Protocol, TierProgram } from '#model';
import { evaluate, evaluateStaged, type PolicyQuery, type PolicyState, ruleText, type Verdict } from '#policy';
import { type PacketHeaders, SCTP, TCP, UDP } from './packet.ts';

/** Of a tier whose policies all did not allow; more are not named. */
const policiesNamedMax = 16;
const protocols: Readonly<Record<number, Protocol>> = { [TCP]: 'TCP', [UDP]: 'UDP', [SCTP]: 'SCTP' };

export interface JudgedPacket {
  readonly packet: PacketHeaders;
  /** Whose rules are asked. */
  readonly pod: EndpointId;
  readonly direction: 'ingress' | 'egress';
}

/** What allowed it. The rules may have changed since the packet came: who denies now says nothing of it. */
export function allowedBy(state: PolicyState, judged: JudgedPacket): FlowDeciderView {
  const verdict = evaluate(state, queryOf(judged));
  const tiers = state.endpoints.get(judged.pod)?.[judged.direction] ?? [];
  return verdict.verdict === 'allow' ? deciderOf(state, judged.direction, verdict, tiers) : { type: 'none' };
}

/** Undefined: no staged policy has a say. */
export function stagedOf(state: PolicyState, judged: JudgedPacket): FlowStagedView | undefined {
  const verdict = evaluateStaged(state, queryOf(judged));
  if (!verdict) return undefined;
  const tiers = state.endpoints.get(judged.pod)?.staged?.[judged.direction] ?? [];
  const by = deciderOf(state, judged.direction, verdict, tiers);
  return { verdict: verdict.verdict === 'allow' ? 'allowed' : 'denied', by };
}

function queryOf({ packet, pod, direction }: JudgedPacket): PolicyQuery {
  const { source, destination, protocol, ports, icmp } = packet;
  return {
    endpoint: pod,
    direction,
    fromAddress: source,
    toAddress: destination,
    protocol: protocols[protocol] ?? protocol,
    port: ports?.destination ?? 0,
    fromPort: ports?.source ?? 0,
    ...(icmp && { icmp }),
  };
}

function deciderOf(
  state: PolicyState,
  direction: 'ingress' | 'egress',
  { by, policy, rule, tier }: Verdict,
  tiers: readonly TierProgram[],
): FlowDeciderView {
  if (by === 'rule') return ruleDecider(state, direction, policy!, rule! + 1);
  return by === 'endOfTier' ? tierDecider(tier!, tiers) : { type: 'none' };
}

/** @param number from 1; 0: the policy cannot be expressed. */
export function ruleDecider(
  state: PolicyState,
  direction: 'ingress' | 'egress',
  policy: PolicyId,
  number: number,
): FlowDeciderView {
  const rule = state.policies.get(policy)?.[direction][number - 1];
  return { type: 'rule', policy, rule: number, ...(rule ? { text: ruleText(state, rule, direction) } : {}) };
}

export function tierDecider(tier: string, tiers: readonly TierProgram[]): FlowDeciderView {
  const policies = tiers.find((one) => one.tier === tier)?.policies.slice(0, policiesNamedMax) ?? [];
  return { type: 'endOfTier', tier, policies };
}
