/** All kinds that Poplin installs, by the name of their file below deploy/crds. */
import { bgpConfiguration } from './bgp-configuration.ts';
import { bgpFilter } from './bgp-filter.ts';
import { bgpPeer } from './bgp-peer.ts';
import { customResourceDefinition, type KindDefinition } from './build.ts';
import { calicoNodeStatus } from './calico-node-status.ts';
import { calicoNetworkPolicy, globalNetworkPolicy } from './calico-policy.ts';
import { globalNetworkSet, networkSet, tier } from './calico-sets.ts';
import { felixConfiguration } from './felix-configuration.ts';
import { hostEndpoint } from './host-endpoint.ts';
import { ipPool } from './ip-pool.ts';
import { poplinNode } from './poplin-node.ts';
import { stagedGlobalNetworkPolicy, stagedKubernetesNetworkPolicy, stagedNetworkPolicy } from './staged-policy.ts';

const kinds: readonly KindDefinition[] = [
  bgpConfiguration,
  bgpPeer,
  bgpFilter,
  ipPool,
  calicoNodeStatus,
  felixConfiguration,
  poplinNode,
  calicoNetworkPolicy,
  globalNetworkPolicy,
  stagedNetworkPolicy,
  stagedGlobalNetworkPolicy,
  stagedKubernetesNetworkPolicy,
  tier,
  networkSet,
  globalNetworkSet,
  hostEndpoint,
];

export const definitions: ReadonlyMap<string, object> = new Map(
  kinds.map((kind) => [`${kind.plural}.${kind.group}.yaml`, customResourceDefinition(kind)]),
);
