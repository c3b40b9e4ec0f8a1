/**
 * BGPFilters of a peer as the speaker's terms, in Calico's sense: the rules of all filters in order, the first that matches
 * decides, and what none matches goes through.
 *
 * What is known beforehand is decided here. Whether the peer is iBGP or eBGP is. What comes in is always from a remote peer; what
 * goes out never is, for an agent announces only what it originates, whatever a rule accepts: routes without communities, with
 * an empty AS path, on no interface. Rules about such things never match on export.
 *
 * What cannot be applied yet is told as an issue and read so that no more passes than was meant: a rule with a condition that
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
  readonly issues: Issue[];
}

type Direction = 'import' | 'export';

export interface CompiledFilters {
  readonly importFilter?: RouteFilter;
  readonly exportFilter?: RouteFilter;
}

export function compileFilters(names: readonly string[], context: FilterContext): CompiledFilters {
  const found = names.map((name) => {
    const filter = named(context.filters, name);
    if (!filter) {
      const message = `BGPFilter ${name} is not there; what no filter before it accepts is rejected: create it or take its name away`;
      context.issues.push({ object: context.peer, field: 'spec.filters', message, effect: 'partial' });
    }
    return filter;
  });
  const importFilter = direction(found, 'import', context);
  const exportFilter = direction(found, 'export', context);
  return { ...(importFilter ? { importFilter } : {}), ...(exportFilter ? { exportFilter } : {}) };
}

function direction(
  filters: readonly (BGPFilterObject | undefined)[],
  which: Direction,
  context: FilterContext,
): RouteFilter | undefined {
  const terms = (family: IpFamily): FilterTerm[] =>
    filters.flatMap((filter) => {
      if (!filter) return [{ action: 'reject' }];
      const field = `${which}V${family}` as const;
      return filter[field].flatMap((rule, index) => {
        const compiler = new RuleCompiler(filter, `spec.${field}[${index}]`, which, context);
        return compiler.terms(rule);
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
    const out = this.#direction === 'export';
    if (out && this.#neverOurs(rule)) return [];
    let testable = true;
    if (rule.interface !== undefined) {
      if (interfaceName === undefined) {
        this.#untested('interface', 'the peer is on no link of this node', rule);
        testable = false;
      } else if (!matchesPattern(rule.interface, interfaceName)) return [];
    }
    if (rule.priority !== undefined) {
      this.#untested('priority', 'routes have no priority here yet', rule);
      testable = false;
    }
    if (!testable && rule.action === 'Accept') return [];
    return [this.#term(rule)];
  }

  /** What we announce has no communities, an empty AS path, no interface, and comes from nobody. */
  #neverOurs(rule: BGPFilterRule): boolean {
    if (rule.source === 'RemotePeers' && rule.action === 'Accept') {
      const message = 'routes of other peers are never passed on by a node; the rule accepts nothing';
      this.#issue('source', message);
    }
    return (
      rule.source !== undefined ||
      rule.interface !== undefined ||
      (rule.communities?.length ?? 0) > 0 ||
      (rule.asPathPrefix?.length ?? 0) > 0
    );
  }

  #term(rule: BGPFilterRule): FilterTerm {
    const { cidr, prefixLength, communities, asPathPrefix } = rule;
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
      ...(accept ? this.#operations(rule.operations ?? []) : {}),
    };
  }

  #operations(operations: readonly BGPFilterOperation[]): { readonly changes?: readonly AttributeChange[] } {
    const changes = operations.flatMap((operation, index): AttributeChange[] => {
      if (operation.type === 'addCommunity') return [{ type: 'addCommunity', value: operation.value }];
      if (operation.type === 'prependASPath') return [{ type: 'prepend', asns: operation.asNumbers }];
      this.#issue(`operations[${index}].setPriority`, 'routes have no priority here yet; the rule is applied without');
      return [];
    });
    return changes.length > 0 ? { changes } : {};
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

/** Whether a name matches a pattern in which `*` stands for anything. */
export function matchesPattern(pattern: string, name: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(name);
}
