/**
 * BGPFilters of a peer as the speaker's terms, in Calico's sense: the rules of all filters in order, the first that matches
 * decides, and what none matches goes through.
 *
 * On export an accepting rule without `source` lets pass what the node announces anyway, its own routes and what it reflects: other
 * things that it learned are passed on only where a rule says `source: RemotePeers` (and BGP allows it: what an internal peer
 * said is not told to another). Rules about an interface match nothing there, for routes have none before they are programmed.
 *
 * `priority` is LOCAL_PREF by another name: Calico's nodes tell each other the kernel's metric as 2147483647 less it, which is
 * above everybody's default for what is preferred to the normal metric, 1024. See `localPrefOf`.
 *
 * What cannot be applied is told as an issue and read so that no more passes than was meant: a rule with a condition that
 * cannot be tested accepts nothing and rejects everything that its other conditions match, and a filter that is not there
 * rejects what gets to it.
 */
import type { AttributeChange, FilterTerm, RouteFilter } from '#bgp';
import type { IpFamily } from '#kit';
import type { BGPFilterObject, BGPFilterOperation, BGPFilterRule } from '#model';
import type { Issue, ObjectRef } from './issue.ts';
import { named } from './nodes.ts';

export interface FilterContext {
  readonly filters: readonly BGPFilterObject[];
  readonly peerType: 'eBGP' | 'iBGP';
  /** Of the link to the peer, where it is on one of ours: routes that it announces lead there. */
  readonly interfaceName: string | undefined;
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
        const compiler = new RuleCompiler(filter, `spec.${field}[${index}]`, which, context);
        return compiler.terms(rule).map((term) => ({ ...term, from: { filter: name, index } }));
      });
    });
  const filter = { ipv4: terms(4), ipv6: terms(6) };
  return filter.ipv4.length + filter.ipv6.length > 0 ? filter : undefined;
}

class RuleCompiler {
  readonly #filter: BGPFilterObject;
  readonly #field: string;
  readonly #direction: Direction;
  readonly #context: FilterContext;

  constructor(filter: BGPFilterObject, field: string, which: Direction, context: FilterContext) {
    this.#filter = filter;
    this.#field = field;
    this.#direction = which;
    this.#context = context;
  }

  /** None when the rule can match nothing. */
  terms(rule: BGPFilterRule): FilterTerm[] {
    const { peerType, interfaceName } = this.#context;
    if (rule.peerType !== undefined && rule.peerType !== peerType) return [];
    if (this.#direction === 'export' && rule.interface !== undefined) return [];
    let testable = true;
    if (rule.interface !== undefined) {
      if (interfaceName === undefined) {
        this.#untested('interface', 'the peer is on no link of this node', rule);
        testable = false;
      } else if (!matchesPattern(rule.interface, interfaceName)) return [];
    }
    if (!testable && rule.action === 'Accept') return [];
    return [this.#term(rule)];
  }

  #term(rule: BGPFilterRule): FilterTerm {
    const { cidr, prefixLength, communities, asPathPrefix, priority } = rule;
    const accept = rule.action === 'Accept';
    const operator = operators[rule.matchOperator ?? 'In'];
    const any =
      this.#field.startsWith('spec.importV4') || this.#field.startsWith('spec.exportV4') ? '0.0.0.0/0' : '::/0';
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
      ...(communities?.[0] === undefined ? {} : { community: communities[0] }),
      ...(asPathPrefix && asPathPrefix.length > 0 ? { asPathPrefix } : {}),
      ...this.#source(rule),
      ...(priority === undefined ? {} : { localPref: localPrefRange(priority) }),
      ...(accept ? changesOf(rule.operations ?? []) : {}),
    };
  }

  /** What comes in is always from a remote peer. */
  #source({ source }: BGPFilterRule): Pick<FilterTerm, 'source'> {
    return this.#direction === 'export' && source !== undefined ? { source: ['learned'] } : {};
  }

  #untested(field: string, why: string, rule: BGPFilterRule): void {
    const reading = rule.action === 'Accept' ? 'accepts nothing' : 'rejects whatever its other conditions match';
    this.#issue(field, `cannot be tested: ${why}; the rule ${reading}`);
  }
  #issue(field: string, message: string): void {
    const object = { kind: 'BGPFilter', name: this.#filter.metadata.name } as const;
    const { issues, peer } = this.#context;
    const text = `${message} (for ${peer.kind} ${peer.name})`;
    issues.push({ object, field: `${this.#field}.${field}`, message: text, effect: 'partial' });
  }
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

/** Whether a name matches a pattern in which `*` stands for anything. */
export function matchesPattern(pattern: string, name: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(name);
}
