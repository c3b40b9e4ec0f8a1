/**
 * Why a connection passes or not: tiers, policies and rules of both ends in the order in which they are asked, up to the one
 * that decides. It walks the same rules as the kernel's, and says of each whether it matched.
 */
import type { EndpointId, PolicyId, PolicyRule, TierProgram } from '#model';
import { type Connection, hostQueries } from './connection.ts';
import { type Packet, type PolicyQuery, ruleMatches, type Verdict } from './evaluate.ts';
import { type HostQuery, hostStages } from './host.ts';
import type { LearntAddress, PolicyState } from './policy-state.ts';
import { ruleText } from './show.ts';

export interface ExplainedRule {
  /** Index of the rule in the policy's direction. */
  readonly rule: number;
  readonly action: PolicyRule['action'];
  readonly text: string;
  readonly matched: boolean;
  /** It matched since this name had the address. */
  readonly learnt?: LearntAddress;
}

export interface ExplainedPolicy {
  readonly policy: PolicyId;
  /** Those that were asked: up to the first that decided. */
  readonly rules: readonly ExplainedRule[];
}

export interface ExplainedTier {
  readonly tier: string;
  /** Of a host endpoint, where it is not about what ends or begins at the node alone. */
  readonly traffic?: 'forward' | 'preDNAT' | 'untracked';
  readonly policies: readonly ExplainedPolicy[];
  /** `pass`: it went on to the next tier. */
  readonly outcome: 'allow' | 'deny' | 'pass';
  /** No rule decided: the end of the tier did. */
  readonly byEndOfTier: boolean;
}

export interface ExplainedDirection {
  readonly endpoint: EndpointId;
  readonly direction: 'ingress' | 'egress';
  readonly tiers: readonly ExplainedTier[];
  readonly verdict: Verdict;
}

export interface Explanation {
  readonly verdict: 'allow' | 'deny';
  /** The pod talks to itself at its own address: such packets never leave it. */
  readonly toItself: boolean;
  /** Of the ends that are endpoints and of host endpoints on the way, in the order in which a packet meets them. */
  readonly directions: readonly ExplainedDirection[];
}

export function explainConnection(state: PolicyState, connection: Connection): Explanation {
  const { from, to, protocol, port } = connection;
  if (from.endpoint !== undefined && from.endpoint === to.endpoint) {
    return { verdict: 'allow', toItself: true, directions: [] };
  }
  const packet: Packet = { fromAddress: from.address, toAddress: to.address, protocol, port };
  const of = (endpoint: EndpointId | undefined, direction: 'ingress' | 'egress'): ExplainedDirection[] =>
    endpoint === undefined ? [] : [explainDirection(state, { ...packet, endpoint, direction })];
  const hosts = hostQueries(connection).flatMap((query) => (query ? [explainHost(state, query)] : []));
  const directions = [...of(from.endpoint, 'egress'), ...hosts, ...of(to.endpoint, 'ingress')];
  const verdict = directions.every((one) => one.verdict.verdict === 'allow') ? 'allow' : 'deny';
  return { verdict, toItself: false, directions };
}

export function explainDirection(state: PolicyState, query: PolicyQuery): ExplainedDirection {
  const { endpoint, direction } = query;
  const program = state.endpoints.get(endpoint);
  const tiers: ExplainedTier[] = [];
  const said = (verdict: Verdict): ExplainedDirection => ({ endpoint, direction, tiers, verdict });
  if (!program) return said({ verdict: 'deny', by: 'unknownEndpoint' });
  for (const tier of program[direction]) {
    const explained = explainTier(state, query, tier);
    tiers.push(explained);
    const verdict = decided(explained);
    if (verdict) return said(verdict);
  }
  return said({ verdict: 'allow', by: 'notIsolated' });
}

function explainHost(state: PolicyState, query: HostQuery): ExplainedDirection {
  const { host, direction } = query;
  const tiers: ExplainedTier[] = [];
  const said = (verdict: Verdict): ExplainedDirection => ({ endpoint: host.endpoint, direction, tiers, verdict });
  for (const stage of hostStages(state, query) ?? []) {
    for (const tier of stage.tiers) {
      const explained = explainTier(state, query, tier);
      tiers.push(stage.traffic === 'local' ? explained : { ...explained, traffic: stage.traffic });
      const verdict = decided(explained);
      if (verdict) return said(verdict);
    }
    if (stage.otherwise) return said(stage.otherwise);
  }
  return said({ verdict: 'deny', by: 'unknownEndpoint' });
}

/** Undefined: it goes on. */
function decided({ tier, policies, outcome, byEndOfTier }: ExplainedTier): Verdict | undefined {
  if (outcome === 'pass') return undefined;
  if (byEndOfTier) return { verdict: outcome, by: 'endOfTier', tier };
  const last = policies.at(-1)!;
  return { verdict: outcome, by: 'rule', tier, policy: last.policy, rule: last.rules.at(-1)!.rule };
}

function explainTier(
  state: PolicyState,
  query: Packet & Pick<PolicyQuery, 'direction'>,
  tier: TierProgram,
): ExplainedTier {
  const policies: ExplainedPolicy[] = [];
  for (const policy of tier.policies) {
    const rules: ExplainedRule[] = [];
    policies.push({ policy, rules });
    for (const [index, rule] of state.policies.get(policy)![query.direction].entries()) {
      const matched = ruleMatches(state, rule, query);
      const text = ruleText(state, rule, query.direction);
      const learnt = matched ? learntBy(state, rule, query) : undefined;
      rules.push({ rule: index, action: rule.action, text, matched, ...(learnt && { learnt }) });
      if (matched && rule.action !== 'log') {
        return { tier: tier.tier, policies, outcome: rule.action, byEndOfTier: false };
      }
    }
  }
  return { tier: tier.tier, policies, outcome: tier.endOfTier, byEndOfTier: true };
}

function learntBy(state: PolicyState, { destination }: PolicyRule, { toAddress }: Packet): LearntAddress | undefined {
  return destination?.type === 'set' ? state.learnt?.(destination.set, toAddress) : undefined;
}
