/**
 * networking.k8s.io/v1 NetworkPolicy into the one rule form.
 *
 * One rule per peer and group of ports, so that the peers of one rule never meet the ports of another. Named ports become
 * `ip,port` sets: for ingress of the pods that the policy selects (the destination is one of them), for egress of the pods
 * that the peer selects, or of all pods where the peer is everybody or a block. A name that nobody exposes gives an empty
 * set, which matches nothing; addresses outside the cluster have no port names.
 */
import type {
  LabelSelector,
  NetworkPolicyObject,
  NetworkPolicyPeer,
  NetworkPolicyRule,
  PeerMatch,
  PolicyProgram,
  PolicyRule,
} from '#model';
import { compileLabelSelector } from '../selector/label-selector.ts';
import { ipBlockMatch } from './ip-block.ts';
import { groupPorts, type PortGroup, protocolNumbers } from './ports.ts';
import { namedPortSet, type PodSelector, podSet, type SetDefinition } from './sets.ts';

/** A policy in rule form, with the sets that its rules name. */
export interface CompiledPolicy {
  readonly program: PolicyProgram;
  readonly sets: ReadonlyMap<string, SetDefinition>;
}

type Direction = 'ingress' | 'egress';

/** A peer ready for rules; `pods` is there when it is a selector. */
interface CompiledPeer {
  readonly match: PeerMatch | undefined;
  readonly pods: PodSelector | undefined;
}

const everything: LabelSelector = { matchLabels: {}, matchExpressions: [] };

/** The pods whose traffic the policy decides: always of its own namespace. */
export function subjectOf(policy: NetworkPolicyObject): PodSelector {
  return {
    scope: { type: 'name', name: policy.metadata.namespace },
    pods: compileLabelSelector(policy.podSelector),
  };
}

/** Rules of a direction that policyTypes leaves out are ignored, as upstream does. */
export function compileNetworkPolicy(policy: NetworkPolicyObject): CompiledPolicy {
  const compiler = new Compiler(policy);
  const program: PolicyProgram = {
    ingress: policy.policyTypes.includes('Ingress') ? compiler.rules('ingress', policy.ingress) : [],
    egress: policy.policyTypes.includes('Egress') ? compiler.rules('egress', policy.egress) : [],
  };
  return { program, sets: compiler.sets };
}

class Compiler {
  readonly sets = new Map<string, SetDefinition>();
  readonly #policy: NetworkPolicyObject;
  readonly #subject: PodSelector;

  constructor(policy: NetworkPolicyObject) {
    this.#policy = policy;
    this.#subject = subjectOf(policy);
  }

  rules(direction: Direction, sources: readonly NetworkPolicyRule[]): PolicyRule[] {
    const distinct = new Map<string, PolicyRule>();
    for (const source of sources) {
      for (const rule of this.#rule(direction, source)) distinct.set(JSON.stringify(rule), rule);
    }
    return [...distinct.values()];
  }

  *#rule(direction: Direction, source: NetworkPolicyRule): Generator<PolicyRule> {
    const groups = groupPorts(source.ports);
    for (const peer of this.#peers(source.peers)) {
      if (source.ports.length === 0) yield this.#allow(direction, peer);
      for (const group of groups) yield* this.#group(direction, peer, group);
    }
  }

  *#peers(peers: readonly NetworkPolicyPeer[]): Generator<CompiledPeer> {
    if (peers.length === 0) yield { match: undefined, pods: undefined };
    for (const peer of peers) {
      if (peer.ipBlock) {
        const match = ipBlockMatch(peer.ipBlock);
        if (match) yield { match, pods: undefined };
      } else if (peer.podSelector || peer.namespaceSelector) {
        const pods = this.#podPeer(peer);
        yield { match: { type: 'set', set: podSet(pods).id }, pods };
      }
      // A peer without any field (the API refuses it) matches nothing: a field this version does not know must not open.
    }
  }

  #podPeer(peer: NetworkPolicyPeer): PodSelector {
    return {
      scope: peer.namespaceSelector
        ? { type: 'selector', selector: compileLabelSelector(peer.namespaceSelector) }
        : { type: 'name', name: this.#policy.metadata.namespace },
      pods: compileLabelSelector(peer.podSelector ?? everything),
    };
  }

  *#group(direction: Direction, peer: CompiledPeer, group: PortGroup): Generator<PolicyRule> {
    const protocol = protocolNumbers[group.protocol];
    if (group.everyPort) yield { ...this.#allow(direction, peer), protocol };
    else if (group.ranges.length > 0) {
      yield { ...this.#allow(direction, peer), protocol, destinationPorts: group.ranges };
    }
    for (const name of group.names) {
      if (direction === 'ingress') {
        const set = this.#use(namedPortSet(this.#subject, group.protocol, name));
        yield { ...this.#allow(direction, peer), protocol, destinationNamedPorts: set };
      } else if (peer.pods) {
        // The set holds the addresses of the peer's pods, so no second match on the destination is needed.
        const set = this.#use(namedPortSet(peer.pods, group.protocol, name));
        yield { action: 'allow', protocol, destinationNamedPorts: set };
      } else {
        const set = this.#use(namedPortSet(allPods, group.protocol, name));
        yield { ...this.#allow(direction, peer), protocol, destinationNamedPorts: set };
      }
    }
  }

  #allow(direction: Direction, peer: CompiledPeer): PolicyRule {
    if (!peer.match) return { action: 'allow' };
    if (peer.pods) this.#use(podSet(peer.pods));
    return { action: 'allow', [direction === 'ingress' ? 'source' : 'destination']: peer.match };
  }

  #use(definition: SetDefinition): string {
    this.sets.set(definition.id, definition);
    return definition.id;
  }
}

const allPods: PodSelector = {
  scope: { type: 'selector', selector: compileLabelSelector(everything) },
  pods: compileLabelSelector(everything),
};
