/**
 * Rules of one policy, one per peer and group of ports, so that the peers of one rule never meet the ports of another, with the sets that
 * they name.
 *
 * Named ports become `ip,port` sets: for ingress of the pods that the policy selects (the destination is one of them), for
 * egress of the pods that the peer selects, or of all pods where the peer is everybody or a prefix. A name that nobody exposes gives an
 * empty set, which matches nothing; addresses outside the cluster, and nodes, have no port names.
 */
import { type Cidr, unreachable } from '#kit';
import type { DomainPattern, LabelSelector, PeerMatch, PolicyProgram, PolicyRule, SetId } from '#model';
import { compileLabelSelector } from '../selector/label-selector.ts';
import { type PortGroup, protocolNumbers } from './ports.ts';
import { addressSet, domainSet, namedPortSet, type PodSelector, prefixSet, type SetDefinition } from './sets.ts';

/** A policy in rule form, with the sets that its rules name. */
export interface CompiledPolicy {
  readonly program: PolicyProgram;
  readonly sets: ReadonlyMap<SetId, SetDefinition>;
}

export type Direction = 'ingress' | 'egress';

/** The far end: everybody, those of a selector, a prefix (with what is cut out of it), any of many prefixes, or of names. */
export type RulePeer =
  | { readonly type: 'everybody' }
  | { readonly type: 'selector'; readonly selector: PodSelector }
  | { readonly type: 'match'; readonly match: PeerMatch }
  | { readonly type: 'prefixes'; readonly prefixes: readonly Cidr[] }
  | { readonly type: 'domains'; readonly names: readonly DomainPattern[] };

/** More prefixes of a rule than these become a set: one lookup, however many there are. */
export const prefixMatchesMax = 4;

/** Whole prefixes, of all peers of one rule. */
export function prefixPeers(prefixes: readonly Cidr[]): RulePeer[] {
  if (prefixes.length > prefixMatchesMax) return [{ type: 'prefixes', prefixes }];
  return prefixes.map((cidr) => ({ type: 'match', match: { type: 'cidr', cidr, except: [] } }));
}

export const everyLabel: LabelSelector = { matchLabels: {}, matchExpressions: [] };

const allPods: PodSelector = {
  scope: { type: 'selector', selector: compileLabelSelector(everyLabel) },
  pods: compileLabelSelector(everyLabel),
};

export class PeerRules {
  readonly sets = new Map<SetId, SetDefinition>();
  readonly #subject: PodSelector;
  /** Of the subject or of all pods, by protocol and names: many rules name few, and the text of a selector may be long. */
  readonly #namedSets = new Map<string, SetDefinition>();

  constructor(subject: PodSelector) {
    this.#subject = subject;
  }

  /** All of them decide alike, so their order means nothing. */
  *rules(
    action: PolicyRule['action'],
    direction: Direction,
    peer: RulePeer,
    groups: readonly PortGroup[],
  ): Generator<PolicyRule> {
    for (const group of groups) yield* this.#group(action, direction, peer, group);
  }

  *#group(action: PolicyRule['action'], direction: Direction, peer: RulePeer, group: PortGroup): Generator<PolicyRule> {
    const of = group.protocol === undefined ? {} : { protocol: protocolNumbers[group.protocol] };
    if (group.everyPort) yield { ...this.#toPeer(action, direction, peer), ...of };
    else if (group.ranges.length > 0) {
      yield { ...this.#toPeer(action, direction, peer), ...of, destinationPorts: group.ranges };
    }
    if (group.names.length > 0) {
      const set = this.#namedPorts(direction, peer, group);
      // The set holds the addresses of the peer's pods, so no second match on the destination is needed.
      const inSet = direction === 'egress' && peer.type === 'selector';
      const base = inSet ? { action } : this.#toPeer(action, direction, peer);
      yield { ...base, ...of, destinationNamedPorts: set };
    }
  }

  #namedPorts(direction: Direction, peer: RulePeer, { protocol, names }: PortGroup): SetId {
    if (direction === 'egress' && peer.type === 'selector')
      return this.#use(namedPortSet(peer.selector, protocol, names));
    const key = `${direction} ${protocol} ${names.join()}`;
    const known =
      this.#namedSets.get(key) ?? namedPortSet(direction === 'ingress' ? this.#subject : allPods, protocol, names);
    this.#namedSets.set(key, known);
    return this.#use(known);
  }

  #toPeer(action: PolicyRule['action'], direction: Direction, peer: RulePeer): PolicyRule {
    if (peer.type === 'everybody') return { action };
    return { action, [direction === 'ingress' ? 'source' : 'destination']: this.#match(peer) };
  }

  #match(peer: Exclude<RulePeer, { type: 'everybody' }>): PeerMatch {
    if (peer.type === 'match') return peer.match;
    return { type: 'set', set: this.#use(definitionOf(peer)) };
  }

  #use(definition: SetDefinition): SetId {
    this.sets.set(definition.id, definition);
    return definition.id;
  }
}

function definitionOf(peer: Exclude<RulePeer, { type: 'everybody' | 'match' }>): SetDefinition {
  switch (peer.type) {
    case 'selector':
      return addressSet(peer.selector);
    case 'prefixes':
      return prefixSet(peer.prefixes);
    case 'domains':
      return domainSet(peer.names);
    default:
      return unreachable(peer);
  }
}

/** Each rule once, where it stands first: where an equal one was asked before, it cannot decide. */
export function distinctRules(rules: Iterable<PolicyRule>): PolicyRule[] {
  const distinct = new Map<string, PolicyRule>();
  const numbers = new Map<string, number>();
  const portTexts = new Map<unknown, string>();
  // Ids of sets and lists of ports may be long, and thousands of rules share them: a number stands for each.
  const numbered = (key: string, value: unknown): unknown => {
    if (!sharedFields.has(key)) return value;
    const text = typeof value === 'string' ? value : (portTexts.get(value) ?? JSON.stringify(value));
    if (typeof value !== 'string') portTexts.set(value, text);
    const number = numbers.get(text) ?? numbers.size;
    numbers.set(text, number);
    return number;
  };
  for (const rule of rules) {
    const text = JSON.stringify(rule, numbered);
    if (!distinct.has(text)) distinct.set(text, rule);
  }
  return [...distinct.values()];
}
const sharedFields: ReadonlySet<string> = new Set(['set', 'destinationNamedPorts', 'destinationPorts']);
