/** Kernel rules of one endpoint's programs with what they counted, under the names that people know: policy, rule, tier. */
import type { IpFamily } from '#kit';
import type { EndpointProgram, PolicyId } from '#model';
import type { PacketCount } from './drivers/iptables/counters.ts';
import { type Direction, endpointChain, type Names, policyChain } from './render/names.ts';
import type { Rule } from './render/rule.ts';

export interface RuleCounter extends PacketCount {
  readonly family: IpFamily;
  readonly direction: Direction;
  readonly chain: string;
  /** The policy's rule: for all pods of the node that have the policy. */
  readonly policy?: PolicyId;
  /** Index in the policy's direction. */
  readonly rule?: number;
  /** The end of this tier, which denies: for this endpoint alone. */
  readonly endOfTier?: string;
}

/** A chain as it was written, each rule with its hash. */
export type WrittenRules = (chain: string) => readonly (Rule & { readonly hash: string })[];

/** Several kernel rules of one rule (its ports do not fit in one) are one counter. What only logs beside a verdict is not counted. */
export function ruleCounters(
  program: Pick<EndpointProgram, Direction>,
  interfaceName: string,
  table: {
    readonly names: Names;
    readonly family: IpFamily;
    readonly written: WrittenRules;
    readonly counts: ReadonlyMap<string, PacketCount>;
  },
): RuleCounter[] {
  const { names, family, written, counts } = table;
  const out: RuleCounter[] = [];
  for (const direction of ['ingress', 'egress'] as const) {
    for (const policy of new Set(program[direction].flatMap((tier) => tier.policies))) {
      const chain = policyChain(names, direction, policy);
      for (const [rule, count] of sums(written(chain), counts, indexOf)) {
        out.push({ family, direction, chain, policy, rule, ...count });
      }
    }
    const chain = endpointChain(names, direction, interfaceName);
    for (const [endOfTier, count] of sums(written(chain), counts, tierOf)) {
      out.push({ family, direction, chain, endOfTier, ...count });
    }
  }
  return out;
}

function sums<K>(
  rules: ReturnType<WrittenRules>,
  counts: ReadonlyMap<string, PacketCount>,
  keyOf: (rule: Rule) => K | undefined,
): Map<K, PacketCount> {
  const out = new Map<K, PacketCount>();
  for (const rule of rules) {
    const key = keyOf(rule);
    const count = counts.get(rule.hash);
    if (key === undefined || !count) continue;
    const before = out.get(key) ?? { packets: 0, bytes: 0 };
    out.set(key, { packets: before.packets + count.packets, bytes: before.bytes + count.bytes });
  }
  return out;
}

/** From the comment that render/policy.ts gives: `NetworkPolicy:a/b rule 3 allow`. */
function indexOf({ comment, target }: Rule): number | undefined {
  const match = / rule (\d+) (allow|deny|pass|log)$/.exec(comment);
  if (!match || (target.includes('NFLOG') && match[2] !== 'log')) return undefined;
  return Number(match[1]) - 1;
}

/** From the comment that render/endpoint.ts gives: `a/b ingress: end of tier default`. */
function tierOf({ comment, target }: Rule): string | undefined {
  return target === '-j DROP' ? / end of tier (\S+)$/.exec(comment)?.[1] : undefined;
}
