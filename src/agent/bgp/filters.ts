/**
 * BGPFilters of a peer as the speaker's terms, in Calico's sense: the rules of all filters in order, the first that matches
 * decides, and what none matches goes through.
 *
 * On export an accepting rule without `source` lets pass what the node announces anyway, its own routes and what it reflects: other
 * things that it learned are passed on only where a rule says `source: RemotePeers` (and BGP allows it: what an internal peer
 * said is not told to another).
 *
 * `interface` is the one that packets to the route's next hop leave by, as the kernel's routes say that BGP did not bring (as for BIRD, one route
 * of BGP does not resolve through another). A route without one, our own blackholes among them, has the empty name, which `*` alone matches.
 *
 * `priority` is LOCAL_PREF by another name: Calico's nodes tell each other the kernel's metric as 2147483647 less it, which is
 * above everybody's default for what is preferred to the normal metric, 1024. See `localPrefOf`.
 *
 * What cannot be applied is told as an issue and read so that no more passes than was meant: a filter that is not there rejects
 * what gets to it.
 */
import type { AttributeChange, FilterTerm, InterfaceWay, RouteFilter } from '#bgp';
import type { IpFamily } from '#kit';
import type { BGPFilterObject, BGPFilterOperation, BGPFilterRule } from '#model';
import type { Issue, ObjectRef } from './issue.ts';
import { named } from './nodes.ts';

export interface FilterContext {
  readonly filters: readonly BGPFilterObject[];
  readonly peerType: 'eBGP' | 'iBGP';
  /** Which interfaces next hops lead out by: asked for where a rule wants to know. */
  readonly ways: () => readonly InterfaceWay[];
  /** The object that names the filters. */
  readonly peer: ObjectRef;
  /** The field of it that does; `spec.filters` by default. */
  readonly field?: string;
  readonly issues: Issue[];
}

type Direction = 'import' | 'export';

export interface CompiledFilters {
  readonly importFilter?: RouteFilter;
  /** With an import filter: what it rejects can be looked at, and a change of it needs nothing of the peer. */
  readonly adjRibIn?: true;
  readonly exportFilter?: RouteFilter;
}

export function compileFilters(names: readonly string[], context: FilterContext): CompiledFilters {
  const found = names.map((name) => {
    const filter = named(context.filters, name);
    if (!filter) {
      const message = `BGPFilter ${name} is not there; what no filter before it accepts is rejected: create it or take its name away`;
      const field = context.field ?? 'spec.filters';
      context.issues.push({ object: context.peer, field, message, effect: 'partial' });
    }
    return { name, filter };
  });
  const importFilter = direction(found, 'import', context);
  const exportFilter = direction(found, 'export', context);
  return { ...(importFilter ? { importFilter, adjRibIn: true } : {}), ...(exportFilter ? { exportFilter } : {}) };
}

function direction(
  filters: readonly { readonly name: string; readonly filter: BGPFilterObject | undefined }[],
  which: Direction,
  context: FilterContext,
): RouteFilter | undefined {
  const terms = (family: IpFamily): FilterTerm[] =>
    filters.flatMap(({ name, filter }): FilterTerm[] => {
      if (!filter) return [{ action: 'reject', from: { filter: name, index: 0 } }];
      const field = `${which}V${family}` as const;
      return filter[field].flatMap((rule, index) => {
        if (rule.peerType !== undefined && rule.peerType !== context.peerType) return [];
        return [{ ...termOf(rule, family, which, context), from: { filter: name, index } }];
      });
    });
  const filter = { ipv4: terms(4), ipv6: terms(6) };
  return filter.ipv4.length + filter.ipv6.length > 0 ? filter : undefined;
}

function termOf(rule: BGPFilterRule, family: IpFamily, which: Direction, { ways }: FilterContext): FilterTerm {
  const { cidr, prefixLength, communities, asPathPrefix, priority, source } = rule;
  const accept = rule.action === 'Accept';
  const operator = operators[rule.matchOperator ?? 'In'];
  const any = family === 4 ? '0.0.0.0/0' : '::/0';
  const hasPrefix = cidr !== undefined || prefixLength !== undefined;
  return {
    action: accept ? 'accept' : 'reject',
    ...(hasPrefix
      ? {
          prefix: {
            operator: cidr === undefined ? ('in' as const) : operator,
            cidr: cidr ?? any,
            ...(prefixLength?.min === undefined ? {} : { minLength: prefixLength.min }),
            ...(prefixLength?.max === undefined ? {} : { maxLength: prefixLength.max }),
          },
        }
      : {}),
    ...(rule.interface === undefined ? {} : { interface: { pattern: rule.interface, ways: ways() } }),
    ...(communities?.[0] === undefined ? {} : { community: communities[0] }),
    ...(asPathPrefix && asPathPrefix.length > 0 ? { asPathPrefix } : {}),
    // What comes in is always from a remote peer.
    ...(which === 'export' && source !== undefined ? { source: ['learned'] } : {}),
    ...(priority === undefined ? {} : { localPref: localPrefRange(priority) }),
    ...(accept ? changesOf(rule.operations ?? []) : {}),
  };
}

const operators = { Equal: 'equal', NotEqual: 'notEqual', In: 'in', NotIn: 'notIn' } as const;

function changesOf(operations: readonly BGPFilterOperation[]): { readonly changes?: readonly AttributeChange[] } {
  const changes = operations.map(changeOf);
  return changes.length > 0 ? { changes } : {};
}
function changeOf(operation: BGPFilterOperation): AttributeChange {
  switch (operation.type) {
    case 'addCommunity':
      return { type: 'addCommunity', value: operation.value };
    case 'prependASPath':
      return { type: 'prepend', asns: operation.asNumbers };
    case 'setPriority':
      return { type: 'setLocalPref', value: localPrefOf(operation.value) };
  }
}

/** The kernel metric that Calico gives routes of which nothing is said. */
const normalPriority = 1024;
const normalLocalPref = 100;
const localPrefOfMetricZero = 2_147_483_647;

/**
 * As Calico's nodes say it for what is preferred to the normal metric. That itself is our nodes' default, 100; what is less
 * preferred comes below it, told apart as far as there are numbers.
 */
function localPrefOf(priority: number): number {
  if (priority < normalPriority) return localPrefOfMetricZero - priority;
  return Math.max(0, normalLocalPref - (priority - normalPriority));
}
function localPrefRange(priority: number): { readonly min: number; readonly max: number } {
  const value = localPrefOf(priority);
  return { min: value, max: priority === normalPriority ? localPrefOfMetricZero - normalPriority : value };
}
