/** What the sets that rules name consist of, and the ids they get: readable, and equal for equal contents. */
import { type Cidr, unreachable } from '#kit';
import { type ObjectKey, objectKey, type Protocol, type Selector, type ServiceName, type SetId } from '#model';

/**
 * The namespaces whose pods a selector looks at: one by name, or those with matching labels. `nodes`: at nodes instead.
 * `inherited`: at all pods and network sets, by labels as Calico sees them.
 */
export type NamespaceScope =
  | { readonly type: 'name'; readonly name: string }
  | { readonly type: 'selector'; readonly selector: Selector }
  | { readonly type: 'nodes' }
  | { readonly type: 'inherited' };

/** Pods (or nodes) by their own labels, within a scope. */
export interface PodSelector {
  readonly scope: NamespaceScope;
  readonly pods: Selector;
}

/** Any of the names; without protocol of whichever the pod declares it for. */
export interface NamedPort {
  readonly names: readonly string[];
  readonly protocol: Protocol | undefined;
}

/**
 * A set that rules name: the addresses of those selected, `address,protocol:port` of named ports of theirs, prefixes as they
 * were written, or the endpoints of a service.
 */
export type SetDefinition =
  | {
      readonly id: SetId;
      /** `net`: network sets may be among those selected. */
      readonly setType: 'ip' | 'ip,port' | 'net';
      readonly selector: PodSelector;
      readonly namedPort?: NamedPort;
    }
  | { readonly id: SetId; readonly setType: 'net'; readonly prefixes: readonly Cidr[] }
  | { readonly id: SetId; readonly setType: 'ip' | 'ip,port'; readonly service: ServiceName };

/** `ns=default;app == 'web'`, or `ns(team == 'a');all()`, or `nodes;all()`, or `any;app == 'web'`. Neither a namespace name nor a label name can hold `;`. */
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
    case 'inherited':
      return 'any';
    default:
      return unreachable(scope);
  }
}

/** The set of all addresses of those selected. */
export function addressSet(selector: PodSelector): SetDefinition {
  const setType = selector.scope.type === 'inherited' ? 'net' : 'ip';
  return { id: `pods:${podSelectorText(selector)}`, setType, selector };
}

/** The set of the selected pods' ports of these names (sorted); pods that declare none are not in it. */
export function namedPortSet(
  selector: PodSelector,
  protocol: Protocol | undefined,
  names: readonly string[],
): SetDefinition {
  return {
    id: `ports:${protocol?.toLowerCase() ?? 'any'}:${names.join(',')}:${podSelectorText(selector)}`,
    setType: 'ip,port',
    selector,
    namedPort: { names, protocol },
  };
}

/** The set of these prefixes; one may hold another. */
export function prefixSet(prefixes: readonly Cidr[]): SetDefinition {
  const distinct = [...new Set(prefixes)].sort();
  return { id: `nets:${distinct.join(',')}`, setType: 'net', prefixes: distinct };
}

/** The set of a service's endpoints: `ip,port` of each with each of its ports, `ip` of the addresses alone. */
export function serviceSet(service: ServiceName, setType: 'ip' | 'ip,port'): SetDefinition {
  const what = setType === 'ip' ? 'service-addresses' : 'service';
  return { id: `${what}:${objectKey(service)}`, setType, service };
}

/** Of the service that a set is of, as `serviceSet` names it. */
export function serviceOfSet(id: SetId): ObjectKey | undefined {
  return /^service(?:-addresses)?:(.*)$/s.exec(id)?.[1];
}
