/**
 * projectcalico.org NetworkPolicy and GlobalNetworkPolicy into the one rule form.
 *
 * All that a rule says must hold; lists hold any of theirs. So a rule becomes one for each combination of what is listed where no set can
 * hold the list: few prefixes, port numbers beside port names. Selectors become sets of addresses and prefixes (pods, network sets).
 * A rule of a namespaced policy that selects somebody selects in its own namespace, unless it says in which. A service stands for its
 * endpoints: as a destination for their addresses and ports, as a source for their addresses (Felix, rule_scanner.go).
 */
import {
  and,
  type CalicoEntity,
  type CalicoPolicyObject,
  type CalicoPort,
  type CalicoRule,
  isIn,
  namespaceLabel,
  not,
  type PeerMatch,
  type PolicyRule,
  type PortRange,
  type Protocol,
  type RuleCondition,
  type Selector,
  type SelectorNode,
  type SetId,
  selector,
} from '#model';
import { calicoSelector, inNamespaces, ofServiceAccounts, serviceAccountLabel } from '../selector/inherited.ts';
import { type CompiledPolicy, distinctRules, prefixMatchesMax } from './peer-rules.ts';
import { mergeRanges, otherPorts, protocolNumbers, protocols } from './ports.ts';
import { addressSet, namedPortSet, type PodSelector, prefixSet, type SetDefinition, serviceSet } from './sets.ts';

/** Matches of one kernel rule are few (128 expressions in nf_tables, 7 ranges each); one rule for each part of a list has no such bound. */
const notRangesMax = 64;
const actions = { Allow: 'allow', Deny: 'deny', Log: 'log', Pass: 'pass' } as const;

/** The pods whose traffic the policy decides. */
export function calicoPolicySubject(policy: CalicoPolicyObject): PodSelector {
  const { metadata, namespaceSelector, serviceAccountSelector } = policy;
  return everywhere(
    and([
      calicoSelector(policy.selector),
      ...(metadata.namespace ? [isIn(namespaceLabel, [metadata.namespace])] : []),
      ...(namespaceSelector === undefined ? [] : [inNamespaces(namespaceSelector)]),
      ...(serviceAccountSelector === undefined ? [] : [ofServiceAccounts(serviceAccountSelector)]),
    ]),
  );
}

export function compileCalicoPolicy(policy: CalicoPolicyObject): CompiledPolicy {
  const sets = new Map<SetId, SetDefinition>();
  const use = (definition: SetDefinition): SetId => {
    sets.set(definition.id, definition);
    return definition.id;
  };
  const rules = (type: 'Ingress' | 'Egress', sources: readonly CalicoRule[]): PolicyRule[] =>
    policy.types.includes(type)
      ? distinctRules(sources.flatMap((source) => rulesOf(source, policy.metadata.namespace, use)))
      : [];
  return { program: { ingress: rules('Ingress', policy.ingress), egress: rules('Egress', policy.egress) }, sets };
}

type UseSet = (definition: SetDefinition) => SetId;
type Side = 'source' | 'destination';

function rulesOf(rule: CalicoRule, namespace: string, use: UseSet): PolicyRule[] {
  const action = actions[rule.action];
  if (rule.unknown) return action === 'allow' || action === 'log' ? [] : [{ action: 'deny' }];
  if (rule.protocol !== undefined && rule.protocol === rule.notProtocol) return [];
  const base: PolicyRule = {
    action,
    ...(rule.ipVersion !== undefined && { family: rule.ipVersion }),
    ...(rule.protocol !== undefined && { protocol: rule.protocol }),
    // Beside a protocol it says nothing more.
    ...(rule.protocol === undefined && rule.notProtocol !== undefined && { notProtocol: rule.notProtocol }),
    ...(rule.icmp && { icmp: rule.icmp }),
    ...(rule.notICMP && { notIcmp: rule.notICMP }),
  };
  const protocol = protocols.find((each) => protocolNumbers[each] === rule.protocol);
  return (['source', 'destination'] as const).reduce(
    (found, side) => {
      const ways = waysOf(rule[side], side, { namespace, protocol, use });
      return found.flatMap((one) => ways.map((way) => together(one, way)));
    },
    [base],
  );
}

/** What one combination of an end's lists adds to a rule. */
type Way = Partial<Omit<PolicyRule, 'action'>>;

function together(one: PolicyRule, other: Way): PolicyRule {
  const conditions = [...(one.conditions ?? []), ...(other.conditions ?? [])];
  return { ...one, ...other, ...(conditions.length > 0 && { conditions }) };
}

interface EndContext {
  readonly namespace: string;
  readonly protocol: Protocol | undefined;
  readonly use: UseSet;
}

function waysOf(entity: CalicoEntity, side: Side, context: EndContext): Way[] {
  const { use } = context;
  if (entity.services && side === 'destination') {
    return [{ destinationNamedPorts: use(serviceSet(entity.services, 'ip,port')) }];
  }
  const selected = entitySelector(entity, context.namespace);
  const conditions: RuleCondition[] = [];
  const add = (not: boolean, set: SetDefinition): void => {
    conditions.push({ side, not, type: 'address', set: use(set) });
  };
  const selectedSet = entity.services
    ? serviceSet(entity.services, 'ip')
    : selected && addressSet(everywhere(selected));
  if (selectedSet && entity.nets) add(false, selectedSet);
  if (!selected && entity.notSelector !== undefined)
    add(true, addressSet(everywhere(calicoSelector(entity.notSelector))));
  if (entity.notNets) add(true, prefixSet(entity.notNets));
  const refused = splitPorts(entity.notPorts ?? []);
  if (refused.ranges.length > notRangesMax) {
    conditions.push({ side, not: false, type: 'ports', ports: otherPorts(refused.ranges) });
  } else if (refused.ranges.length > 0) conditions.push({ side, not: true, type: 'ports', ports: refused.ranges });
  if (refused.names.length > 0) {
    const set = namedPortSet(everywhere(selected ?? and([])), context.protocol, refused.names);
    conditions.push({ side, not: true, type: 'namedPorts', set: use(set) });
  }
  const common: Way = conditions.length > 0 ? { conditions } : {};
  const peers: (PeerMatch | undefined)[] = entity.nets
    ? netMatches(entity.nets, use)
    : [selectedSet && { type: 'set', set: use(selectedSet) }];
  const ports = entity.ports ? portWays(entity.ports, side, selected, context) : [{}];
  return peers.flatMap((peer) =>
    ports.map((port): Way => {
      const all = [...(common.conditions ?? []), ...(port.conditions ?? [])];
      return { ...port, ...(peer && { [side]: peer }), ...(all.length > 0 && { conditions: all }) };
    }),
  );
}

function netMatches(nets: NonNullable<CalicoEntity['nets']>, use: UseSet): PeerMatch[] {
  if (nets.length > prefixMatchesMax) return [{ type: 'set', set: use(prefixSet(nets)) }];
  return nets.map((cidr) => ({ type: 'cidr', cidr, except: [] }));
}

/** Numbers and names are asked apart: any of them will do. */
function portWays(ports: readonly CalicoPort[], side: Side, of: SelectorNode | undefined, context: EndContext): Way[] {
  const { ranges, names } = splitPorts(ports);
  const ways: Way[] = [];
  if (ranges.length > 0) {
    ways.push(
      side === 'destination'
        ? { destinationPorts: ranges }
        : { conditions: [{ side, not: false, type: 'ports', ports: ranges }] },
    );
  }
  if (names.length > 0) {
    const set = context.use(namedPortSet(everywhere(of ?? and([])), context.protocol, names));
    ways.push(
      side === 'destination'
        ? { destinationNamedPorts: set }
        : { conditions: [{ side, not: false, type: 'namedPorts', set }] },
    );
  }
  return ways;
}

function splitPorts(ports: readonly CalicoPort[]): { readonly ranges: PortRange[]; readonly names: string[] } {
  return {
    ranges: mergeRanges(ports.flatMap((port) => ('name' in port ? [] : [port]))),
    names: [...new Set(ports.flatMap((port) => ('name' in port ? [port.name] : [])))].sort(),
  };
}

/**
 * Whom the end selects (libcalico-go GetEntityRuleSelector); undefined: it does not ask. What it selects is not what `notSelector` names, as in
 * Felix (combineMatchesIfPossible): a pod counts for itself, also at an address that a network set with other labels holds.
 */
function entitySelector(entity: CalicoEntity, namespace: string): SelectorNode | undefined {
  const { serviceAccounts, namespaceSelector, notSelector } = entity;
  const terms: SelectorNode[] = [];
  if (serviceAccounts?.selector !== undefined) terms.push(ofServiceAccounts(serviceAccounts.selector));
  if (serviceAccounts && serviceAccounts.names.length > 0) terms.push(isIn(serviceAccountLabel, serviceAccounts.names));
  if (entity.selector !== undefined) terms.push(calicoSelector(entity.selector));
  if (namespaceSelector !== undefined) terms.unshift(inNamespaces(namespaceSelector));
  else if (namespace !== '' && (terms.length > 0 || notSelector !== undefined))
    terms.unshift(isIn(namespaceLabel, [namespace]));
  if (terms.length === 0) return undefined;
  return and(notSelector === undefined ? terms : [...terms, not(calicoSelector(notSelector))]);
}

function everywhere(node: SelectorNode): PodSelector {
  const pods: Selector = selector(node);
  return { scope: { type: 'inherited' }, pods };
}
