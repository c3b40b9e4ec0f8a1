/**
 * Selectors over labels: one expression tree for Kubernetes' LabelSelector and for Calico's selector language.
 *
 * Trees are built through the functions below, which put them into canonical form (flattened, sorted, single-valued `in`
 * turned into `==`), so that selectors that are written differently and mean the same share one text, and with it one set
 * in the kernel. Labels are read with `hasOwn`: `constructor` and `toString` are legal label names.
 */
import { unreachable } from '#kit';
import type { Labels } from '../objects.ts';

export type SelectorNode =
  | { readonly op: 'all' }
  | { readonly op: 'none' }
  | { readonly op: 'has'; readonly key: string }
  /** The label exists and its value is one of `values` (sorted, distinct). */
  | { readonly op: 'in'; readonly key: string; readonly values: readonly string[] }
  | { readonly op: 'contains' | 'startsWith' | 'endsWith'; readonly key: string; readonly value: string }
  | { readonly op: 'not'; readonly node: SelectorNode }
  | { readonly op: 'and' | 'or'; readonly nodes: readonly SelectorNode[] };

/** A selector ready for use: equal text means equal meaning (the reverse does not hold). */
export interface Selector {
  readonly node: SelectorNode;
  /** Canonical text in Calico's selector language. */
  readonly canonical: string;
  matches(labels: Labels): boolean;
}

export function selector(node: SelectorNode): Selector {
  return { node, canonical: canonicalText(node), matches: (labels) => evaluateSelector(node, labels) };
}

export const all: SelectorNode = { op: 'all' };
/** What Calico says of everything that stands in a namespace. */
export const namespaceLabel = 'projectcalico.org/namespace';
const none: SelectorNode = { op: 'none' };

export function has(key: string): SelectorNode {
  return { op: 'has', key };
}

export function isIn(key: string, values: Iterable<string>): SelectorNode {
  const distinct = [...new Set(values)].sort();
  return distinct.length === 0 ? none : { op: 'in', key, values: distinct };
}

export function not(node: SelectorNode): SelectorNode {
  if (node.op === 'not') return node.node;
  if (node.op === 'all') return none;
  if (node.op === 'none') return all;
  return { op: 'not', node };
}

/** Conjunction: nested ones are flattened, `all()` vanishes, equal terms collapse, terms are sorted by their text. */
export function and(nodes: readonly SelectorNode[]): SelectorNode {
  return combine('and', nodes, all, none);
}

export function or(nodes: readonly SelectorNode[]): SelectorNode {
  return combine('or', nodes, none, all);
}

function combine(
  op: 'and' | 'or',
  nodes: readonly SelectorNode[],
  neutral: SelectorNode,
  absorbing: SelectorNode,
): SelectorNode {
  const terms = new Map<string, SelectorNode>();
  for (const node of nodes) {
    for (const term of node.op === op ? node.nodes : [node]) {
      if (term.op === absorbing.op) return absorbing;
      if (term.op !== neutral.op) terms.set(canonicalText(term), term);
    }
  }
  if (terms.size === 0) return neutral;
  if (terms.size === 1) return [...terms.values()][0]!;
  return { op, nodes: [...terms].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, term]) => term) };
}

/** The value of a label, or undefined when the object does not carry it. */
export function labelValue(labels: Labels, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}

export function evaluateSelector(node: SelectorNode, labels: Labels): boolean {
  switch (node.op) {
    case 'all':
      return true;
    case 'none':
      return false;
    case 'has':
      return labelValue(labels, node.key) !== undefined;
    case 'in': {
      const value = labelValue(labels, node.key);
      return value !== undefined && isAmong(value, node.values);
    }
    case 'contains':
      return labelValue(labels, node.key)?.includes(node.value) ?? false;
    case 'startsWith':
      return labelValue(labels, node.key)?.startsWith(node.value) ?? false;
    case 'endsWith':
      return labelValue(labels, node.key)?.endsWith(node.value) ?? false;
    case 'not':
      return !evaluateSelector(node.node, labels);
    case 'and':
      return node.nodes.every((term) => evaluateSelector(term, labels));
    case 'or':
      return node.nodes.some((term) => evaluateSelector(term, labels));
    default:
      return unreachable(node);
  }
}

/** Above it halving beats looking at each. */
const scannedMax = 16;

/** @param values sorted; a policy may list tens of thousands, and is asked for each pod */
function isAmong(value: string, values: readonly string[]): boolean {
  if (values.length <= scannedMax) return values.includes(value);
  let [low, high] = [0, values.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return values[low] === value;
}

/** Calico's strings have no escapes, so a value with both kinds of quote (no label can have one) falls back to JSON. */
function quoted(value: string): string {
  if (!value.includes("'")) return `'${value}'`;
  return value.includes('"') ? JSON.stringify(value) : `"${value}"`;
}

const operatorText = { contains: 'contains', startsWith: 'starts with', endsWith: 'ends with' } as const;

function canonicalText(node: SelectorNode): string {
  switch (node.op) {
    case 'all':
      return 'all()';
    case 'none':
      return '!all()';
    case 'has':
      return `has(${node.key})`;
    case 'in':
      return node.values.length === 1
        ? `${node.key} == ${quoted(node.values[0]!)}`
        : `${node.key} in {${node.values.map(quoted).join(', ')}}`;
    case 'contains':
    case 'startsWith':
    case 'endsWith':
      return `${node.key} ${operatorText[node.op]} ${quoted(node.value)}`;
    case 'not': {
      const inner = node.node;
      if (inner.op !== 'in') return inner.op === 'has' ? `!${canonicalText(inner)}` : `!(${canonicalText(inner)})`;
      return inner.values.length === 1
        ? `${inner.key} != ${quoted(inner.values[0]!)}`
        : `${inner.key} not in {${inner.values.map(quoted).join(', ')}}`;
    }
    case 'and':
      return node.nodes
        .map((term) => (term.op === 'or' ? `(${canonicalText(term)})` : canonicalText(term)))
        .join(' && ');
    case 'or':
      return node.nodes.map(canonicalText).join(' || ');
    default:
      return unreachable(node);
  }
}
