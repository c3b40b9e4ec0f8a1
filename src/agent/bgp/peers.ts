/**
 * BGPPeers and the mesh as this node's sessions.
 *
 * A BGPPeer says "from these nodes" (node, nodeSelector, or all) "to that address, or to those nodes" (peerIP, peerSelector). Where
 * the other end is a node too, that node gets its end from the same object, unless reversePeering is Manual:
 *
 *   nodeSelector            peerSelector, peerIP of a node
 *   selected node A  --forward-->  selected node B       A: session to B by the object
 *                    <--reverse--                        B: session to A by the same object
 *
 * Peers that are found on an interface, or connect from a range, are found-peers.ts's.
 *
 * There is one session an address. Of several objects that want it, as in Calico: global ones first, then those of nodes, then
 * generated other ends, in order of names; then the mesh. A later one of another object is left out and says so.
 */
import type { Family, PeerConfig } from '#bgp';
import { familyOf, hostCidr, type IpAddress, type IpFamily } from '#kit';
import type { BFDSettings, BGPPeerObject, Labels, LearnedRoute } from '#model';
import { compileFilters } from './filters.ts';
import { interfaceSession, rangeOfPeers } from './found-peers.ts';
import type { ObjectRef } from './issue.ts';
import type { BgpNode } from './nodes.ts';
import type { Password } from './passwords.ts';
import { common, type OnLink, type PeerContext, peerRef, type RangeOfPeers, type Session } from './peer-context.ts';
import { peerSettings } from './peer-settings.ts';
import { bfdConfig, meshBfdIssue } from './speaker-fields.ts';

type End = 'forward' | 'reverse';

/** What BGPPeers make: sessions, and ranges of addresses whose hosts get one when they connect. */
export interface Explicit {
  readonly sessions: readonly Session[];
  readonly ranges: readonly RangeOfPeers[];
}

export function explicitSessions(peers: readonly BGPPeerObject[], context: PeerContext): Explicit {
  const sessions = new Map<string, Session>();
  const ranges = new Map<string, RangeOfPeers>();
  const isGlobal = (peer: BGPPeerObject): boolean => peer.node === undefined && peer.nodeSelector === undefined;
  const usable = peers.filter((peer) => selectorsAreReadable(peer, context));
  const forwards = [...usable.filter(isGlobal), ...usable.filter((peer) => !isGlobal(peer))];
  const passes: [End, readonly BGPPeerObject[]][] = [
    ['forward', forwards],
    ['reverse', usable.filter((peer) => peer.reversePeering !== 'Manual')],
  ];
  const isTaken = (taken: { readonly object: ObjectRef } | undefined, peer: BGPPeerObject, what: string): boolean => {
    if (taken && taken.object.name !== peer.metadata.name) {
      const message = `${taken.object.kind} ${taken.object.name} has ${what} already; not used on this node`;
      context.issues.push({ object: peerRef(peer), field: remoteField(peer), message, effect: 'unused' });
    }
    return taken !== undefined;
  };
  for (const [end, objects] of passes) {
    for (const peer of objects) {
      if (end === 'forward' && isFrom(peer, context.own, context)) {
        const { interface: name, range } = peer;
        if (name !== undefined && !isTaken(sessions.get(name), peer, `the session on interface ${name}`)) {
          const found = interfaceSession(peer, name, context);
          if (found) sessions.set(name, found);
        }
        if (range !== undefined && !isTaken(ranges.get(range.prefix), peer, `the range ${range.prefix}`)) {
          const found = rangeOfPeers(peer, range, context);
          if (found) ranges.set(range.prefix, found);
        }
      }
      for (const target of targets(peer, end, context)) {
        const taken = sessions.get(target.address);
        if (!taken) sessions.set(target.address, session(peer, end, target, context));
        else if (end === 'forward') isTaken(taken, peer, `the session to ${target.address}`);
      }
    }
  }
  return { sessions: [...sessions.values()], ranges: [...ranges.values()] };
}

function remoteField({ peerIP, interface: name, range }: BGPPeerObject): string {
  if (peerIP !== undefined) return 'spec.peerIP';
  if (name !== undefined) return 'spec.interface';
  return range === undefined ? 'spec.peerSelector' : 'spec.range';
}

/** Without a session of its own to a node, the mesh has one. A node with a cluster id is a reflector and not part of it. */
export function meshSessions(
  context: PeerContext,
  mesh: {
    readonly object: ObjectRef;
    readonly password: Password | undefined;
    readonly filters: readonly string[];
    readonly restartTimeSec?: number;
    readonly bfd?: BFDSettings;
  },
): Session[] {
  const { own, issues } = context;
  if (own.clusterId !== undefined) return [];
  const sessions: Session[] = [];
  const notOnLink: string[] = [];
  for (const node of context.others) {
    if (node.clusterId !== undefined) continue;
    const pair = addressesOf(own, node);
    if (!pair) {
      const message = 'no address of a family that this node has, too; there is no mesh session to it';
      issues.push({ object: { kind: 'Node', name: node.name }, field: 'status.addresses', message, effect: 'waiting' });
      continue;
    }
    const { password } = mesh;
    const config: PeerConfig = {
      ...common(context, `mesh/${node.name}`, pair.remote, node.port, node.asn),
      localAddress: pair.local,
      families: pair.families,
      ...(password && 'password' in password ? { password: password.password } : {}),
      ...(password && 'missing' in password ? { heldDown: password.missing } : {}),
      ...(mesh.restartTimeSec === undefined ? {} : { restartTimeSec: mesh.restartTimeSec }),
      ...(mesh.bfd ? { bfd: bfdConfig(mesh.bfd) } : {}),
      ...meshFilters(node, mesh, context),
    };
    sessions.push({ config, object: mesh.object });
    if (mesh.bfd && !context.onLink(pair.remote)) notOnLink.push(node.name);
  }
  if (mesh.bfd) meshBfdIssue(mesh.bfd, notOnLink, mesh.object, issues);
  return sessions;
}

/** Calico's mesh has none; ours takes them as BGPPeers do. */
function meshFilters(
  node: BgpNode,
  mesh: { readonly object: ObjectRef; readonly filters: readonly string[] },
  { own, filters, ways, issues }: PeerContext,
): ReturnType<typeof compileFilters> {
  return compileFilters(mesh.filters, {
    filters,
    peerType: node.asn === own.asn ? 'iBGP' : 'eBGP',
    ways,
    peer: mesh.object,
    field: 'spec.nodeMeshFilters',
    issues,
  });
}

interface Target {
  readonly name: string;
  readonly address: IpAddress;
  readonly port: number;
  readonly asn: number;
  readonly families: readonly Family[];
  /** Our AS number on the session, where it is not the node's. */
  readonly localAsn?: number;
  /** The peer is a node, and a route reflector. */
  readonly reflector?: boolean;
  /** The peer is a node: sessions run between node addresses. */
  readonly localAddress?: IpAddress;
}

const bothFamilies: readonly Family[] = ['ipv4-unicast', 'ipv6-unicast'];

/** Whom this node has a session with because of `peer`, at this end of it. */
function targets(peer: BGPPeerObject, end: End, context: PeerContext): Target[] {
  const { own } = context;
  if (end === 'forward' && !isFrom(peer, own, context)) return [];
  if (end === 'reverse' && !isTo(peer, own, context)) return [];
  if (end === 'forward' && peer.peerIP !== undefined) return addressTarget(peer, peer.peerIP, context);
  const found: Target[] = [];
  for (const node of context.others) {
    const forward = isFrom(peer, own, context) && isTo(peer, node, context);
    const back = isFrom(peer, node, context) && isTo(peer, own, context);
    if (end === 'forward' ? !forward : !back) continue;
    const pair = addressesOf(own, node, peer.peerIP === undefined ? undefined : familyOf(peer.peerIP));
    if (!pair) {
      const message = `Node ${node.name} has no address of a family that this node has, too; no session to it`;
      const field = peer.peerIP === undefined ? 'spec.peerSelector' : 'spec.peerIP';
      context.issues.push({ object: peerRef(peer), field, message, effect: 'waiting' });
      continue;
    }
    found.push({
      name: `peer/${peer.metadata.name}/${node.name}`,
      address: pair.remote,
      port: node.port,
      // Whoever the object is "from" shows its localASNumber, be it at one end or at both.
      asn: back ? (peer.localASNumber ?? node.asn) : node.asn,
      ...(forward && peer.localASNumber !== undefined ? { localAsn: peer.localASNumber } : {}),
      families: pair.families,
      reflector: node.clusterId !== undefined,
      localAddress: pair.local,
    });
  }
  return found;
}

function addressTarget(peer: BGPPeerObject, address: IpAddress, { own, others }: PeerContext): Target[] {
  // A global peer that is one of the nodes does not peer with itself.
  if (peer.asNumber === undefined || address === own.ipv4 || address === own.ipv6) return [];
  const node = others.find(({ ipv4, ipv6 }) => address === ipv4 || address === ipv6);
  return [
    {
      name: `peer/${peer.metadata.name}`,
      address,
      port: node && peer.port === defaultPort ? node.port : peer.port,
      asn: peer.asNumber,
      families: bothFamilies,
      reflector: node?.clusterId !== undefined,
      ...(peer.localASNumber === undefined ? {} : { localAsn: peer.localASNumber }),
    },
  ];
}

/** What a peerIP without a port stands for. */
const defaultPort = 179;

function session(peer: BGPPeerObject, end: End, target: Target, context: PeerContext): Session {
  const { own } = context;
  const link = context.onLink(target.address);
  const { nextHop4, nextHop6, localAddress } = ownAddresses(peer, target, link, context);
  const route = gatewayRoute(peer, target.address, context);
  const external = target.asn !== (target.localAsn ?? own.asn);
  const config: Loose<PeerConfig> = {
    ...common(context, target.name, target.address, target.port, target.asn),
    families: target.families,
    ...(localAddress ? { localAddress } : {}),
    ...peerSettings(peer, context, {
      who: target.address,
      reversed: end === 'reverse',
      external,
      onLink: link !== undefined,
      ...(target.localAsn === undefined ? {} : { localAsn: target.localAsn }),
      reflector: target.reflector ?? false,
    }),
    nextHop4,
    nextHop6,
  };
  return { config: withoutUndefined(config), object: peerRef(peer), ...(route ? { route } : {}) };
}

/**
 * Where the session starts, and the next hops it announces. `UseNodeIP` is the node's address, `None` the kernel's choice. Without
 * a word it is the node's address, too, except towards a peer on a link of ours that the node's address is not on: a router
 * there knows us by our address on that link, and it is the next hop that it can reach.
 */
function ownAddresses(
  peer: BGPPeerObject,
  target: Target,
  link: OnLink | undefined,
  { own, issues }: PeerContext,
): { nextHop4: IpAddress | undefined; nextHop6: IpAddress | undefined; localAddress: IpAddress | undefined } {
  const nodeAddress = target.localAddress ?? (familyOf(target.address) === 4 ? own.ipv4 : own.ipv6);
  // A node without an address of one family on the link announces none of it there: nobody could reach it.
  const { ipv4: nextHop4, ipv6: nextHop6 } = link ?? own;
  const byKernel = { nextHop4, nextHop6, localAddress: undefined };
  if (peer.sourceAddress === 'None') return byKernel;
  if (peer.sourceAddress === 'UseNodeIP' && !nodeAddress) {
    const message = `the node has no IPv${familyOf(target.address)} address for the session to ${target.address}; the kernel chooses one`;
    issues.push({ object: peerRef(peer), field: 'spec.sourceAddress', message, effect: 'partial' });
    return byKernel;
  }
  const auto = peer.sourceAddress === undefined && target.localAddress === undefined;
  if (auto && link) return byKernel;
  return { nextHop4: own.ipv4, nextHop6: own.ipv6, localAddress: nodeAddress };
}

function gatewayRoute(peer: BGPPeerObject, address: IpAddress, { issues }: PeerContext): LearnedRoute | undefined {
  const { reachableBy } = peer;
  if (reachableBy === undefined) return undefined;
  const refuse = (message: string): undefined => {
    issues.push({ object: peerRef(peer), field: 'spec.reachableBy', message, effect: 'partial' });
  };
  if (peer.peerIP === undefined) return refuse('goes with peerIP only; no route is made');
  if (familyOf(reachableBy) !== familyOf(address)) {
    return refuse(
      `${reachableBy} is of another family than ${address}; no route is made: give a gateway of that family`,
    );
  }
  if (reachableBy === address) return refuse('is the peer itself; no route is made: name the gateway before it');
  return { prefix: hostCidr(address), nextHops: [reachableBy] };
}

/** One session carries both families; it runs over IPv4 where both nodes have it, or over the family that is asked for. */
function addressesOf(
  own: BgpNode,
  other: BgpNode,
  family?: IpFamily,
): { readonly local: IpAddress; readonly remote: IpAddress; readonly families: Family[] } | undefined {
  const four = own.ipv4 && other.ipv4;
  const six = own.ipv6 && other.ipv6;
  const families: Family[] = [...(four ? ['ipv4-unicast' as const] : []), ...(six ? ['ipv6-unicast' as const] : [])];
  if (four && family !== 6) return { local: own.ipv4!, remote: other.ipv4!, families };
  if (six && family !== 4) return { local: own.ipv6!, remote: other.ipv6!, families };
  return undefined;
}

type NodeNames = Pick<BgpNode, 'name' | 'labels' | 'asn' | 'ipv4' | 'ipv6'>;

function isFrom(peer: BGPPeerObject, node: NodeNames, context: PeerContext): boolean {
  if (peer.node !== undefined) return peer.node === node.name;
  return peer.nodeSelector === undefined || matches(peer.nodeSelector, node.labels, context);
}
/** The node is one of those that the object peers with: by selector, or the address and AS number are its own. */
function isTo(peer: BGPPeerObject, node: NodeNames, context: PeerContext): boolean {
  if (peer.peerSelector !== undefined) return matches(peer.peerSelector, node.labels, context);
  if (peer.peerIP === undefined || peer.asNumber !== node.asn) return false;
  return peer.peerIP === node.ipv4 || peer.peerIP === node.ipv6;
}
function matches(selector: string, labels: Labels, { selects }: PeerContext): boolean {
  return selects(selector, labels) === true;
}

function selectorsAreReadable(peer: BGPPeerObject, context: PeerContext): boolean {
  for (const field of ['nodeSelector', 'peerSelector'] as const) {
    const text = peer[field];
    const read = text === undefined ? true : context.selects(text, {});
    if (typeof read === 'boolean') continue;
    const message = `${read.error}; the peer is not used`;
    context.issues.push({ object: peerRef(peer), field: `spec.${field}`, message, effect: 'unused' });
    return false;
  }
  return true;
}

type Loose<T> = { [K in keyof T]: T[K] | undefined };
function withoutUndefined(config: Loose<PeerConfig>): PeerConfig {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined)) as unknown as PeerConfig;
}
