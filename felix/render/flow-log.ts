/**
 * Rules that tell the agent of packets that were denied or allowed, and by what. Each stands ahead of the rule that decides, with the same matches
 * and a limit behind them, and goes to a group of nfnetlink_log. It decides nothing: with or without it the same packets pass. Over its limit
 * a denied packet costs one comparison more.
 *
 * The prefix names what decides, in at most 63 characters (xt_NFLOG keeps 64 bytes with the final NUL):
 *
 *     DIR3|NetworkPolicy:shop/api    denied at ingress by rule 3 of that policy, counted as `poplin policy show` does; 0: it cannot be expressed
 *     DET|default                    denied at egress: no policy of the tier allowed it
 *     AIN|                           allowed at ingress: no policy decided
 *     DIR3|#-8rX0bdOFA7lUZ2q         a name that is longer, or has other characters, as its hash
 */
import type { PolicyId } from '#model';
import { type Direction, shortHash } from './names.ts';
import type { Rule } from './rule.ts';

export interface FlowLogOptions {
  readonly verdicts: 'denied' | 'all';
  /** Of nfnetlink_log, 0..65535. */
  readonly group: number;
  /** Packets a second that each rule tells of, 1..10000 (the scale of xt_limit). */
  readonly ratePerSec: number;
}

/** What decided. Names are as in the model, or `#` and their hash. */
export interface FlowLabel {
  readonly verdict: 'denied' | 'allowed';
  readonly direction: Direction;
  readonly by:
    | { readonly type: 'rule'; readonly policy: PolicyId; readonly rule: number }
    | { readonly type: 'endOfTier'; readonly tier: string }
    | { readonly type: 'none' };
}

const prefixCharsMax = 63;
/** Seconds' worth of packets that are told of at once after a silence. */
const burstSec = 2;
const burstMax = 10_000;
const plainName = /^[A-Za-z0-9_.:/-]+$/;

/** Nothing when such flows are not to be told of. */
export function flowLogRules(
  match: string,
  label: FlowLabel,
  comment: string,
  options: FlowLogOptions | undefined,
): Rule[] {
  if (!options || (label.verdict === 'allowed' && options.verdicts === 'denied')) return [];
  const { group, ratePerSec } = options;
  const burst = Math.min(burstMax, ratePerSec * burstSec);
  const limit = `-m limit --limit ${ratePerSec}/second --limit-burst ${burst}`;
  return [
    {
      match: match === '' ? limit : `${match} ${limit}`,
      target: `-j NFLOG --nflog-group ${group} --nflog-prefix "${flowPrefix(label)}"`,
      comment: `tells of: ${comment}`,
    },
  ];
}

export function flowPrefix({ verdict, direction, by }: FlowLabel): string {
  const head = `${verdict === 'denied' ? 'D' : 'A'}${direction === 'ingress' ? 'I' : 'E'}`;
  switch (by.type) {
    case 'rule':
      return named(`${head}R${by.rule}|`, by.policy);
    case 'endOfTier':
      return named(`${head}T|`, by.tier);
    case 'none':
      return `${head}N|`;
  }
}

function named(head: string, name: string): string {
  return head.length + name.length <= prefixCharsMax && plainName.test(name)
    ? `${head}${name}`
    : `${head}${flowNameHash(name)}`;
}

/** What stands for a name that does not fit. */
export function flowNameHash(name: string): string {
  return `#${shortHash(name)}`;
}

/** Undefined for what another program logs into the group. */
export function parseFlowPrefix(text: string): FlowLabel | undefined {
  const parts = /^([DA])([IE])(?:R(\d{1,9})\|(.+)|T\|(.+)|N\|)$/.exec(text);
  if (!parts) return undefined;
  const [, verdict, direction, rule, policy, tier] = parts;
  return {
    verdict: verdict === 'D' ? 'denied' : 'allowed',
    direction: direction === 'I' ? 'ingress' : 'egress',
    by:
      policy !== undefined
        ? { type: 'rule', policy, rule: Number(rule) }
        : tier !== undefined
          ? { type: 'endOfTier', tier }
          : { type: 'none' },
  };
}
