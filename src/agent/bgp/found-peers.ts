/**
 * BGPPeers that name no address: the router that is found on an interface (RFC 4861, RFC 8950), and who connects from a range.
 *
 * Next hops follow from the session: on an interface the addresses of its link, IPv4 with an IPv6 next hop; to a peer of a range our end of the
 * session, and for the other family the address on the range's link, or the node's.
 */
import type { Family, PeerAsn, PeerRange } from '#bgp';
import { familyOf, type IpAddress } from '#kit';
import type { BGPPeerObject } from '#model';
import { common, type PeerContext, peerRef, type RangeOfPeers, type Session } from './peer-context.ts';
import { peerSettings } from './peer-settings.ts';

const bothFamilies: readonly Family[] = ['ipv4-unicast', 'ipv6-unicast'];
const bgpPort = 179;

/** Undefined where its AS numbers are none for this node: an issue says so. */
export function interfaceSession(peer: BGPPeerObject, name: string, context: PeerContext): Session | undefined {
  const remote = remoteAs(peer, context);
  if (!remote) return undefined;
  const { nextHop4: _, nextHop6: __, ...begin } = common(context, sessionName(peer), '', bgpPort, remote.asn);
  const config = {
    ...begin,
    interface: name,
    families: bothFamilies,
    ...foundSettings(peer, context, remote.external, `the router on ${name}`),
  };
  return { config, object: peerRef(peer) };
}

export function rangeOfPeers(
  peer: BGPPeerObject,
  { prefix, limit }: NonNullable<BGPPeerObject['range']>,
  context: PeerContext,
): RangeOfPeers | undefined {
  const remote = remoteAs(peer, context);
  if (!remote) return undefined;
  const { name, asn, holdTimeSec, import: taken, export: told } = common(context, sessionName(peer), '', 0, remote.asn);
  const { ipv4, ipv6 } = context.onLink(prefix.split('/')[0] as IpAddress) ?? context.own;
  const config: PeerRange = {
    name,
    prefix,
    limit,
    asn,
    holdTimeSec,
    import: taken,
    export: told,
    families: bothFamilies,
    ...(familyOf(prefix) === 6 && ipv4 ? { nextHop4: ipv4 } : {}),
    ...(familyOf(prefix) === 4 && ipv6 ? { nextHop6: ipv6 } : {}),
    ...foundSettings(peer, context, remote.external, `a peer of ${prefix}`),
  };
  return { config, object: peerRef(peer) };
}

/** Of a peer from a range nobody knows yet whether it is on a link; it is taken for one that is. */
function foundSettings(
  peer: BGPPeerObject,
  context: PeerContext,
  external: boolean,
  who: string,
): ReturnType<typeof peerSettings> {
  return peerSettings(peer, context, {
    who,
    reversed: false,
    external,
    onLink: true,
    ...(peer.localASNumber === undefined ? {} : { localAsn: peer.localASNumber }),
    reflector: false,
  });
}

function sessionName({ metadata }: BGPPeerObject): string {
  return `peer/${metadata.name}`;
}

/** Sessions of one object are internal or external: what is told to peers depends on it. */
function remoteAs(
  { metadata, asNumber, asNumbers, remoteAS, localASNumber }: BGPPeerObject,
  { own, issues }: PeerContext,
): { readonly asn: PeerAsn; readonly external: boolean } | undefined {
  const ours = localASNumber ?? own.asn;
  if (remoteAS === 'Internal') return { asn: 'internal', external: false };
  if (remoteAS === 'External') return { asn: 'external', external: true };
  if (asNumber !== undefined) return { asn: asNumber, external: asNumber !== ours };
  const others = (asNumbers ?? []).filter((asn) => asn !== ours);
  if (others.length === 0) return { asn: ours, external: false };
  if (others.length === asNumbers?.length) return { asn: others, external: true };
  const message = `has the AS number of this node, ${ours}, beside others: peers are internal or external; make a BGPPeer of each kind`;
  const object = { kind: 'BGPPeer', name: metadata.name } as const;
  issues.push({ object, field: 'spec.asNumbers', message, effect: 'unused' });
  return undefined;
}
