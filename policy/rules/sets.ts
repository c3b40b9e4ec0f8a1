/** What the sets that rules name consist of, and the ids they get: readable, and equal for equal contents. */
import { unreachable } from '#kit';
import type { Protocol, SetId, SetType } from '#model';
import type { Selector } from '../selector/selector.ts';

/** The namespaces whose pods a selector looks at: one by name, or those with matching labels. */
export type NamespaceScope =
  | { readonly type: 'name'; readonly name: string }
  | { readonly type: 'selector'; readonly selector: Selector };

/** Pods by their own labels, within a scope of namespaces. */
export interface PodSelector {
  readonly scope: NamespaceScope;
  readonly pods: Selector;
}

/** A set that rules name: the addresses of pods, or `address,protocol:port` of a named port of theirs. */
export interface SetDefinition {
  readonly id: SetId;
  readonly setType: SetType;
  readonly selector: PodSelector;
  readonly namedPort?: { readonly name: string; readonly protocol: Protocol };
}

/** `ns=default;app == 'web'`, or `ns(team == 'a');all()`. Neither a namespace name nor a label name can hold `;`. */
export function podSelectorText(selector: PodSelector): string {
  return `${scopeText(selector.scope)};${selector.pods.canonical}`;
}

function scopeText(scope: NamespaceScope): string {
  switch (scope.type) {
    case 'name':
      return `ns=${scope.name}`;
    case 'selector':
      return `ns(${scope.selector.canonical})`;
    default:
      return unreachable(scope);
  }
}

/** The set of all addresses of the selected pods. */
export function podSet(selector: PodSelector): SetDefinition {
  return { id: `pods:${podSelectorText(selector)}`, setType: 'ip', selector };
}

/** The set of the selected pods' ports of that name and protocol; pods that declare none are not in it. */
export function namedPortSet(selector: PodSelector, protocol: Protocol, name: string): SetDefinition {
  return {
    id: `ports:${protocol.toLowerCase()}:${name}:${podSelectorText(selector)}`,
    setType: 'ip,port',
    selector,
    namedPort: { name, protocol },
  };
}
