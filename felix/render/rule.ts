/** Rules and chains as text for `iptables-restore`, and their identity. */
import { shortHash } from './names.ts';

export interface Rule {
  /** Match arguments; empty matches everything. */
  readonly match: string;
  /** Target arguments, `-j X …` or `-g X`. */
  readonly target: string;
  /** For people; cut and cleaned by `ruleLine`. */
  readonly comment: string;
}

/** Marks a rule as ours and carries its identity: `poplin:` + hash, then the readable part. */
export const commentTag = 'poplin:';
/** xt_comment holds 256 bytes with the final NUL. */
const commentBytesMax = 255;
const ruleHashChars = 16;

/**
 * One hash a rule, chained over the chain's name, the hash before and the rule's text, so that position counts. Kernels and tools print a
 * rule in forms of their own (order of matches, /32, default masks); comparing what the comment says avoids a parser for all.
 */
export function ruleHashes(chain: string, rules: readonly Rule[]): string[] {
  let previous = chain;
  return rules.map((rule) => {
    previous = shortHash(`${previous}\n${rule.match}\n${rule.target}\n${rule.comment}`, ruleHashChars);
    return previous;
  });
}

/** `-A chain …`. The comment comes after the matches, so that only packets that match pay for it. */
export function ruleLine(command: string, rule: Rule, hash: string): string {
  const comment = `-m comment --comment "${`${commentTag}${hash} ${cleanComment(rule.comment)}`.trimEnd()}"`;
  return [command, rule.match, comment, rule.target].filter((part) => part !== '').join(' ');
}

/** The hash that a rule as `iptables-save` prints it carries, or undefined when it is not one of ours. */
export function hashInLine(line: string): string | undefined {
  return /--comment "?poplin:([A-Za-z0-9_-]{16})(?=[" ]|$)/.exec(line)?.[1];
}

/** Nothing that restore's parser could read as the end of the comment, and short enough with tag and hash. */
function cleanComment(text: string): string {
  return text
    .replace(/[^A-Za-z0-9 _.,:;=/@()+-]/g, '_')
    .slice(0, commentBytesMax - commentTag.length - ruleHashChars - 1);
}
