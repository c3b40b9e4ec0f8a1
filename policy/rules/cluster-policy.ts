/**
 * policy.networking.k8s.io ClusterNetworkPolicy, AdminNetworkPolicy and BaselineAdminNetworkPolicy into the one rule form.
 *
 * A rule with something in it that is not known here fails closed, as the API demands: one that accepts is about nothing,
 * any other denies everything. So is a name of a domain where the rule does not accept, or is for ingress.
 */

import { unreachable } from '#kit';
import type { ClusterPodSelector, ClusterPolicyObject, ClusterPolicyPeer, ClusterPolicyRule, PolicyRule } from '#model';
import { compileLabelSelector } from '../selector/label-selector.ts';
import {
  type CompiledPolicy,
  type Direction,
  distinctRules,
  PeerRules,
  prefixPeers,
  type RulePeer,
} from './peer-rules.ts';
import { everyTraffic, mergeRanges, type PortGroup, protocols } from './ports.ts';
import type { PodSelector } from './sets.ts';

const actions = { Accept: 'allow', Deny: 'deny', Pass: 'pass' } as const;

/** The pods whose traffic the policy is about: of all namespaces that match. */
export function clusterPolicySubject(policy: ClusterPolicyObject): PodSelector {
  return podSelector(policy.subject);
}

export function compileClusterPolicy(policy: ClusterPolicyObject): CompiledPolicy {
  const builder = new PeerRules(clusterPolicySubject(policy));
  const rules = (direction: Direction, sources: readonly ClusterPolicyRule[]): PolicyRule[] =>
    distinctRules(sources.flatMap((source) => [...rulesOf(builder, direction, source)]));
  return {
    program: { ingress: rules('ingress', policy.ingress), egress: rules('egress', policy.egress) },
    sets: builder.sets,
  };
}

function* rulesOf(builder: PeerRules, direction: Direction, source: ClusterPolicyRule): Generator<PolicyRule> {
  const takesNames = source.action === 'Accept' && direction === 'egress';
  const isUnknown = ({ type }: { readonly type: string }): boolean =>
    type === 'unknown' || (type === 'domainNames' && !takesNames);
  if ([...source.peers, ...source.ports].some(isUnknown)) {
    if (source.action !== 'Accept') yield { action: 'deny' };
    return;
  }
  const groups = source.ports.length === 0 ? [everyTraffic] : portGroups(source.ports);
  const networks = source.peers.flatMap((peer) => (peer.type === 'networks' ? peer.networks : []));
  const names = source.peers.flatMap((peer) => (peer.type === 'domainNames' ? peer.names : []));
  const domains: RulePeer[] = names.length > 0 ? [{ type: 'domains', names }] : [];
  for (const peer of [...source.peers.flatMap(rulePeers), ...prefixPeers(networks), ...domains]) {
    yield* builder.rules(actions[source.action], direction, peer, groups);
  }
}

/** All but networks and names: those of a rule go together. */
function rulePeers(peer: ClusterPolicyPeer): RulePeer[] {
  switch (peer.type) {
    case 'pods':
      return [{ type: 'selector', selector: podSelector(peer) }];
    case 'nodes':
      return [{ type: 'selector', selector: { scope: { type: 'nodes' }, pods: compileLabelSelector(peer.selector) } }];
    case 'networks':
    case 'domainNames':
    case 'unknown':
      return [];
    default:
      return unreachable(peer);
  }
}

function podSelector({ namespaceSelector, podSelector: pods }: ClusterPodSelector): PodSelector {
  return {
    scope: { type: 'selector', selector: compileLabelSelector(namespaceSelector) },
    pods: compileLabelSelector(pods),
  };
}

/** Numbers by protocol; names of whichever protocol their pod declares. */
function portGroups(ports: ClusterPolicyRule['ports']): PortGroup[] {
  const groups = protocols.flatMap((protocol): PortGroup[] => {
    const ranges = ports.flatMap((port) => (port.type === 'numbers' && port.protocol === protocol ? [port] : []));
    return ranges.length === 0 ? [] : [{ protocol, everyPort: false, ranges: mergeRanges(ranges), names: [] }];
  });
  const names = [...new Set(ports.flatMap((port) => (port.type === 'name' ? [port.name] : [])))].sort();
  if (names.length > 0) groups.push({ protocol: undefined, everyPort: false, ranges: [], names });
  return groups;
}
