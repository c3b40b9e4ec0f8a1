/**
 * From objects to a speaker: Node, BGPConfiguration and BGPPeer become the whole configuration of this node's BGP
 * speaker. Pure: what the kernel knows about a peer's link is handed in.
 *
 * Rules, after Calico's: the configuration named `node.NAME` overrides `default` for that node; without either, the full
 * mesh is on. A BGPPeer applies to every node, to `node`, or to the nodes that `nodeSelector` selects. A peer that is
 * named explicitly wins over the mesh session to the same address. Agents announce what they originate and nothing
 * they learned.
 */
import type { Family, GracefulRestartConfig, PeerConfig, SpeakerConfig } from '#bgp';
import { familyOf, hostCidr, type IpAddress, toIpAddress } from '#kit';
import type { BGPConfigurationObject, BGPPeerObject, Labels, NodeObject } from '#model';

export interface SpeakerConfigInput {
  readonly nodeName: string;
  readonly nodes: readonly NodeObject[];
  readonly configurations: readonly BGPConfigurationObject[];
  readonly peers: readonly BGPPeerObject[];
  readonly defaults: {
    readonly asn: number;
    readonly port: number;
    readonly holdTimeSec: number;
    readonly connectRetrySec: number;
    readonly meshEnabled: boolean;
    /** Empty: the node's IPv4 address, or a number made from its name. */
    readonly routerId: string;
  };
  readonly gracefulRestart: GracefulRestartConfig;
  /** What the kernel says of the way to an address that is on a link of ours: our addresses on that link. */
  readonly onLink: (address: IpAddress) => OnLink | undefined;
  readonly selects: (selector: string, labels: Labels) => boolean | { readonly error: string };
}

export interface OnLink {
  readonly interfaceName: string;
  /** Our address on that link, of each family; link-local IPv6 is left out. */
  readonly ipv4?: IpAddress;
  readonly ipv6?: IpAddress;
}

export interface SpeakerConfigResult {
  /** Absent while this node's own Node object is unknown or has no address: `problems` says which. */
  readonly config?: SpeakerConfig;
  /** For people: what was left out and why. */
  readonly problems: readonly string[];
}

const ASN_ANNOTATION = 'projectcalico.org/ASNumber';
const ADDRESS_ANNOTATION = { 4: 'projectcalico.org/IPv4Address', 6: 'projectcalico.org/IPv6Address' } as const;

interface BgpNode {
  readonly name: string;
  readonly asn: number;
  readonly ipv4: IpAddress | undefined;
  readonly ipv6: IpAddress | undefined;
}

export function speakerConfig(input: SpeakerConfigInput): SpeakerConfigResult {
  const problems: string[] = [];
  const self = input.nodes.find((node) => node.metadata.name === input.nodeName);
  if (!self) return { problems: [`Node ${input.nodeName}: no such object yet; BGP waits for it`] };
  const settings = effectiveConfiguration(input);
  const own = bgpNode(self, settings.asn);
  if (!own.ipv4 && !own.ipv6) {
    return { problems: [`Node ${input.nodeName}: no InternalIP in status.addresses; BGP waits for one`] };
  }
  const peers = new Map<string, PeerConfig>();
  for (const peer of input.peers) addExplicitPeer(input, settings, own, self, peer, peers, problems);
  if (settings.mesh) {
    for (const node of input.nodes) {
      if (node.metadata.name === input.nodeName) continue;
      const peer = meshPeer(settings, own, bgpNode(node, settings.asn));
      if (!peer) problems.push(`Node ${node.metadata.name}: no address of a family that this node has; not meshed`);
      else if (!peers.has(peer.address)) peers.set(peer.address, peer);
    }
  }
  if (self.podCIDRs.length === 0) problems.push(`Node ${input.nodeName}: spec.podCIDRs is empty; nothing to announce`);
  const originate: string[] = [...self.podCIDRs];
  if (settings.advertiseNodeAddresses) originate.push(...self.internalIPs.map(hostCidr));
  return {
    config: {
      asn: own.asn,
      routerId: input.defaults.routerId || own.ipv4 || routerIdFromName(own.name),
      listen: [
        { address: '0.0.0.0', port: settings.port },
        { address: '::', port: settings.port },
      ],
      originate: [...new Set(originate)].sort(),
      peers: [...peers.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
      gracefulRestart: input.gracefulRestart,
    },
    problems,
  };
}

interface Settings {
  readonly asn: number;
  readonly port: number;
  readonly holdTimeSec: number;
  readonly connectRetrySec: number;
  readonly mesh: boolean;
  readonly advertiseNodeAddresses: boolean;
}

function effectiveConfiguration(input: SpeakerConfigInput): Settings {
  const named = (name: string): BGPConfigurationObject | undefined =>
    input.configurations.find((c) => c.metadata.name === name);
  const specific = named(`node.${input.nodeName}`);
  const general = named('default');
  return {
    asn: specific?.asNumber ?? general?.asNumber ?? input.defaults.asn,
    port: specific?.listenPort ?? general?.listenPort ?? input.defaults.port,
    holdTimeSec: specific?.holdTimeSec ?? general?.holdTimeSec ?? input.defaults.holdTimeSec,
    connectRetrySec: input.defaults.connectRetrySec,
    // The mesh is the cluster's: one node cannot leave it alone, the others would keep dialling.
    mesh: general?.nodeToNodeMeshEnabled ?? input.defaults.meshEnabled,
    advertiseNodeAddresses: specific?.advertiseNodeAddresses ?? general?.advertiseNodeAddresses ?? false,
  };
}

/** Calico's annotations first (they may carry a prefix length), else the InternalIPs. */
function bgpNode(node: NodeObject, defaultAsn: number): BgpNode {
  const annotated = (family: 4 | 6): IpAddress | undefined => {
    const text = node.metadata.annotations[ADDRESS_ANNOTATION[family]]?.split('/')[0];
    const address = text ? toIpAddress(text) : undefined;
    return address && familyOf(address) === family ? address : undefined;
  };
  const asn = Number(node.metadata.annotations[ASN_ANNOTATION]);
  return {
    name: node.metadata.name,
    asn: Number.isInteger(asn) && asn > 0 && asn <= 0xffffffff ? asn : defaultAsn,
    ipv4: annotated(4) ?? node.internalIPs.find((ip) => familyOf(ip) === 4),
    ipv6: annotated(6) ?? node.internalIPs.find((ip) => familyOf(ip) === 6),
  };
}

/** One session carries both families; it runs over IPv4 where both nodes have it. */
function meshPeer(settings: Settings, own: BgpNode, other: BgpNode): PeerConfig | undefined {
  const over = own.ipv4 && other.ipv4 ? 4 : own.ipv6 && other.ipv6 ? 6 : undefined;
  if (!over) return undefined;
  const families: Family[] = [];
  if (own.ipv4 && other.ipv4) families.push('ipv4-unicast');
  if (own.ipv6 && other.ipv6) families.push('ipv6-unicast');
  return {
    name: `mesh/${other.name}`,
    address: (over === 4 ? other.ipv4 : other.ipv6)!,
    port: settings.port,
    asn: other.asn,
    localAddress: (over === 4 ? own.ipv4 : own.ipv6)!,
    families,
    holdTimeSec: settings.holdTimeSec,
    passive: false,
    connectRetrySec: settings.connectRetrySec,
    import: 'accept',
    export: 'originated',
    ...(own.ipv4 ? { nextHop4: own.ipv4 } : {}),
    ...(own.ipv6 ? { nextHop6: own.ipv6 } : {}),
  };
}

function addExplicitPeer(
  input: SpeakerConfigInput,
  settings: Settings,
  own: BgpNode,
  self: NodeObject,
  peer: BGPPeerObject,
  peers: Map<string, PeerConfig>,
  problems: string[],
): void {
  if (!appliesHere(input, self, peer, problems)) return;
  if (peer.peerIP === undefined || peer.asNumber === undefined) return;
  if (peer.peerIP === own.ipv4 || peer.peerIP === own.ipv6) return;
  const taken = peers.get(peer.peerIP);
  if (taken) {
    problems.push(`BGPPeer ${peer.metadata.name}: ${taken.name} has a session to ${peer.peerIP} already; not used`);
    return;
  }
  const link = input.onLink(peer.peerIP);
  // Announced next hops are our addresses on the link to the peer; across routers, the node's own.
  const nextHop4 = link?.ipv4 ?? (link ? undefined : own.ipv4);
  const nextHop6 = link?.ipv6 ?? (link ? undefined : own.ipv6);
  const overOwn = familyOf(peer.peerIP) === 4 ? own.ipv4 : own.ipv6;
  peers.set(peer.peerIP, {
    name: `peer/${peer.metadata.name}`,
    address: peer.peerIP,
    port: peer.port,
    asn: peer.asNumber,
    ...(!link && overOwn ? { localAddress: overOwn } : {}),
    families: ['ipv4-unicast', 'ipv6-unicast'],
    holdTimeSec: peer.holdTimeSec ?? settings.holdTimeSec,
    ...(peer.password?.type === 'value' ? { password: peer.password.value.reveal() } : {}),
    ...(peer.maxRestartTimeSec === undefined ? {} : { restartTimeSec: peer.maxRestartTimeSec }),
    passive: false,
    connectRetrySec: settings.connectRetrySec,
    import: 'accept',
    export: 'originated',
    ...(nextHop4 ? { nextHop4 } : {}),
    ...(nextHop6 ? { nextHop6 } : {}),
  });
}

function appliesHere(input: SpeakerConfigInput, self: NodeObject, peer: BGPPeerObject, problems: string[]): boolean {
  if (peer.node !== undefined) return peer.node === input.nodeName;
  if (peer.nodeSelector === undefined) return true;
  const selected = input.selects(peer.nodeSelector, self.metadata.labels);
  if (typeof selected === 'boolean') return selected;
  problems.push(`BGPPeer ${peer.metadata.name}: spec.nodeSelector: ${selected.error}; the peer is not used`);
  return false;
}

/** IPv6-only nodes: any stable non-zero number will do inside one AS (RFC 6286). FNV-1a over the name. */
function routerIdFromName(name: string): string {
  let hash = 0x811c9dc5;
  for (const char of name) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193) >>> 0;
  if (hash === 0) hash = 1;
  return [hash >>> 24, (hash >>> 16) & 255, (hash >>> 8) & 255, hash & 255].join('.');
}
