/** What host endpoints say of a packet that begins a connection: the kinds of their traffic in the order in which the kernel asks them. */
import { cidrContains } from '#kit';
import type { EndpointId, Failsafe, TierProgram } from '#model';
import { evaluateTier, type Packet, type Verdict } from './evaluate.ts';
import type { PolicyState } from './policy-state.ts';

/** A host endpoint on the way to or from an end. */
export interface CrossedHost {
  readonly endpoint: EndpointId;
  readonly failsafe: Failsafe;
}

export interface HostQuery extends Packet {
  readonly host: CrossedHost;
  readonly direction: 'ingress' | 'egress';
  /** The end behind the host endpoint is a pod. */
  readonly forwarded: boolean;
}

export interface HostStage {
  readonly traffic: 'local' | 'forward' | 'preDNAT' | 'untracked';
  readonly tiers: readonly TierProgram[];
  /** What becomes of what the tiers leave open; undefined: the next stage is asked. */
  readonly otherwise: Verdict | undefined;
}

/** Without the stages that the packet passes by as a failsafe port. @returns undefined for a host endpoint that is not known. */
export function hostStages(state: PolicyState, query: HostQuery): HostStage[] | undefined {
  const program = state.endpoints.get(query.host.endpoint);
  const host = program?.host;
  if (!host) return undefined;
  const { direction, forwarded } = query;
  const open = isFailsafe(query);
  const ahead: HostStage[] = [];
  // A pod's packets do not pass where the node's own are asked without conntrack.
  if (!open && (direction === 'ingress' || !forwarded))
    ahead.push({ traffic: 'untracked', tiers: host.untracked[direction], otherwise: undefined });
  if (!open && direction === 'ingress') ahead.push({ traffic: 'preDNAT', tiers: host.preDNAT, otherwise: undefined });
  if (forwarded) {
    return [...ahead, { traffic: 'forward', tiers: host.forward[direction], otherwise: allowed('notIsolated') }];
  }
  if (open) return [{ traffic: 'local', tiers: [], otherwise: allowed('failsafe') }];
  return [
    ...ahead,
    { traffic: 'local', tiers: program[direction], otherwise: { verdict: host.otherwise, by: 'profile' } },
  ];
}

const allowed = (by: Verdict['by']): Verdict => ({ verdict: 'allow', by });

/** By destination port alone: of a connection, its first packet. */
function isFailsafe({ host: { failsafe }, direction, protocol, port, fromAddress, toAddress }: HostQuery): boolean {
  const [ports, peer] = direction === 'ingress' ? [failsafe.inbound, fromAddress] : [failsafe.outbound, toAddress];
  return ports.some(
    (one) =>
      one.protocol === String(protocol).toLowerCase() &&
      one.port === port &&
      (one.net === undefined || cidrContains(one.net, peer)),
  );
}

export function evaluateHost(state: PolicyState, query: HostQuery): Verdict {
  const stages = hostStages(state, query);
  if (!stages) return { verdict: 'deny', by: 'unknownEndpoint' };
  for (const { tiers, otherwise } of stages) {
    for (const tier of tiers) {
      const verdict = evaluateTier(state, query, tier);
      if (verdict) return verdict;
    }
    if (otherwise) return otherwise;
  }
  return allowed('notIsolated');
}
