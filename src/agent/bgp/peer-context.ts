/** What the mapping of BGPPeers and the mesh works with and makes. */
import type { InterfaceWay, PeerAsn, PeerConfig, PeerRange, TcpAoFault } from '#bgp';
import type { IpAddress } from '#kit';
import type { BGPFilterObject, BGPPeerObject, LearnedRoute, NodeObject, PasswordSource } from '#model';
import type { Issue, ObjectRef } from './issue.ts';
import type { BgpNode } from './nodes.ts';
import type { Password, PasswordUse } from './passwords.ts';
import type { SelectorMatch } from './selector.ts';

export interface OnLink {
  /** Our address on that link, of each family; link-local IPv6 is left out. */
  readonly ipv4?: IpAddress;
  readonly ipv6?: IpAddress;
}

export interface PeerContext {
  readonly self: NodeObject;
  readonly own: BgpNode;
  readonly others: readonly BgpNode[];
  readonly filters: readonly BGPFilterObject[];
  readonly holdTimeSec: number;
  readonly connectRetrySec: number;
  readonly onLink: (address: IpAddress) => OnLink | undefined;
  readonly ways: () => readonly InterfaceWay[];
  readonly selects: SelectorMatch;
  readonly secret: (source: PasswordSource, use: PasswordUse) => Password;
  /** Why the kernel cannot sign with a key, and what to do. */
  readonly tcpAoFault: TcpAoFault;
  readonly issues: Issue[];
}

/** A session and the object that asks for it. */
export interface Session {
  readonly config: PeerConfig;
  readonly object: ObjectRef;
  /** To a peer behind a gateway that the object names. */
  readonly route?: LearnedRoute;
}

/** Whose hosts get a session when they connect, and the object that asks for it. */
export interface RangeOfPeers {
  readonly config: PeerRange;
  readonly object: ObjectRef;
}

export function peerRef(peer: BGPPeerObject): ObjectRef {
  return { kind: 'BGPPeer', name: peer.metadata.name };
}

/** What every session begins with. */
export function common(
  context: PeerContext,
  name: string,
  address: string,
  port: number,
  asn: PeerAsn,
): Omit<PeerConfig, 'families'> {
  const { own } = context;
  return {
    name,
    address,
    port,
    asn,
    holdTimeSec: context.holdTimeSec,
    passive: false,
    connectRetrySec: context.connectRetrySec,
    import: 'accept',
    export: 'originated',
    ...(own.ipv4 ? { nextHop4: own.ipv4 } : {}),
    ...(own.ipv6 ? { nextHop6: own.ipv6 } : {}),
  };
}
