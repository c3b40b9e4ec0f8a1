/**
 * From objects to a speaker: Node, BGPConfiguration, BGPPeer, BGPFilter, IPPool and Secret become the whole configuration of
 * this node's BGP speaker. Pure: what the kernel knows of links and of the node's own addresses is handed in.
 *
 * The BGPConfiguration named `node.NAME` overrides `default` for that node; without either, the full mesh is on. Agents announce
 * what they originate and nothing they learned, but for route reflectors (peers.ts). What cannot be done is an issue of the object that asks for it.
 */
import type { GracefulRestartConfig, PeerConfig, SpeakerConfig, TcpAoFault } from '#bgp';
import type { IpAddress } from '#kit';
import type {
  BGPConfigurationObject,
  BGPFilterObject,
  BGPPeerObject,
  IPPoolObject,
  LearnedRoute,
  NodeObject,
  PrefixAdvertisement,
  SecretObject,
} from '#model';
import { type InterfaceWays, interfaceWays, type KernelWay, waysMax } from './interface-ways.ts';
import { type Issue, issueText, type ObjectRef } from './issue.ts';
import { type BgpNode, bgpNode, named, usableClusterId } from './nodes.ts';
import { resolvePassword } from './passwords.ts';
import type { OnLink, PeerContext, Session } from './peer-context.ts';
import { passwordIssue } from './peer-settings.ts';
import { explicitSessions, meshSessions } from './peers.ts';
import { withCommunities } from './prefix-communities.ts';
import { addressPrefixes, podPrefixes } from './prefixes.ts';
import type { SelectorMatch } from './selector.ts';

export interface SpeakerConfigInput {
  readonly nodeName: string;
  /** Secrets are looked for there. */
  readonly namespace: string;
  readonly nodes: readonly NodeObject[];
  readonly configurations: readonly BGPConfigurationObject[];
  readonly peers: readonly BGPPeerObject[];
  readonly filters: readonly BGPFilterObject[];
  readonly pools: readonly IPPoolObject[];
  readonly secrets: readonly SecretObject[];
  /** This node's own, as detected. */
  readonly ownAddresses: { readonly ipv4?: IpAddress; readonly ipv6?: IpAddress };
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
  /** Of Poplin; peers are told it, and the name of the node. Absent: neither. */
  readonly toldVersion?: string;
  /** What the kernel says of the way to an address that is on a link of ours: our addresses on that link. */
  readonly onLink: (address: IpAddress) => OnLink | undefined;
  /** Which device packets leave by, for routes that BGP did not bring. */
  readonly ways: () => Iterable<KernelWay>;
  readonly selects: SelectorMatch;
  /** What the kernel says of TCP-AO. */
  readonly tcpAoFault: TcpAoFault;
}

export interface SpeakerConfigResult {
  /** Absent while this node's own Node object is unknown or it has no address: `issues` says which. */
  readonly config?: SpeakerConfig;
  /** The object that each session comes from, by the session's name. */
  readonly sessions: ReadonlyMap<string, ObjectRef>;
  /** Host routes to peers behind a gateway. */
  readonly routes: readonly LearnedRoute[];
  readonly issues: readonly Issue[];
  /** `ways` were asked for: a change of them may make another configuration. */
  readonly asksWays: boolean;
}

export function speakerConfig(input: SpeakerConfigInput): SpeakerConfigResult {
  const { nodeName, configurations, defaults, selects } = input;
  const issues: Issue[] = [];
  const waiting = (field: string, message: string): SpeakerConfigResult => {
    issues.push({ object: { kind: 'Node', name: nodeName }, field, message, effect: 'waiting' });
    return { sessions: new Map(), routes: [], issues, asksWays: false };
  };
  const self = named(input.nodes, nodeName);
  if (!self) return waiting('', 'no such object yet; BGP waits for it');
  const seen = bgpNode(self, configurations, defaults, issues);
  const own: BgpNode = { ...seen, ipv4: input.ownAddresses.ipv4, ipv6: input.ownAddresses.ipv6 };
  if (!own.ipv4 && !own.ipv6) return waiting('status.addresses', 'the node has no address for BGP; BGP waits for one');
  const settings = effectiveSettings(input, issues);
  const others = input.nodes.filter((node) => node !== self);
  let interfaces: InterfaceWays | undefined;
  const context: PeerContext = {
    self,
    own,
    others: others.map((node) => bgpNode(node, configurations, defaults, [])),
    filters: input.filters,
    holdTimeSec: settings.holdTimeSec,
    connectRetrySec: defaults.connectRetrySec,
    onLink: input.onLink,
    ways() {
      interfaces ??= interfaceWays(input.ways());
      return interfaces.ways;
    },
    selects,
    secret: (source, use) => resolvePassword(source, input.secrets, input.namespace, use),
    tcpAoFault: input.tcpAoFault,
    issues,
  };
  const explicit = explicitSessions(input.peers, context);
  const taken = new Set(explicit.sessions.map(({ config }) => config.address));
  const mesh = meshOf(input, settings, context).filter(({ config }) => !taken.has(config.address));
  const sessions = [...explicit.sessions, ...mesh].sort((a, b) => (a.config.name < b.config.name ? -1 : 1));
  if (self.podCIDRs.length === 0) {
    const message = 'is empty; there are no pods to announce until somebody sets it';
    issues.push({ object: { kind: 'Node', name: nodeName }, field: 'spec.podCIDRs', message, effect: 'waiting' });
  }
  if (interfaces?.omitted) {
    const message = `the kernel has ${interfaces.omitted} routes more than are looked at for rules about interfaces (${waysMax}): those with the longest prefixes count for nothing there`;
    issues.push({ object: { kind: 'Node', name: nodeName }, field: '', message, effect: 'partial' });
  }
  const clusterId = own.clusterId === undefined ? undefined : usableClusterId(own.clusterId);
  const originate = podPrefixes(self, input.pools, selects, issues);
  if (settings.advertiseNodeAddresses) originate.push(...addressPrefixes(self));
  const marked = withCommunities(settings.prefixAdvertisements);
  return {
    config: {
      asn: own.asn,
      ...(clusterId ? { clusterId } : {}),
      routerId: defaults.routerId || own.ipv4 || routerIdFromName(own.name),
      listen: listenAddresses(settings, own),
      originate: [...new Set(originate)].sort(),
      peers: sessions.map(({ config }): PeerConfig => marked(config)),
      ...(explicit.ranges.length > 0 ? { ranges: explicit.ranges.map(({ config }) => marked(config)) } : {}),
      gracefulRestart: input.gracefulRestart,
      ...(input.toldVersion === undefined
        ? {}
        : { hostName: nodeName, softwareVersion: `Poplin ${input.toldVersion}` }),
    },
    sessions: new Map(sessions.map(({ config, object }) => [config.name, object])),
    routes: sessions.flatMap(({ route }) => (route ? [route] : [])),
    issues: distinct(issues),
    asksWays: interfaces !== undefined,
  };
}

interface Settings {
  readonly holdTimeSec: number;
  readonly mesh: boolean;
  readonly bindToNodeIP: boolean;
  readonly advertiseNodeAddresses: boolean;
  readonly prefixAdvertisements: readonly PrefixAdvertisement[];
}

function effectiveSettings(input: SpeakerConfigInput, issues: Issue[]): Settings {
  const specific = named(input.configurations, `node.${input.nodeName}`);
  const general = named(input.configurations, 'default');
  const unused = (configuration: BGPConfigurationObject, field: string, message: string): void => {
    const object = { kind: 'BGPConfiguration', name: configuration.metadata.name } as const;
    issues.push({ object, field, message, effect: field === '' ? 'unused' : 'partial' });
  };
  for (const configuration of input.configurations) {
    const { name } = configuration.metadata;
    if (name === 'default') continue;
    if (!name.startsWith('node.')) unused(configuration, '', 'is named neither default nor node.NAME; nothing uses it');
    if (configuration !== specific) continue;
    // The mesh is the cluster's: one node cannot leave it alone, the others would keep dialling.
    for (const field of [
      'nodeToNodeMeshEnabled',
      'nodeMeshPassword',
      'nodeMeshMaxRestartTimeSec',
      'nodeMeshFilters',
      'nodeMeshBFD',
    ] as const) {
      if (configuration[field] === undefined) continue;
      const name = field === 'nodeMeshMaxRestartTimeSec' ? 'nodeMeshMaxRestartTime' : field;
      unused(
        configuration,
        `spec.${name}`,
        'the mesh is one for the whole cluster; set it in BGPConfiguration default',
      );
    }
  }
  return {
    holdTimeSec: specific?.holdTimeSec ?? general?.holdTimeSec ?? input.defaults.holdTimeSec,
    mesh: general?.nodeToNodeMeshEnabled ?? input.defaults.meshEnabled,
    bindToNodeIP: (specific?.bindMode ?? general?.bindMode) === 'NodeIP',
    advertiseNodeAddresses: specific?.advertiseNodeAddresses ?? general?.advertiseNodeAddresses ?? false,
    prefixAdvertisements: specific?.prefixAdvertisements ?? general?.prefixAdvertisements ?? [],
  };
}

function meshOf(input: SpeakerConfigInput, settings: Settings, context: PeerContext): Session[] {
  const { issues } = context;
  if (!settings.mesh) return [];
  const general = named(input.configurations, 'default');
  const object: ObjectRef = { kind: 'BGPConfiguration', name: 'default' };
  const password = general?.nodeMeshPassword && context.secret(general.nodeMeshPassword, 'TCP-MD5');
  if (password) passwordIssue(object, 'spec.nodeMeshPassword', password, issues);
  const restartTimeSec = general?.nodeMeshMaxRestartTimeSec;
  const filters = general?.nodeMeshFilters ?? [];
  const bfd = general?.nodeMeshBFD;
  return meshSessions(context, {
    object,
    password,
    filters,
    ...(restartTimeSec === undefined ? {} : { restartTimeSec }),
    ...(bfd === undefined ? {} : { bfd }),
  });
}

function listenAddresses({ bindToNodeIP }: Settings, { ipv4, ipv6, port }: BgpNode): SpeakerConfig['listen'] {
  const addresses: readonly (string | undefined)[] = bindToNodeIP ? [ipv4, ipv6] : ['0.0.0.0', '::'];
  return addresses.flatMap((address) => (address === undefined ? [] : [{ address, port }]));
}

/** One filter may be used by many sessions. */
function distinct(issues: readonly Issue[]): Issue[] {
  return [...new Map(issues.map((issue) => [issueText(issue), issue])).values()];
}

/** IPv6-only nodes: any stable non-zero number will do inside one AS (RFC 6286). FNV-1a over the name. */
function routerIdFromName(name: string): string {
  let hash = 0x811c9dc5;
  for (const char of name) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193) >>> 0;
  if (hash === 0) hash = 1;
  return [hash >>> 24, (hash >>> 16) & 255, (hash >>> 8) & 255, hash & 255].join('.');
}
