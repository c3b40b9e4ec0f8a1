/**
 * The chain of one pod in one direction: its tiers in order. A policy is called while no policy before it in the tier decided; what
 * a tier that ends in deny leaves undecided is dropped; what leaves all tiers is accepted. No tier: accepted.
 *
 * Where a tier has several policies these calls are a chain of their own, which endpoints with the same policies share (`groupOf`): a pod that comes
 * writes one rule for them, and what is written for a thousand policies of 200 pods is a thousand rules, not 200,000.
 */
import type { PolicyId, TierProgram } from '#model';
import { type FlowLogOptions, flowLogRules } from './flow-log.ts';
import { clearPass, type Marks, matchAccept, matchDecided, matchNotAccepted, matchUndecided } from './marks.ts';
import { type Direction, type Names, policyChain } from './names.ts';
import { acceptedChain } from './policy.ts';
import type { Rule } from './rule.ts';

/** The marks must be clear when the chain is entered. It either drops or returns with the accept mark set. */
export function renderEndpoint(
  tiers: readonly TierProgram[],
  direction: Direction,
  label: string,
  context: {
    readonly names: Names;
    readonly marks: Marks;
    readonly flowLog?: FlowLogOptions | undefined;
    /** The chain that calls these; undefined: each is called from here. */
    readonly groupOf?: (policies: readonly PolicyId[]) => string | undefined;
  },
): Rule[] {
  const { names, marks, flowLog } = context;
  const rules: Rule[] = [];
  tiers.forEach((tier, index) => {
    if (index > 0) {
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
      rules.push(...flowLogRules(match, { verdict: 'denied', direction, by }, comment, flowLog));
      rules.push({ match, target: '-j DROP', comment });
    }
  });
  const why = tiers.length === 0 ? 'not isolated' : 'accepted';
  const comment = `${label} ${direction}: ${why}`;
  const undecided = { verdict: 'allowed', direction, by: { type: 'none' } } as const;
  rules.push(...flowLogRules(matchNotAccepted(marks), undecided, comment, flowLog));
  rules.push({ match: '', target: `-g ${acceptedChain(names)}`, comment });
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
  return policies.map((policy, position) => ({
    match: position === 0 ? '' : matchUndecided(marks),
    target: `-j ${policyChain(names, direction, policy)}`,
    comment: policy,
  }));
}
