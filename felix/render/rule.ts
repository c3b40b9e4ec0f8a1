/** Rules and chains as text for `iptables-restore`, and their identity. */
import { shortHash } from './names.ts';

export interface Rule {
  /** Match arguments; empty matches everything. */
  readonly match: string;
  /** Target arguments, `-j X …` or `-g X`. */
  readonly target: string;
  /** For people; cut and cleaned by `ruleLine`. */
  readonly comment: string;
  /**
   * Written without a comment, which is more than a third of such a rule's bytes: its text is its identity. For many short rules whose text
   * iptables-save prints as it was written.
   */
  readonly bare?: true;
}

/** Marks a rule as ours and carries its identity: `poplin:` + hash, then the readable part. */
const commentTag = 'poplin:';
/** xt_comment holds 256 bytes with the final NUL. */
const commentBytesMax = 255;
const ruleHashChars = 16;

/**
 * One hash a rule, over the chain's name and the rule's text; a chain is compared as the list of its hashes. Kernels and tools print a
 * rule in forms of their own (order of matches, /32, default masks); comparing what the comment says avoids a parser for all. Not
 * chained over the rules before: a rule that comes into the middle changes no other, and can be inserted.
 */
export function ruleHashes(chain: string, rules: readonly Rule[]): string[] {
  return rules.map((rule) =>
    rule.bare
      ? bareHash(ruleLine(`-A ${chain}`, rule, ''))
      : shortHash(`${chain}\n${rule.match}\n${rule.target}\n${rule.comment}`, ruleHashChars),
  );
}

const bareHash = (line: string): string => shortHash(line, ruleHashChars);

/**
 * The places (0-based, in `after`) of the rules that turn `before` into `after` when they are inserted from the first to the last; undefined when
 * insertions alone do not.
 */
export function insertions(before: readonly string[], after: readonly string[]): number[] | undefined {
  const places: number[] = [];
  let kept = 0;
  for (const [place, hash] of after.entries()) {
    if (before[kept] === hash) kept++;
    else places.push(place);
  }
  return kept === before.length ? places : undefined;
}

/** `-A chain …`. The comment comes after the matches, so that only packets that match pay for it. */
export function ruleLine(command: string, rule: Rule, hash: string): string {
  const comment = rule.bare
    ? ''
    : `-m comment --comment "${`${commentTag}${hash} ${cleanComment(rule.comment)}`.trimEnd()}"`;
  return [command, rule.match, comment, rule.target].filter((part) => part !== '').join(' ');
}

/** The hash that a rule as `iptables-save` prints it carries, or undefined when it is not one of ours. */
export function hashInLine(line: string): string | undefined {
  return /--comment "?poplin:([A-Za-z0-9_-]{16})(?=[" ]|$)/.exec(line)?.[1];
}

/** What `ruleHashes` gave the rule that `iptables-save` prints so; of another's rule, what it gives no rule of ours but one of the same text. */
export function hashOfLine(line: string): string {
  return hashInLine(line) ?? bareHash(line);
}

/** Nothing that restore's parser could read as the end of the comment, and short enough with tag and hash. */
function cleanComment(text: string): string {
  return text
    .replace(/[^A-Za-z0-9 _.,:;=/@()+-]/g, '_')
    .slice(0, commentBytesMax - commentTag.length - ruleHashChars - 1);
}
