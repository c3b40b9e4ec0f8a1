/** Calico's selectors of namespaces and service accounts as selectors of what stands in these: labels of theirs are inherited under a prefix. */
import { all, and, has, namespaceLabel, not, or, parseSelector, type SelectorNode } from '#model';

export const namespacePrefix = 'pcns.';
export const serviceAccountPrefix = 'pcsa.';
export const serviceAccountLabel = 'projectcalico.org/serviceaccount';

/** @param text was read before: it parses. */
export function calicoSelector(text: string): SelectorNode {
  const parsed = parseSelector(text);
  if ('error' in parsed) throw new RangeError(`selector ${JSON.stringify(text)}: ${parsed.error}`);
  return parsed.node;
}

/** `all()` is whatever stands in a namespace, `global()` whatever stands in none. */
export function inNamespaces(text: string): SelectorNode {
  return prefixed(calicoSelector(text), namespacePrefix, has(namespaceLabel));
}

export function ofServiceAccounts(text: string): SelectorNode {
  return prefixed(calicoSelector(text), serviceAccountPrefix, all);
}

function prefixed(node: SelectorNode, prefix: string, everything: SelectorNode): SelectorNode {
  switch (node.op) {
    case 'all':
      return everything;
    case 'none':
      return not(everything);
    case 'not':
      return not(prefixed(node.node, prefix, everything));
    case 'and':
      return and(node.nodes.map((term) => prefixed(term, prefix, everything)));
    case 'or':
      return or(node.nodes.map((term) => prefixed(term, prefix, everything)));
    default:
      // What global() stands for.
      return node.key === namespaceLabel ? node : { ...node, key: prefix + node.key };
  }
}
