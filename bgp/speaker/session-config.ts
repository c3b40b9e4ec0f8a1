/** From the configuration to sessions: what each session is told, and which sessions a change must restart. Pure. */
import { isLinkLocal, parseIp, splitZone } from '#kit';
import type { OpenTexts, SessionConfig } from '../fsm/index.ts';
import { pathsPerPrefixMax } from '../rib/index.ts';
import { bgpRole } from '../wire/index.ts';
import type { Family, GracefulRestartConfig, PeerAsn, PeerConfig, SpeakerConfig } from './config.ts';
import { authenticationOf } from './tcp-ao.ts';

export function routerIdNumber(text: string, what = 'routerId'): number {
  const bytes = parseIp(text);
  if (bytes?.length !== 4) throw new Error(`${what} ${text} is not a dotted quad`);
  const value = ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0;
  if (value === 0) throw new Error(`${what} 0.0.0.0 is not allowed (RFC 6286)`);
  return value;
}

export function clusterIdNumber({ clusterId, routerId }: SpeakerConfig): number {
  return clusterId === undefined ? routerIdNumber(routerId) : routerIdNumber(clusterId, 'clusterId');
}

/**
 * The graceful restart capability of our OPENs. While routes of an earlier run are not swept (`deferring`) R is set and F is
 * what the caller knows of the kernel's table. Later on R is off. F is on in any case for a peer that had a session with this
 * process: what it knew then was forwarded all the time (RFC 8538 4).
 */
export function gracefulRestartOffer(
  config: GracefulRestartConfig,
  peer: Pick<PeerConfig, 'families' | 'restartTimeSec' | 'notificationKeepsRoutes' | 'longLivedStaleTimeSec'>,
  deferring: boolean,
  everEstablished: boolean,
): NonNullable<SessionConfig['gracefulRestart']> {
  const forwarding = (family: Family): boolean => config.forwardingPreserved.includes(family) || everEstablished;
  return {
    restarting: deferring,
    notification: peer.notificationKeepsRoutes ?? true,
    ...(peer.longLivedStaleTimeSec ? { longLivedStaleTimeSec: peer.longLivedStaleTimeSec } : {}),
    restartTimeSec: peer.restartTimeSec ?? config.restartTimeSec,
    families: peer.families.map((family) => ({ family, forwarding: forwarding(family) })),
  };
}

/** What OPENs say of us to people. */
export function openTexts({ hostName, softwareVersion }: SpeakerConfig): OpenTexts {
  const [host = '', ...domain] = hostName?.split('.') ?? [];
  return {
    ...(host === '' ? {} : { hostName: { host, domain: domain.join('.') } }),
    ...(softwareVersion ? { softwareVersion } : {}),
  };
}

export function sessionConfig(
  speaker: SpeakerConfig,
  peer: PeerConfig,
  gracefulRestart: NonNullable<SessionConfig['gracefulRestart']>,
): SessionConfig {
  return {
    localAsn: peer.localAsn ?? speaker.asn,
    peerAsn: peer.asn,
    routerId: routerIdNumber(speaker.routerId),
    families: peer.families,
    holdTimeSec: peer.holdTimeSec,
    ...(peer.keepaliveSec === undefined ? {} : { keepaliveSec: peer.keepaliveSec }),
    connectRetrySec: peer.connectRetrySec,
    passive: peer.passive,
    texts: openTexts(speaker),
    ...(peer.role === undefined ? {} : { role: bgpRole[peer.role], strictRole: peer.strictRole ?? false }),
    extendedMessages: peer.extendedMessages ?? true,
    ...(offersAddPath(peer) ? { addPath: addPathOffer(peer) } : {}),
    gracefulRestart,
    ...nextHopOffers(peer),
  };
}

/** The AS that a peer must have, where that is one; else 0. */
export function knownAsn(asn: PeerAsn): number {
  return typeof asn === 'number' ? asn : 0;
}

/** Without IPv4 there is nothing to say of its next hops. */
function nextHopOffers(peer: PeerConfig): Pick<SessionConfig, 'extendedNextHop' | 'linkLocalNextHop'> {
  return {
    extendedNextHop: (peer.extendedNextHop ?? peer.interface !== undefined) && peer.families.includes('ipv4-unicast'),
    linkLocalNextHop: peer.linkLocalNextHop ?? isLinkLocal(peer.address),
  };
}

function offersAddPath({ addPath }: PeerConfig): boolean {
  return addPath !== undefined && (addPath.receive || addPath.send > 0);
}

/** How many paths are sent is ours to change at any time; whether several are, both sides must know (RFC 7911 4). */
function addPathOffer({ families, addPath }: PeerConfig): NonNullable<SessionConfig['addPath']> {
  return families.map((family) => ({
    family,
    receive: addPath?.receive === true,
    send: (addPath?.send ?? 0) > 0,
    ...(addPath?.receive ? { limit: addPath.limit ?? pathsPerPrefixMax } : {}),
  }));
}

/**
 * Whether a change needs a new session. Import and export, filters, next hops, the restart time and what OPEN tells people (next OPEN) do not; nor does a
 * password, or TCP-AO keys, that take the place of others, which the connection can change.
 */
export function needsNewSession(
  before: { readonly speaker: SpeakerConfig; readonly peer: PeerConfig },
  after: { readonly speaker: SpeakerConfig; readonly peer: PeerConfig },
): boolean {
  const key = ({ speaker, peer }: typeof before): string => JSON.stringify(sessionFacts(speaker, peer));
  return key(before) !== key(after);
}

/**
 * Whether the peer, or we to it, are somebody else after a change (another role included, by which its routes were judged), or
 * must not speak at all: then nothing said before counts, and the session ends with a Hard Reset (RFC 8538 5) where it otherwise may keep its routes.
 */
export function isAnotherPeer(
  before: { readonly speaker: SpeakerConfig; readonly peer: PeerConfig },
  after: { readonly speaker: SpeakerConfig; readonly peer: PeerConfig },
): boolean {
  return identityKey(before.speaker, before.peer) !== identityKey(after.speaker, after.peer);
}

function identityKey(speaker: SpeakerConfig, peer: PeerConfig): string {
  return JSON.stringify([
    speaker.routerId,
    peer.localAsn ?? speaker.asn,
    peer.asn,
    peer.address,
    peer.localAddress,
    peer.role,
    authenticationOf(peer),
    peer.heldDown !== undefined,
  ]);
}

/** What a session is bound to for its life, by name: a change of any makes a new one. */
export function sessionFacts(speaker: SpeakerConfig, peer: PeerConfig): Readonly<Record<string, unknown>> {
  return {
    routerId: speaker.routerId,
    localAsn: peer.localAsn ?? speaker.asn,
    address: peer.address,
    port: peer.port,
    asn: peer.asn,
    localAddress: peer.localAddress,
    families: peer.families,
    holdTimeSec: peer.holdTimeSec,
    keepaliveSec: peer.keepaliveSec,
    authentication: authenticationOf(peer),
    heldDown: peer.heldDown !== undefined,
    ttlSecurityHops: peer.ttlSecurityHops,
    passive: peer.passive,
    extendedMessages: peer.extendedMessages ?? true,
    role: peer.role,
    strictRole: peer.role !== undefined && (peer.strictRole ?? false),
    connectRetrySec: peer.connectRetrySec,
    addPath: offersAddPath(peer) && addPathOffer(peer),
    ...nextHopOffers(peer),
  };
}

/** Rank of each peer's address, the last tie-break: IPv4 before IPv6, then by value. Equal addresses: by name. */
export function addressOrder(peers: readonly PeerConfig[]): Map<string, number> {
  const key = (peer: PeerConfig): string => {
    const bytes = parseIp(splitZone(peer.address).address) ?? new Uint8Array(0);
    const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    return `${bytes.length === 4 ? 4 : 6}${hex} ${peer.address} ${peer.name}`;
  };
  const keys = peers.map((peer) => ({ name: peer.name, key: key(peer) }));
  keys.sort((a, b) => (a.key < b.key ? -1 : 1));
  return new Map(keys.map((entry, index) => [entry.name, index]));
}
