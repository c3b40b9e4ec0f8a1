/**
 * The chain of one pod in one direction: its tiers in order. A policy is called while no policy before it in the tier decided; what
 * a tier that ends in deny leaves undecided is dropped; what leaves all tiers is accepted. No tier: accepted.
 *
 * Where a tier has several policies these calls are a chain of their own, which endpoints with the same policies share (`groupOf`): a pod that comes
 * writes one rule for them, and what is written for a thousand policies of 200 pods is a thousand rules, not 200,000.
 *
 * Staged policies have no chains. Where one has a say, what is accepted is told of where it leaves the chain, by a rule with a limit, and whoever reads
 * that asks what the staged policies would have made of it: only what begins a connection comes here, and only of such pods it costs a comparison.
 */
import type { PolicyId, TierProgram } from '#model';
import { type FlowLogOptions, flowLogRules } from './flow-log.ts';
import { clearPass, type Marks, matchAccept, matchDecided, matchNotAccepted, matchUndecided } from './marks.ts';
import { type Direction, type Names, policyChain } from './names.ts';
import { acceptedChain } from './policy.ts';
import type { Rule } from './rule.ts';

export interface EndpointContext {
  readonly names: Names;
  readonly marks: Marks;
  readonly flowLog?: FlowLogOptions | undefined;
  /** A staged policy has a say in this direction. */
  readonly isStaged?: boolean;
  /** The chain is a host endpoint's. */
  readonly isHost?: true;
  /** The chain that calls these; undefined: each is called from here. */
  readonly groupOf?: (policies: readonly PolicyId[]) => string | undefined;
}

/** The marks must be clear when the chain is entered. It either drops or returns with the accept mark set. */
export function renderEndpoint(
  tiers: readonly TierProgram[],
  direction: Direction,
  label: string,
  context: EndpointContext,
): Rule[] {
  const { names, marks, flowLog } = context;
  const rules = tierRules(tiers, direction, label, context);
  const why = tiers.length === 0 ? 'not isolated' : 'accepted';
  const comment = `${label} ${direction}: ${why}`;
  const undecided = { verdict: 'allowed', direction, by: { type: 'none' } } as const;
  rules.push(...flowLogRules(matchNotAccepted(marks), undecided, comment, flowLog));
  rules.push(...tellAccepted('', direction, label, context));
  rules.push({ match: '', target: `-g ${acceptedChain(names)}`, comment });
  return rules;
}

/** Told of where staged policies have a say. */
function tellAccepted(
  match: string,
  direction: Direction,
  label: string,
  { flowLog, isStaged }: EndpointContext,
): Rule[] {
  if (!isStaged) return [];
  const accepted = { verdict: 'allowed', direction, by: { type: 'staged' } } as const;
  return flowLogRules(match, accepted, `${label} ${direction}: accepted, staged policies`, flowLog);
}

/** What the tiers deny is dropped behind these, what they accept or leave undecided is not. */
export function tierRules(
  tiers: readonly TierProgram[],
  direction: Direction,
  label: string,
  context: EndpointContext,
): Rule[] {
  const { marks, flowLog, isHost } = context;
  const rules: Rule[] = [];
  tiers.forEach((tier, index) => {
    if (index > 0) {
      rules.push(...tellAccepted(matchAccept(marks), direction, label, context));
      rules.push({ match: matchAccept(marks), target: '-j RETURN', comment: `accepted before tier ${tier.tier}` });
      rules.push({ match: '', target: clearPass(marks), comment: `tier ${tier.tier}` });
    }
    const group = context.groupOf?.(tier.policies);
    if (group === undefined) rules.push(...policyCalls(tier.policies, direction, context));
    else rules.push({ match: '', target: `-j ${group}`, comment: `policies of tier ${tier.tier}` });
    if (tier.endOfTier === 'deny') {
      const match = matchUndecided(marks);
      const comment = `${label} ${direction}: end of tier ${tier.tier}`;
      const by = { type: 'endOfTier', tier: tier.tier } as const;
      const denied = { verdict: 'denied', direction, by, ...(isHost && { host: isHost }) } as const;
      rules.push(...flowLogRules(match, denied, comment, flowLog));
      rules.push({ match, target: '-j DROP', comment });
    }
  });
  return rules;
}

/** Policies between two looks at whether one has decided: what is decided early passes by the rest. */
const policiesPerReturn = 16;

/** A chain for `groupOf`. */
export function renderGroup(
  policies: readonly PolicyId[],
  direction: Direction,
  context: { readonly names: Names; readonly marks: Marks },
): Rule[] {
  return policyCalls(policies, direction, context).flatMap((call, position) =>
    position === 0 || position % policiesPerReturn !== 0
      ? [call]
      : [{ match: matchDecided(context.marks), target: '-j RETURN', comment: 'decided' }, call],
  );
}

function policyCalls(
  policies: readonly PolicyId[],
  direction: Direction,
  { names, marks }: { readonly names: Names; readonly marks: Marks },
): Rule[] {
  // All alike: one that comes ahead of them changes none. The chain's own rules name the policy.
  const match = matchUndecided(marks);
  return policies.map((policy) => ({
    match,
    target: `-j ${policyChain(names, direction, policy)}`,
    comment: '',
    bare: true,
  }));
}
