/**
 * Decides a packet by the emitted rule form, the way the kernel's rules do: tiers in order, policies in order, first match.
 */
import { cidrContains, familyOf, type IpAddress, unreachable } from '#kit';
import type {
  EndpointId,
  IcmpMatch,
  PeerMatch,
  PolicyId,
  PolicyRule,
  PortRange,
  Protocol,
  RuleCondition,
  SetId,
  TierProgram,
} from '#model';
import { protocolNumbers } from '../rules/ports.ts';
import type { PolicyState, SetState } from './policy-state.ts';
import { anyHolds } from './prefixes.ts';

/** A new connection as one endpoint sees it, after service rewrite. Both addresses are of one family. */
export interface Packet {
  readonly fromAddress: IpAddress;
  readonly toAddress: IpAddress;
  /** By number where it is none of those that have a name here. */
  readonly protocol: Protocol | 'ICMP' | 'ICMPv6' | number;
  /** Destination port, 1..65535; 0 or without meaning where the protocol has none. */
  readonly port: number;
  /** Default: one of those that clients get from their kernel. */
  readonly fromPort?: number;
  /** It began earlier: of a domain name, addresses that were its own before count too. */
  readonly established?: boolean;
  /** Default: an echo request. */
  readonly icmp?: { readonly type: number; readonly code: number };
}

/** Within what Linux (32768..60999) and RFC 6335 (49152..65535) give to clients. */
export const ephemeralPort = 50_000;
const numbers: Readonly<Record<Exclude<Packet['protocol'], number>, number>> = {
  ...protocolNumbers,
  ICMP: 1,
  ICMPv6: 58,
};
const echoRequest: Readonly<Record<number, { readonly type: number; readonly code: number }>> = {
  [numbers.ICMP]: { type: 8, code: 0 },
  [numbers.ICMPv6]: { type: 128, code: 0 },
};

export interface PolicyQuery extends Packet {
  /** Whose programs decide: the destination for ingress, the source for egress. */
  readonly endpoint: EndpointId;
  readonly direction: 'ingress' | 'egress';
}

export interface Verdict {
  readonly verdict: 'allow' | 'deny';
  /**
   * `rule`: that rule matched. `endOfTier`: policies of that tier select the endpoint and none allowed the packet.
   * `notIsolated`: no tier decided, if there was any. `unknownEndpoint`: it has no program, so its traffic drops.
   * Of host endpoints: `failsafe`: a port that stays open; `profile`: no tier decided, and its profiles (or that there is none) did.
   */
  readonly by: 'rule' | 'endOfTier' | 'notIsolated' | 'unknownEndpoint' | 'failsafe' | 'profile';
  readonly tier?: string;
  readonly policy?: PolicyId;
  /** Index of the rule in the policy's direction. */
  readonly rule?: number;
}

/** What happens to the packet in one direction at one endpoint. */
export function evaluate(state: PolicyState, query: PolicyQuery): Verdict {
  const program = state.endpoints.get(query.endpoint);
  if (!program) return { verdict: 'deny', by: 'unknownEndpoint' };
  return evaluateTiers(state, query, program[query.direction]);
}

/** What would happen to it were the staged policies in force. Undefined: none of them has a say in this direction at this endpoint. */
export function evaluateStaged(state: PolicyState, query: PolicyQuery): Verdict | undefined {
  const tiers = state.endpoints.get(query.endpoint)?.staged?.[query.direction];
  return tiers && evaluateTiers(state, query, tiers);
}

function evaluateTiers(state: PolicyState, query: PolicyQuery, tiers: readonly TierProgram[]): Verdict {
  for (const tier of tiers) {
    const verdict = evaluateTier(state, query, tier);
    if (verdict) return verdict;
  }
  return { verdict: 'allow', by: 'notIsolated' };
}

export function evaluateTier(
  state: PolicyState,
  query: Packet & Pick<PolicyQuery, 'direction'>,
  tier: TierProgram,
): Verdict | undefined {
  for (const policy of tier.policies) {
    const rules = state.policies.get(policy)![query.direction];
    for (const [index, rule] of rules.entries()) {
      if (rule.action === 'log' || !ruleMatches(state, rule, query)) continue;
      if (rule.action === 'pass') return undefined;
      return { verdict: rule.action, by: 'rule', tier: tier.tier, policy, rule: index };
    }
  }
  return tier.endOfTier === 'deny' ? { verdict: 'deny', by: 'endOfTier', tier: tier.tier } : undefined;
}

/** Whether the rule is about the packet, whatever it says of it. */
export function ruleMatches(state: PolicyState, rule: PolicyRule, packet: Packet): boolean {
  if (rule.family !== undefined && rule.family !== familyOf(packet.toAddress)) return false;
  const protocol = numberOf(packet);
  if (rule.protocol !== undefined && rule.protocol !== protocol) return false;
  if (rule.notProtocol === protocol) return false;
  if (rule.icmp && !icmpMatches(rule.icmp, packet)) return false;
  if (rule.notIcmp && icmpMatches(rule.notIcmp, packet)) return false;
  const { established } = packet;
  if (rule.source && !peerMatches(state, rule.source, packet.fromAddress)) return false;
  if (rule.destination && !peerMatches(state, rule.destination, packet.toAddress, established)) return false;
  if (rule.destinationPorts && !isWithin(rule.destinationPorts, packet.port)) return false;
  if (rule.destinationNamedPorts !== undefined && !isNamed(state, rule.destinationNamedPorts, packet, 'destination')) {
    return false;
  }
  return (rule.conditions ?? []).every((condition) => holds(state, condition, packet) !== condition.not);
}

function isWithin(ports: readonly PortRange[], port: number): boolean {
  return ports.some((range) => range.first <= port && port <= range.last);
}

function isNamed(state: PolicyState, id: SetId, packet: Packet, side: RuleCondition['side']): boolean {
  const [address, port] = endOf(packet, side);
  return setOf(state, id).members.has(`${address},${String(packet.protocol).toLowerCase()}:${port}`);
}

function endOf(packet: Packet, side: RuleCondition['side']): readonly [IpAddress, number] {
  return side === 'source' ? [packet.fromAddress, packet.fromPort ?? ephemeralPort] : [packet.toAddress, packet.port];
}

function icmpMatches(match: IcmpMatch, packet: Packet): boolean {
  const { type, code } = packet.icmp ?? echoRequest[numberOf(packet)] ?? { type: -1, code: -1 };
  return match.type === type && (match.code === undefined || match.code === code);
}

/** Whatever its `not` says. */
function holds(state: PolicyState, condition: RuleCondition, packet: Packet): boolean {
  const [address, port] = endOf(packet, condition.side);
  switch (condition.type) {
    case 'address':
      return peerMatches(state, { type: 'set', set: condition.set }, address);
    case 'namedPorts':
      return isNamed(state, condition.set, packet, condition.side);
    case 'ports':
      return isWithin(condition.ports, port);
    default:
      return unreachable(condition);
  }
}

function numberOf({ protocol }: Packet): number {
  return typeof protocol === 'number' ? protocol : numbers[protocol];
}

function peerMatches(state: PolicyState, peer: PeerMatch, address: IpAddress, established = false): boolean {
  if (peer.type === 'cidr') {
    return cidrContains(peer.cidr, address) && !peer.except.some((cut) => cidrContains(cut, address));
  }
  const set = setOf(state, peer.set);
  if (set.type !== 'net')
    return set.members.has(address) || (established && state.wasLearnt?.(peer.set, address) === true);
  return anyHolds(set.members, address);
}

function setOf(state: PolicyState, id: SetId): SetState {
  const set = state.sets.get(id);
  if (!set) throw new Error(`no set ${id}`);
  return set;
}
