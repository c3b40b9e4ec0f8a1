/** What a BGPPeer says of its sessions, whoever they are with: the part that all forms of peers have in common. */
import type { FilterTerm, PeerConfig, RouteFilter } from '#bgp';
import type { BGPPeerObject } from '#model';
import { compileFilters } from './filters.ts';
import type { Issue, ObjectRef } from './issue.ts';
import type { Password } from './passwords.ts';
import { type PeerContext, peerRef } from './peer-context.ts';
import { speakerFields } from './speaker-fields.ts';
import { tcpAoSettings } from './tcp-ao.ts';

export interface PeerFacts {
  /** For people. */
  readonly who: string;
  /** This node is whom the object peers with, and the peer the one that asks. */
  readonly reversed: boolean;
  /** The peer is in another AS. */
  readonly external: boolean;
  /** The peer is on a link of the node. */
  readonly onLink: boolean;
  /** Our AS number on the session, where it is not the node's. */
  readonly localAsn?: number;
  /** The peer is a node, and a route reflector. */
  readonly reflector: boolean;
}

export function peerSettings(peer: BGPPeerObject, context: PeerContext, facts: PeerFacts): Partial<PeerConfig> {
  const { own } = context;
  const { external, localAsn } = facts;
  const object = peerRef(peer);
  const password = peer.password && context.secret(peer.password, 'TCP-MD5');
  if (password) passwordIssue(object, 'spec.password', password, context.issues);
  const filters = compileFilters(peer.filters ?? [], {
    filters: context.filters,
    peerType: external ? 'eBGP' : 'iBGP',
    ways: context.ways,
    peer: object,
    issues: context.issues,
  });
  return {
    holdTimeSec: peer.holdTimeSec ?? context.holdTimeSec,
    ...(password && 'password' in password ? { password: password.password } : {}),
    ...(password && 'missing' in password ? { heldDown: password.missing } : {}),
    ...tcpAoSettings(peer, context, facts.reversed),
    ...(localAsn === undefined || localAsn === own.asn ? {} : { localAsn }),
    ...(peer.keepaliveTimeSec === undefined ? {} : { keepaliveSec: peer.keepaliveTimeSec }),
    ...(peer.ttlSecurity === undefined ? {} : { ttlSecurityHops: peer.ttlSecurity }),
    ...(peer.numAllowedLocalASNumbers === undefined ? {} : { allowOwnAsn: peer.numAllowedLocalASNumbers }),
    ...(peer.maxRestartTimeSec === undefined ? {} : { restartTimeSec: peer.maxRestartTimeSec }),
    ...(own.clusterId === undefined || external ? {} : reflection(facts)),
    ...filters,
    ...nextHopMode(peer, filters.exportFilter),
    ...(peer.adjRibIn === undefined ? {} : { adjRibIn: peer.adjRibIn }),
    ...speakerFields(peer, { ...facts, object, issues: context.issues }),
  };
}

/**
 * A node with a cluster id passes on to internal peers what internal peers said (RFC 4456). Those without one are its clients,
 * other reflectors are not, whether in its cluster or in another: reflectors are meshed with each other. What routers outside
 * said stays with the node, as on every other one.
 */
function reflection({ reflector }: PeerFacts): Pick<PeerConfig, 'export' | 'routeReflectorClient'> {
  return { export: 'reflected', ...(reflector ? {} : { routeReflectorClient: true }) };
}

/** `Auto` is what RFC 4271 5.1.3 says. Our own routes have no other next hop than the node, whatever the mode. */
function nextHopMode(
  { nextHopMode: mode }: BGPPeerObject,
  filter: RouteFilter | undefined,
): Pick<PeerConfig, 'exportFilter'> {
  if (mode === undefined || mode === 'Auto') return {};
  const term: FilterTerm = {
    action: 'next',
    source: ['learned'],
    changes: [{ type: 'setNextHop', value: mode === 'Self' ? 'self' : 'unchanged' }],
  };
  return { exportFilter: { ipv4: [term, ...(filter?.ipv4 ?? [])], ipv6: [term, ...(filter?.ipv6 ?? [])] } };
}

export function passwordIssue(object: ObjectRef, field: string, password: Password, issues: Issue[]): void {
  if ('missing' in password) {
    const message = `${password.missing}; the session is kept down`;
    issues.push({ object, field, message, effect: 'heldDown' });
  } else if (password.warning) {
    issues.push({ object, field, message: password.warning, effect: 'partial' });
  }
}
