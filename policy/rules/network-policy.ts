/** networking.k8s.io/v1 NetworkPolicy into the one rule form. */
import type { Cidr } from '#kit';
import type { NetworkPolicyObject, NetworkPolicyPeer, NetworkPolicyRule, PolicyProgram, PolicyRule } from '#model';
import { compileLabelSelector } from '../selector/label-selector.ts';
import { ipBlockMatch } from './ip-block.ts';
import {
  type CompiledPolicy,
  type Direction,
  distinctRules,
  everyLabel,
  PeerRules,
  prefixPeers,
  type RulePeer,
} from './peer-rules.ts';
import { everyTraffic, groupPorts } from './ports.ts';
import type { PodSelector } from './sets.ts';

/** The pods whose traffic the policy decides: always of its own namespace. */
export function networkPolicySubject(policy: NetworkPolicyObject): PodSelector {
  return {
    scope: { type: 'name', name: policy.metadata.namespace },
    pods: compileLabelSelector(policy.podSelector),
  };
}

/** Rules of a direction that policyTypes leaves out are ignored, as upstream does. */
export function compileNetworkPolicy(policy: NetworkPolicyObject): CompiledPolicy {
  const builder = new PeerRules(networkPolicySubject(policy));
  const rules = (direction: Direction, sources: readonly NetworkPolicyRule[]): PolicyRule[] =>
    distinctRules(sources.flatMap((source) => [...allowRules(builder, policy, direction, source)]));
  const program: PolicyProgram = {
    ingress: policy.policyTypes.includes('Ingress') ? rules('ingress', policy.ingress) : [],
    egress: policy.policyTypes.includes('Egress') ? rules('egress', policy.egress) : [],
  };
  return { program, sets: builder.sets };
}

function* allowRules(
  builder: PeerRules,
  policy: NetworkPolicyObject,
  direction: Direction,
  source: NetworkPolicyRule,
): Generator<PolicyRule> {
  const groups = source.ports.length === 0 ? [everyTraffic] : groupPorts(source.ports);
  if (source.peers.length === 0) yield* builder.rules('allow', direction, { type: 'everybody' }, groups);
  const peers = source.peers.flatMap((peer) => rulePeer(policy, peer) ?? []);
  const whole = peers.flatMap((peer) => wholePrefix(peer) ?? []);
  for (const peer of peers) if (wholePrefix(peer) === undefined) yield* builder.rules('allow', direction, peer, groups);
  for (const peer of prefixPeers(whole)) yield* builder.rules('allow', direction, peer, groups);
}

/** Of a block that nothing is cut out of. */
function wholePrefix(peer: RulePeer): Cidr | undefined {
  if (peer.type !== 'match' || peer.match.type !== 'cidr' || peer.match.except.length > 0) return undefined;
  return peer.match.cidr;
}

/** Undefined: it matches nobody. */
function rulePeer(policy: NetworkPolicyObject, peer: NetworkPolicyPeer): RulePeer | undefined {
  if (peer.ipBlock) {
    const match = ipBlockMatch(peer.ipBlock);
    return match && { type: 'match', match };
  }
  // A peer without any field (the API refuses it) matches nothing: a field this version does not know must not open.
  if (!peer.podSelector && !peer.namespaceSelector) return undefined;
  return {
    type: 'selector',
    selector: {
      scope: peer.namespaceSelector
        ? { type: 'selector', selector: compileLabelSelector(peer.namespaceSelector) }
        : { type: 'name', name: policy.metadata.namespace },
      pods: compileLabelSelector(peer.podSelector ?? everyLabel),
    },
  };
}
