/**
 * Rules that are never asked, or never decide: an earlier rule of the same walk matches all that they match, or a tier before theirs
 * ends in deny. Judged for each distinct program of the endpoints; a rule is shadowed when it is in all of them.
 *
 * Cost: pairs of rules within a program that could cover each other, of programs that differ.
 */
import type { PolicyId, PolicyRule, TierProgram } from '#model';
import type { PolicyState } from '../explain/policy-state.ts';
import type { Direction } from '../rules/peer-rules.ts';
import { ruleCovers } from './covers.ts';
import type { LintFinding } from './finding.ts';

/** Rules of one program that are compared with each other; those beyond are not judged. */
const rulesMax = 2_000;

interface Place {
  readonly policy: PolicyId;
  readonly rule: number;
  readonly of: PolicyRule;
}

/** Why a rule decides nothing. */
type Shadow = { readonly by: Place } | { readonly by: 'tier'; readonly tier: string };

export function* shadowed(state: PolicyState): Generator<LintFinding> {
  for (const direction of ['ingress', 'egress'] as const) {
    const found = new Map<PolicyId, (Shadow | undefined)[]>();
    const seen = new Set<string>();
    for (const program of state.endpoints.values()) {
      const text = JSON.stringify(program[direction]);
      if (seen.has(text)) continue;
      seen.add(text);
      judge(state, direction, program[direction], found);
    }
    for (const [policy, rules] of found) yield* findings(policy, direction, rules);
  }
}

/** Takes into `found` what this walk shows; what decides in some walk stays undefined for good. */
function judge(
  state: PolicyState,
  direction: Direction,
  tiers: readonly TierProgram[],
  found: Map<PolicyId, (Shadow | undefined)[]>,
): void {
  /** Those that decide for good: of earlier tiers, passes excluded. */
  const final: Place[] = [];
  let closedBy: string | undefined;
  let rulesCount = 0;
  for (const tier of tiers) {
    const asked: Place[] = [];
    for (const policy of tier.policies) {
      for (const [index, rule] of state.policies.get(policy)![direction].entries()) {
        const place = { policy, rule: index, of: rule };
        rulesCount++;
        const shadow =
          closedBy !== undefined
            ? { by: 'tier' as const, tier: closedBy }
            : rulesCount > rulesMax
              ? undefined
              : coveredBy([...final, ...asked], place);
        merge(found, place, shadow);
        if (!shadow) asked.push(place);
      }
    }
    final.push(...asked.filter(({ of }) => of.action !== 'pass'));
    if (tier.endOfTier === 'deny') closedBy = tier.tier;
  }
}

function coveredBy(earlier: readonly Place[], place: Place): Shadow | undefined {
  const by = earlier.find(({ of }) => ruleCovers(of, place.of));
  return by && { by };
}

function merge(
  found: Map<PolicyId, (Shadow | undefined)[]>,
  { policy, rule }: Place,
  shadow: Shadow | undefined,
): void {
  const rules = found.get(policy) ?? [];
  found.set(policy, rules);
  rules[rule] = rule in rules ? rules[rule] && shadow : shadow;
}

function* findings(
  policy: PolicyId,
  direction: Direction,
  rules: readonly (Shadow | undefined)[],
): Generator<LintFinding> {
  const base = { code: 'shadowed', policy, direction } as const;
  // A Baseline policy that NetworkPolicies stand ahead of everywhere is often meant.
  const severity = (shadow: Shadow): LintFinding['severity'] => (shadow.by === 'tier' ? 'notice' : 'warning');
  const first = rules[0];
  if (first && rules.every((shadow) => shadow !== undefined)) {
    const message = `none of its ${direction} rules decides anything: ${reason(first)}; remove it, or put it ahead`;
    yield { ...base, severity: severity(first), message };
    return;
  }
  for (const [rule, shadow] of rules.entries()) {
    if (!shadow) continue;
    const message = `never decides: ${reason(shadow)}; remove it, or put it ahead`;
    yield { ...base, severity: severity(shadow), rule, message };
  }
}

function reason(shadow: Shadow): string {
  if (shadow.by === 'tier') return `the tier ${shadow.tier} before it denies what it leaves over`;
  const { policy, rule, of } = shadow.by;
  return `${policy} rule ${rule + 1}, asked before it, ${of.action === 'deny' ? 'denies' : of.action === 'pass' ? 'passes' : 'allows'} all of that`;
}
