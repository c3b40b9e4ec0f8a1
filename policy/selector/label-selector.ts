import { unreachable } from '#kit';
import {
  and,
  has,
  isIn,
  type LabelSelector,
  type LabelSelectorRequirement,
  not,
  type Selector,
  type SelectorNode,
  selector,
} from '#model';

/**
 * Compiles a metav1.LabelSelector. NotIn and DoesNotExist match objects without the key, Exists matches an empty value,
 * and `matchLabels: {k: ""}` needs the key. Empty selects everything.
 */
export function compileLabelSelector(source: LabelSelector): Selector {
  const labels = Object.entries(source.matchLabels).map(([key, value]) => isIn(key, [value]));
  return selector(and([...labels, ...source.matchExpressions.map(requirement)]));
}

function requirement(source: LabelSelectorRequirement): SelectorNode {
  switch (source.operator) {
    case 'In':
      return isIn(source.key, source.values);
    case 'NotIn':
      return not(isIn(source.key, source.values));
    case 'Exists':
      return has(source.key);
    case 'DoesNotExist':
      return not(has(source.key));
    default:
      return unreachable(source.operator);
  }
}
