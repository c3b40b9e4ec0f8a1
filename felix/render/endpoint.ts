/**
 * The chain of one pod in one direction: its tiers in order. A policy is called while no policy before it in the tier decided; what
 * a tier that ends in deny leaves undecided is dropped; what leaves all tiers is accepted. No tier: accepted.
 */
import type { PolicyId, TierProgram } from '#model';
import { type FlowLogOptions, flowLogRules } from './flow-log.ts';
import { clearPass, type Marks, matchAccept, matchNotAccepted, matchUndecided } from './marks.ts';
import { type Direction, type Names, policyChain } from './names.ts';
import { acceptedChain } from './policy.ts';
import type { Rule } from './rule.ts';

/** The marks must be clear when the chain is entered. It either drops or returns with the accept mark set. */
export function renderEndpoint(
  tiers: readonly TierProgram[],
  direction: Direction,
  label: string,
  context: { readonly names: Names; readonly marks: Marks; readonly flowLog?: FlowLogOptions | undefined },
): Rule[] {
  const { names, marks, flowLog } = context;
  const rules: Rule[] = [];
  tiers.forEach((tier, index) => {
    if (index > 0) {
      rules.push({ match: matchAccept(marks), target: '-j RETURN', comment: `accepted before tier ${tier.tier}` });
      rules.push({ match: '', target: clearPass(marks), comment: `tier ${tier.tier}` });
    }
    tier.policies.forEach((policy: PolicyId) => {
      // All alike: one that comes ahead of them changes none. The chain's own rules name the policy.
      const match = matchUndecided(marks);
      rules.push({ match, target: `-j ${policyChain(names, direction, policy)}`, comment: '', bare: true });
    });
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
