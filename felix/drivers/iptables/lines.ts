/** Chains as lines of `iptables-restore`: whole, by what changed, and very many new ones in portions. */
import { insertions, type Rule, ruleLine } from '../../render/rule.ts';

export interface WantedChain {
  readonly rules: readonly Rule[];
  readonly hashes: readonly string[];
  /** All hashes in one string: what the tracker compares. */
  readonly identity: string;
  /** What the kernel holds since it was last written, where this is not there yet. */
  readonly before?: WantedChain | undefined;
}

/** Commands of iptables-nft in one commit that are about chains nothing names yet; its time grows with their square. */
const portionLines = 1_000;
export function chainLines(chain: string, { rules, hashes }: Pick<WantedChain, 'rules' | 'hashes'>): string[] {
  return rules.map((rule, index) => ruleLine(`-A ${chain}`, rule, hashes[index]!));
}

/**
 * What makes of a chain that is there the one that is wanted without replacing it: rules inserted, or bare rules deleted. Undefined: neither does.
 * They are deleted by their text: where another program changed the chain meanwhile, that fails or still hits what was meant.
 */
export function changeLines(chain: string, wanted: WantedChain, actual: string | undefined): string[] | undefined {
  if (actual === undefined) return undefined;
  const { rules, hashes, before } = wanted;
  const inserted = insertions(actual.split(','), hashes);
  if (inserted) return inserted.map((at) => ruleLine(`-I ${chain} ${at + 1}`, rules[at]!, hashes[at]!));
  if (before?.identity !== actual) return undefined;
  const removed = insertions(hashes, before.hashes)?.map((at) => before.rules[at]!);
  return removed?.every(({ bare }) => bare) ? removed.map((rule) => ruleLine(`-D ${chain}`, rule, '')) : undefined;
}

/** Chains that are new, in portions of so many lines: each names only chains of its own, of portions before it, or that are there. */
export function* portions(fresh: readonly string[], wanted: ReadonlyMap<string, WantedChain>): Generator<string[]> {
  const left = new Set(fresh);
  let portion: string[] = [];
  let lines = 0;
  const ordered: string[] = [];
  const visit = (chain: string): void => {
    if (!left.delete(chain)) return;
    for (const { target } of wanted.get(chain)!.rules) visit(/^-[jg] (\S+)/.exec(target)?.[1] ?? '');
    ordered.push(chain);
  };
  for (const chain of fresh) {
    visit(chain);
    for (const each of ordered.splice(0)) {
      portion.push(each);
      lines += 1 + wanted.get(each)!.rules.length;
      if (lines < portionLines) continue;
      yield portion;
      portion = [];
      lines = 0;
    }
  }
  if (portion.length > 0) yield portion;
}
