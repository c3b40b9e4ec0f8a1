/**
 * Rules of one policy, one per peer and group of ports, so that the peers of one rule never meet the ports of another, with the sets that
 * they name.
 *
 * Named ports become `ip,port` sets: for ingress of the pods that the policy selects (the destination is one of them), for
 * egress of the pods that the peer selects, or of all pods where the peer is everybody or a prefix. A name that nobody exposes gives an
 * empty set, which matches nothing; addresses outside the cluster, and nodes, have no port names.
 */
import type { LabelSelector, PeerMatch, PolicyProgram, PolicyRule, Protocol, SetId } from '#model';
import { compileLabelSelector } from '../selector/label-selector.ts';
import { type PortGroup, protocolNumbers } from './ports.ts';
import { addressSet, namedPortSet, type PodSelector, type SetDefinition } from './sets.ts';

/** A policy in rule form, with the sets that its rules name. */
export interface CompiledPolicy {
  readonly program: PolicyProgram;
  readonly sets: ReadonlyMap<SetId, SetDefinition>;
}

export type Direction = 'ingress' | 'egress';

/** The far end: everybody, those of a selector, or a prefix. */
export type RulePeer =
  | { readonly type: 'everybody' }
  | { readonly type: 'selector'; readonly selector: PodSelector }
  | { readonly type: 'match'; readonly match: PeerMatch };

export const everyLabel: LabelSelector = { matchLabels: {}, matchExpressions: [] };

const allPods: PodSelector = {
  scope: { type: 'selector', selector: compileLabelSelector(everyLabel) },
  pods: compileLabelSelector(everyLabel),
};

export class PeerRules {
  readonly sets = new Map<SetId, SetDefinition>();
  readonly #subject: PodSelector;

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
    for (const name of group.names) {
      const set = this.#namedPorts(direction, peer, group.protocol, name);
      // The set holds the addresses of the peer's pods, so no second match on the destination is needed.
      const inSet = direction === 'egress' && peer.type === 'selector';
      const base = inSet ? { action } : this.#toPeer(action, direction, peer);
      yield { ...base, ...of, destinationNamedPorts: set };
    }
  }

  #namedPorts(direction: Direction, peer: RulePeer, protocol: Protocol | undefined, name: string): SetId {
    if (direction === 'ingress') return this.#use(namedPortSet(this.#subject, protocol, name));
    return this.#use(namedPortSet(peer.type === 'selector' ? peer.selector : allPods, protocol, name));
  }

  #toPeer(action: PolicyRule['action'], direction: Direction, peer: RulePeer): PolicyRule {
    if (peer.type === 'everybody') return { action };
    const match: PeerMatch =
      peer.type === 'match' ? peer.match : { type: 'set', set: this.#use(addressSet(peer.selector)) };
    return { action, [direction === 'ingress' ? 'source' : 'destination']: match };
  }

  #use(definition: SetDefinition): SetId {
    this.sets.set(definition.id, definition);
    return definition.id;
  }
}

/** Each rule once, where it stands first: where an equal one was asked before, it cannot decide. */
export function distinctRules(rules: Iterable<PolicyRule>): PolicyRule[] {
  const distinct = new Map<string, PolicyRule>();
  for (const rule of rules) {
    const text = JSON.stringify(rule);
    if (!distinct.has(text)) distinct.set(text, rule);
  }
  return [...distinct.values()];
}
