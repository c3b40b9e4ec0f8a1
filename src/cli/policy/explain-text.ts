/** An explanation in words, as a packet meets policy: tiers, policies and rules in order, and the one that decided. */
import type { ExplainedDirection, ExplainedRule, ExplainedTier, Explanation, ServedPort, Verdict } from '#policy';

/** Packets and bytes that a rule in the kernel has decided, by node of the explanation. */
export interface RuleCounter {
  readonly packets: number;
  readonly bytes: number;
}

export type CounterOf = (where: {
  readonly endpoint: string;
  readonly direction: 'ingress' | 'egress';
  readonly policy?: string;
  readonly rule?: number;
  readonly tier: string;
  readonly family: 'ipv4' | 'ipv6';
}) => RuleCounter | undefined;

export interface ExplainedConnection {
  readonly from: { readonly id: string; readonly address: string };
  readonly to: { readonly id: string; readonly address: string };
  readonly port: ServedPort;
  readonly family: 'ipv4' | 'ipv6';
  /** From a node to a pod of its own: policy is not asked. */
  readonly fromOwnNode: boolean;
  readonly explanation: Explanation;
  /** Ends whose part is not known here, each with where to ask. */
  readonly unknown?: readonly string[];
  /** The explanation is of what would be were the staged policies in force; this is what is. */
  readonly staged?: { readonly inForce: 'allow' | 'deny' };
}

type CounterOfRule = (where: Omit<Parameters<CounterOf>[0], 'family'>) => RuleCounter | undefined;

const verdictWords = { allow: 'allowed', deny: 'DENIED', pass: 'passed on' } as const;
const noCounters: CounterOf = () => undefined;
/** Rules that did not match are cut to so many at each end of a long list. */
const rulesShownAtEnds = 5;

export function formatExplanation(connection: ExplainedConnection, counterOf: CounterOf = noCounters): string {
  const { from, to, port, family, explanation, fromOwnNode } = connection;
  const lines = [
    `${endText(from)} -> ${endText(to)}  ${port.protocol} ${port.port}: ${verdictWords[explanation.verdict]}${partly(connection)}`,
    `  because ${because(connection)}`,
  ];
  if (!fromOwnNode && !explanation.toItself) {
    const counted: CounterOfRule = (where) => counterOf({ ...where, family });
    for (const one of explanation.directions) lines.push('', ...formatDirection(one, counted));
  }
  for (const text of connection.unknown ?? []) lines.push('', text);
  return `${lines.join('\n')}\n`;
}

/** What is allowed as far as it is known may still be denied by the other end. */
function partly({ explanation, unknown = [], staged }: ExplainedConnection): string {
  const known = explanation.verdict === 'allow' && unknown.length > 0 ? ' as far as this node knows' : '';
  return staged ? `${known} with the staged policies, ${verdictWords[staged.inForce]} by what is in force` : known;
}

function endText({ id, address }: ExplainedConnection['from']): string {
  return id === `ext:${address}` ? address : `${id} (${address})`;
}

/** The reason in one sentence. */
function because({ from, explanation, fromOwnNode, unknown = [] }: ExplainedConnection): string {
  if (fromOwnNode) return `${from.id} reaches the pods on it, whatever policy says`;
  if (explanation.toItself) return 'a pod reaches itself at its own address: such packets never leave it';
  if (explanation.directions.length === 0 && unknown.length > 0) return 'no policy of pods of this node is asked';
  if (explanation.directions.length === 0) return 'neither end is a pod of the pod network: policy is not asked';
  const denied = explanation.directions.find(({ verdict }) => verdict.verdict === 'deny');
  if (denied) return `${side(denied)} is denied: ${reason(denied.verdict)}`;
  return explanation.directions.map((one) => `${side(one)} is allowed: ${reason(one.verdict)}`).join('\n      and ');
}

function side({ direction, endpoint }: ExplainedDirection): string {
  return `${direction} of ${endpoint}`;
}

function reason({ verdict, by, tier, policy, rule }: Verdict): string {
  switch (by) {
    case 'rule':
      return `${policy} rule ${rule! + 1}`;
    case 'endOfTier':
      return `policies of tier ${tier} select it, and none of their rules allows this`;
    case 'notIsolated':
      return tier === undefined ? 'no policy decides it, and what none decides is allowed' : 'no rule denies it';
    case 'unknownEndpoint':
      return 'nothing is known of it yet';
    case 'failsafe':
      return 'it is a failsafe port';
    case 'profile':
      return verdict === 'allow'
        ? 'no policy decides it, and a profile allows it'
        : 'no policy and no profile allows it';
  }
}

function formatDirection(one: ExplainedDirection, counterOf: CounterOfRule): string[] {
  const { direction, endpoint, tiers, verdict } = one;
  const title = `${direction === 'egress' ? 'Egress' : 'Ingress'} of ${endpoint}: ${verdictWords[verdict.verdict]}`;
  if (tiers.length === 0) return [`${title}, ${withoutTiers(verdict)}`];
  const rows = tiers.flatMap((tier) => tierRows(one, tier, counterOf));
  const width = Math.max(...rows.map(([text]) => text.length));
  const body = rows.map(([text, said]) => (said === '' ? text : `${text.padEnd(width)}   ${said}`));
  return [title, ...body];
}

function withoutTiers({ by }: Verdict): string {
  return by === 'failsafe' ? 'a failsafe port' : 'no policy selects it in this direction';
}

type Row = readonly [text: string, said: string];

function tierRows(of: ExplainedDirection, tier: ExplainedTier, counterOf: CounterOfRule): Row[] {
  const { endpoint, direction } = of;
  const rows: Row[] = [[`  tier ${tier.tier}${trafficText(tier)}`, '']];
  for (const { policy, rules } of tier.policies) {
    rows.push([`    ${policy}`, rules.length === 0 ? 'no rules' : '']);
    for (const rule of shortened(rules)) {
      if (typeof rule === 'number') rows.push([`      (${rule} more rules)`, 'no match']);
      else {
        const counter = counterOf({ endpoint, direction, policy, rule: rule.rule, tier: tier.tier });
        rows.push([`      ${rule.rule + 1}. ${rule.text}`, said(rule) + counterText(counter)]);
      }
    }
  }
  if (tier.byEndOfTier) {
    const counter = tier.outcome === 'deny' ? counterOf({ endpoint, direction, tier: tier.tier }) : undefined;
    const outcome = tier.outcome === 'deny' ? '<= DENIED' : 'goes on';
    rows.push(['    what no rule decided', outcome + counterText(counter)]);
  }
  return rows;
}

const trafficWords = { forward: 'forwarded', preDNAT: 'preDNAT', untracked: 'doNotTrack' } as const;

function trafficText({ traffic }: ExplainedTier): string {
  return traffic === undefined ? '' : ` (${trafficWords[traffic]})`;
}

function said({ matched, action, learnt }: ExplainedRule): string {
  if (!matched) return 'no match';
  const since = learnt ? `, an address of ${learnt.name} for ${learnt.leftSec} s more` : '';
  return `${action === 'log' ? 'logged' : `<= ${verdictWords[action]}`}${since}`;
}

function counterText(counter: RuleCounter | undefined): string {
  return counter ? `  [${counter.packets} packets, ${counter.bytes} bytes]` : '';
}

/** The first and last ones; a number stands for those between, none of which matched. */
function shortened(rules: readonly ExplainedRule[]): (ExplainedRule | number)[] {
  const shown = 2 * rulesShownAtEnds;
  if (rules.length <= shown + 1 || rules.slice(rulesShownAtEnds, -rulesShownAtEnds).some(({ matched }) => matched)) {
    return [...rules];
  }
  return [...rules.slice(0, rulesShownAtEnds), rules.length - shown, ...rules.slice(-rulesShownAtEnds)];
}
