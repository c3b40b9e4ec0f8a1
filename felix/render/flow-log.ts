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
 *     DiT|default                    as above, of a host endpoint: whichever pod the packet is of
 *     AIS|                           allowed at ingress, to or from a pod that staged policies have a say about
 *     DIR3|#-8rX0bdOFA7lUZ2q         a name that is longer, or has other characters, as its hash
 *     XEB|invalid                    dropped whatever policy says: a rule of the base chains, by its comment
 */
import type { PolicyId } from '#model';
import { type Direction, type Names, shortHash, toldDropChain } from './names.ts';
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
  /** `dropped`: not by policy. Such a rule knows no direction: it is `egress`. */
  readonly verdict: 'denied' | 'allowed' | 'dropped';
  readonly direction: Direction;
  /** By what a host endpoint says of no policy alone: chains of policies are shared by host endpoints and pods. */
  readonly host?: true;
  readonly by:
    | { readonly type: 'rule'; readonly policy: PolicyId; readonly rule: number }
    | { readonly type: 'endOfTier'; readonly tier: string }
    | { readonly type: 'none' }
    /** Allowed, by what is not said: whoever reads it asks what staged policies would have made of it. */
    | { readonly type: 'staged' }
    | { readonly type: 'dataplane'; readonly reason: string };
}

const prefixCharsMax = 63;
/** Seconds' worth of packets that are told of at once after a silence. */
const burstSec = 2;
const burstMax = 10_000;
const verdictLetters = { denied: 'D', allowed: 'A', dropped: 'X' } as const;
const plainName = /^[A-Za-z0-9_.:/-]+$/;

/** Nothing when such flows are not to be told of; where all are, what only staged policies ask for is told of already. */
export function flowLogRules(
  match: string,
  label: FlowLabel,
  comment: string,
  options: FlowLogOptions | undefined,
): Rule[] {
  if (!options) return [];
  const isStaged = label.by.type === 'staged';
  if (label.verdict === 'allowed' && isStaged !== (options.verdicts === 'denied')) return [];
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

export interface ToldChains {
  readonly rules: readonly Rule[];
  /** That the rules go to. */
  readonly chains: ReadonlyMap<string, readonly Rule[]>;
}

/**
 * Every drop of a base chain is told of by its comment, in a chain of its own: every packet of a pod passes these rules, and is to be compared
 * once.
 */
export function tellOfDrops(rules: readonly Rule[], names: Names, options: FlowLogOptions | undefined): ToldChains {
  const chains = new Map<string, readonly Rule[]>();
  if (!options) return { rules, chains };
  const told = rules.map((rule) => {
    if (rule.target !== '-j DROP') return rule;
    const by = { type: 'dataplane', reason: rule.comment } as const;
    const label = { verdict: 'dropped', direction: 'egress', by } as const;
    const chain = toldDropChain(names, rule.comment);
    const drop = { match: '', target: rule.target, comment: rule.comment };
    chains.set(chain, [...flowLogRules('', label, rule.comment, options), drop]);
    return { ...rule, target: `-g ${chain}` };
  });
  return { rules: told, chains };
}

export function flowPrefix({ verdict, direction, host, by }: FlowLabel): string {
  const letter = direction === 'ingress' ? 'I' : 'E';
  const head = `${verdictLetters[verdict]}${host ? letter.toLowerCase() : letter}`;
  switch (by.type) {
    case 'rule':
      return named(`${head}R${by.rule}|`, by.policy);
    case 'endOfTier':
      return named(`${head}T|`, by.tier);
    case 'none':
      return `${head}N|`;
    case 'staged':
      return `${head}S|`;
    case 'dataplane':
      return `${head}B|${by.reason.replace(/[^A-Za-z0-9_.:/, -]/g, '_')}`.slice(0, prefixCharsMax);
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
  const parts = /^([DAX])([IEie])(?:R(\d{1,9})\|(.+)|T\|(.+)|N\||S\||B\|(.+))$/.exec(text);
  if (!parts) return undefined;
  const [, verdict, direction, rule, policy, tier, reason] = parts;
  if ((verdict === 'X') !== (reason !== undefined)) return undefined;
  return {
    verdict: verdict === 'D' ? 'denied' : verdict === 'A' ? 'allowed' : 'dropped',
    direction: direction!.toUpperCase() === 'I' ? 'ingress' : 'egress',
    ...(/[ie]/.test(direction!) && { host: true }),
    by:
      policy !== undefined
        ? { type: 'rule', policy, rule: Number(rule) }
        : tier !== undefined
          ? { type: 'endOfTier', tier }
          : reason !== undefined
            ? { type: 'dataplane', reason }
            : { type: text.endsWith('S|') ? 'staged' : 'none' },
  };
}
