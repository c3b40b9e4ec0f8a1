/** What BGPPeer and BGPConfiguration say in fields of ours, as a peer of the speaker has it. */
import { type BfdConfig, type BgpRole, bfdDefaults, type PeerConfig } from '#bgp';
import type { BFDSettings, BGPPeerObject } from '#model';
import type { Issue, ObjectRef } from './issue.ts';

export interface FieldsContext {
  readonly object: ObjectRef;
  /** The peer, for people. */
  readonly who: string;
  /** This node is whom the object peers with, and the peer the one that asks. */
  readonly reversed: boolean;
  /** The peer is in another AS. */
  readonly external: boolean;
  /** The peer is on a link of the node. */
  readonly onLink: boolean;
  readonly issues: Issue[];
}

type Fields = Pick<
  PeerConfig,
  | 'bfd'
  | 'maxPrefixes'
  | 'addPath'
  | 'gracefulShutdown'
  | 'longLivedStaleTimeSec'
  | 'role'
  | 'strictRole'
  | 'blackhole'
  | 'linkBandwidthBytesPerSec'
>;

export function speakerFields(peer: BGPPeerObject, context: FieldsContext): Fields {
  const { bfd, maxPrefixes, addPath, gracefulShutdown, longLivedStaleTimeSec, blackhole } = peer;
  const { linkBandwidthBytesPerSec } = peer;
  if (bfd && !bfd.multihop && !context.onLink) {
    const message = `${context.who} is on no link of this node, BFD does not reach it; set bfd.multihop to true, and the same at the peer`;
    context.issues.push({ object: context.object, field: 'spec.bfd', message, effect: 'partial' });
  }
  return {
    ...(bfd ? { bfd: bfdConfig(bfd) } : {}),
    ...(maxPrefixes ? { maxPrefixes: prefixLimits(maxPrefixes) } : {}),
    ...(addPath ? { addPath } : {}),
    ...(gracefulShutdown === undefined ? {} : { gracefulShutdown }),
    ...(longLivedStaleTimeSec === undefined ? {} : { longLivedStaleTimeSec }),
    ...(blackhole ? { blackhole: { minLength4: blackhole.ipv4 ?? 32, minLength6: blackhole.ipv6 ?? 128 } } : {}),
    ...(linkBandwidthBytesPerSec === undefined ? {} : { linkBandwidthBytesPerSec }),
    ...roleFields(peer, context),
  };
}

export function bfdConfig(settings: BFDSettings): BfdConfig {
  return { ...bfdDefaults, ...settings };
}

/** The mesh has one BFD for all nodes: those on no link of this one are named together. */
export function meshBfdIssue(
  settings: BFDSettings,
  notOnLink: readonly string[],
  object: ObjectRef,
  issues: Issue[],
): void {
  if (settings.multihop || notOnLink.length === 0) return;
  const [first] = notOnLink;
  const who = notOnLink.length === 1 ? `Node ${first} is` : `${notOnLink.length} nodes (${first}, ...) are`;
  const message = `${who} on no link of this node, BFD does not reach that far; set nodeMeshBFD.multihop to true`;
  issues.push({ object, field: 'spec.nodeMeshBFD', message, effect: 'partial' });
}

function prefixLimits({
  ipv4,
  ipv6,
}: NonNullable<BGPPeerObject['maxPrefixes']>): NonNullable<PeerConfig['maxPrefixes']> {
  return { ...(ipv4 ? { 'ipv4-unicast': ipv4 } : {}), ...(ipv6 ? { 'ipv6-unicast': ipv6 } : {}) };
}

type Role = NonNullable<BGPPeerObject['role']>;
/** RFC 9234 4.1, and 4.2 for the other end. */
const roles: Readonly<Record<Role, { readonly ours: BgpRole; readonly theirs: BgpRole }>> = {
  Provider: { ours: 'provider', theirs: 'customer' },
  Customer: { ours: 'customer', theirs: 'provider' },
  RouteServer: { ours: 'routeServer', theirs: 'routeServerClient' },
  RouteServerClient: { ours: 'routeServerClient', theirs: 'routeServer' },
  Peer: { ours: 'peer', theirs: 'peer' },
};

function roleFields(
  { role, strictRole }: BGPPeerObject,
  { object, who, reversed, external, issues }: FieldsContext,
): Pick<PeerConfig, 'role' | 'strictRole'> {
  if (role === undefined) return {};
  if (!external) {
    const message = `is for peers of another AS (RFC 9234), and ${who} is in this one; not used`;
    issues.push({ object, field: 'spec.role', message, effect: 'partial' });
    return {};
  }
  const { ours, theirs } = roles[role];
  return { role: reversed ? theirs : ours, ...(strictRole === undefined ? {} : { strictRole }) };
}
