/** What the sets that rules name consist of, and the ids they get: readable, and equal for equal contents. */
import { unreachable } from '#kit';
import type { Protocol, SetId, SetType } from '#model';
import type { Selector } from '../selector/selector.ts';

/** The namespaces whose pods a selector looks at: one by name, or those with matching labels. `nodes`: at nodes instead. */
export type NamespaceScope =
  | { readonly type: 'name'; readonly name: string }
  | { readonly type: 'selector'; readonly selector: Selector }
  | { readonly type: 'nodes' };

/** Pods (or nodes) by their own labels, within a scope. */
export interface PodSelector {
  readonly scope: NamespaceScope;
  readonly pods: Selector;
}

/** A set that rules name: the addresses of pods, or `address,protocol:port` of a named port of theirs. */
export interface SetDefinition {
  readonly id: SetId;
  readonly setType: SetType;
  readonly selector: PodSelector;
  /** Without protocol: of whichever the pod declares it for. */
  readonly namedPort?: { readonly name: string; readonly protocol: Protocol | undefined };
}

/** `ns=default;app == 'web'`, or `ns(team == 'a');all()`, or `nodes;all()`. Neither a namespace name nor a label name can hold `;`. */
export function podSelectorText(selector: PodSelector): string {
  return `${scopeText(selector.scope)};${selector.pods.canonical}`;
}

function scopeText(scope: NamespaceScope): string {
  switch (scope.type) {
    case 'name':
      return `ns=${scope.name}`;
    case 'selector':
      return `ns(${scope.selector.canonical})`;
    case 'nodes':
      return 'nodes';
    default:
      return unreachable(scope);
  }
}

/** The set of all addresses of those selected. */
export function addressSet(selector: PodSelector): SetDefinition {
  return { id: `pods:${podSelectorText(selector)}`, setType: 'ip', selector };
}

/** The set of the selected pods' ports of that name; pods that declare none are not in it. */
export function namedPortSet(selector: PodSelector, protocol: Protocol | undefined, name: string): SetDefinition {
  return {
    id: `ports:${protocol?.toLowerCase() ?? 'any'}:${name}:${podSelectorText(selector)}`,
    setType: 'ip,port',
    selector,
    namedPort: { name, protocol },
  };
}
