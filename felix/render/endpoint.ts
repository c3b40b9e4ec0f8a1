/**
 * The chain of one pod in one direction: its tiers in order. A policy is called while no policy before it in the tier decided; what
 * a tier that ends in deny leaves undecided is dropped; what leaves all tiers is accepted. No tier: accepted.
 */
import type { PolicyId, TierProgram } from '#model';
import { clearPass, type Marks, matchAccept, matchUndecided } from './marks.ts';
import { type Direction, type Names, policyChain } from './names.ts';
import { acceptedChain } from './policy.ts';
import type { Rule } from './rule.ts';

/** The marks must be clear when the chain is entered. It either drops or returns with the accept mark set. */
export function renderEndpoint(
  tiers: readonly TierProgram[],
  direction: Direction,
  label: string,
  context: { readonly names: Names; readonly marks: Marks },
): Rule[] {
  const { names, marks } = context;
  const rules: Rule[] = [];
  tiers.forEach((tier, index) => {
    if (index > 0) {
      rules.push({ match: matchAccept(marks), target: '-j RETURN', comment: `accepted before tier ${tier.tier}` });
      rules.push({ match: '', target: clearPass(marks), comment: `tier ${tier.tier}` });
    }
    tier.policies.forEach((policy: PolicyId, position) => {
      const match = position === 0 ? '' : matchUndecided(marks);
      rules.push({ match, target: `-j ${policyChain(names, direction, policy)}`, comment: policy });
    });
    if (tier.endOfTier === 'deny') {
      rules.push({
        match: matchUndecided(marks),
        target: '-j DROP',
        comment: `${label} ${direction}: end of tier ${tier.tier}`,
      });
    }
  });
  const why = tiers.length === 0 ? 'not isolated' : 'accepted';
  rules.push({ match: '', target: `-g ${acceptedChain(names)}`, comment: `${label} ${direction}: ${why}` });
  return rules;
}
