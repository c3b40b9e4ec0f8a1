/**
 * From a packet's interface to its pod's chain, as a tree over the characters of the interface's name: a packet crosses a few rules in
 * each of a few chains however many pods there are, and a pod that comes or goes rewrites the one leaf that names it. Every chain of the tree
 * ends in a drop: an interface with our prefix that is not (or not yet) programmed carries nothing.
 */
import { type Direction, dispatchChain, endpointChain, type Names } from './names.ts';
import type { Rule } from './rule.ts';

/** A chain splits by the next character when it would hold more interfaces than this. */
const leafRulesMax = 8;

/** Every chain of the tree by name, the root included. */
export function renderDispatch(interfaces: Iterable<string>, direction: Direction, names: Names): Map<string, Rule[]> {
  const chains = new Map<string, Rule[]>();
  const option = direction === 'ingress' ? '-o' : '-i';
  const grow = (prefix: string, members: readonly string[]): string => {
    const rules: Rule[] = [];
    const go = (to: string, chain: string) =>
      rules.push({ match: `${option} ${to}`, target: `-g ${chain}`, comment: '', bare: true });
    const leaf = (name: string) => go(name, endpointChain(names, direction, name));
    if (members.length <= leafRulesMax) {
      members.forEach(leaf);
    } else {
      const branches = Map.groupBy(members, (name) => name.slice(0, prefix.length + 1));
      for (const [branch, below] of branches) {
        if (branch === prefix || below.length === 1) below.forEach(leaf);
        else go(`${branch}+`, grow(branch, below));
      }
    }
    rules.push({ match: '', target: '-j DROP', comment: 'unknown interface' });
    const chain = dispatchChain(names, direction, prefix.slice(names.interfacePrefix.length));
    chains.set(chain, rules);
    return chain;
  };
  grow(names.interfacePrefix, [...interfaces].sort());
  return chains;
}
