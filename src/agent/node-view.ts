/** What of the cluster's objects holds on this node. Pure. */
import type { AgentConfig } from '#config';
import type { Guard } from '#felix';
import { type IpAddress, toIpAddress } from '#kit';
import type { BGPConfigurationObject, NodeObject } from '#model';

const ADDRESS_ANNOTATIONS = ['projectcalico.org/IPv4Address', 'projectcalico.org/IPv6Address'];
/** BFD: single hop, echo (RFC 5881), multihop (RFC 5883), on bundles of links (RFC 7130). */
const BFD_PORTS = [3784, 3785, 4784, 6784];

/** Every address of every node, with the ports on which the routing protocols listen. */
export function guardOf(
  nodes: readonly NodeObject[],
  configurations: readonly BGPConfigurationObject[],
  config: Pick<AgentConfig, 'bgpPort'>,
): Guard {
  const annotated = (node: NodeObject): IpAddress[] =>
    ADDRESS_ANNOTATIONS.flatMap((name) => {
      const text = node.metadata.annotations[name]?.split('/')[0];
      return (text && toIpAddress(text)) || [];
    });
  const ports = configurations.flatMap((configuration) => configuration.listenPort ?? []);
  return {
    nodeAddresses: [...new Set(nodes.flatMap((node) => [...node.internalIPs, ...annotated(node)]))].sort(),
    tcp: [...new Set([config.bgpPort, ...ports])],
    udp: BFD_PORTS,
  };
}
