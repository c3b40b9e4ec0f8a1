/** From the configuration to sessions: what each session is told, and which sessions a change must restart. Pure. */
import { parseIp } from '#kit';
import type { SessionConfig } from '../fsm/index.ts';
import type { Family, GracefulRestartConfig, PeerConfig, SpeakerConfig } from './config.ts';

export function routerIdNumber(text: string): number {
  const bytes = parseIp(text);
  if (bytes?.length !== 4) throw new Error(`routerId ${text} is not a dotted quad`);
  const value = ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0;
  if (value === 0) throw new Error('routerId 0.0.0.0 is not allowed (RFC 6286)');
  return value;
}

/**
 * The graceful restart capability of our OPENs. While routes of an earlier run are not swept (`deferring`) R is set and F is
 * what the caller knows of the kernel's table. Later on R is off, and F is on for a peer that had a session with this process:
 * what it knew then was forwarded all the time.
 */
export function gracefulRestartOffer(
  config: GracefulRestartConfig,
  peer: Pick<PeerConfig, 'families' | 'restartTimeSec'>,
  deferring: boolean,
  everEstablished: boolean,
): NonNullable<SessionConfig['gracefulRestart']> {
  const forwarding = (family: Family): boolean =>
    config.forwardingPreserved.includes(family) || (!deferring && everEstablished);
  return {
    restarting: deferring,
    restartTimeSec: peer.restartTimeSec ?? config.restartTimeSec,
    families: peer.families.map((family) => ({ family, forwarding: forwarding(family) })),
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
    ...(offersAddPath(peer) ? { addPath: addPathOffer(peer) } : {}),
    gracefulRestart,
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
  }));
}

/**
 * Whether a change needs a new session. Import and export, filters, next hops and the restart time (next OPEN) do not; nor does a
 * password that takes the place of another, which the connection can change.
 */
export function needsNewSession(
  before: { readonly speaker: SpeakerConfig; readonly peer: PeerConfig },
  after: { readonly speaker: SpeakerConfig; readonly peer: PeerConfig },
): boolean {
  return sessionKey(before.speaker, before.peer) !== sessionKey(after.speaker, after.peer);
}

function sessionKey(speaker: SpeakerConfig, peer: PeerConfig): string {
  return JSON.stringify([
    speaker.routerId,
    peer.localAsn ?? speaker.asn,
    peer.address,
    peer.port,
    peer.asn,
    peer.localAddress,
    peer.families,
    peer.holdTimeSec,
    peer.keepaliveSec,
    peer.password !== undefined,
    peer.heldDown !== undefined,
    peer.ttlSecurityHops,
    peer.passive,
    peer.connectRetrySec,
    offersAddPath(peer) && addPathOffer(peer),
  ]);
}

/** Rank of each peer's address, the last tie-break: IPv4 before IPv6, then by value. Equal addresses: by name. */
export function addressOrder(peers: readonly PeerConfig[]): Map<string, number> {
  const key = (peer: PeerConfig): string => {
    const bytes = parseIp(peer.address) ?? new Uint8Array(0);
    const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    return `${bytes.length === 4 ? 4 : 6}${hex} ${peer.name}`;
  };
  const keys = peers.map((peer) => ({ name: peer.name, key: key(peer) }));
  keys.sort((a, b) => (a.key < b.key ? -1 : 1));
  return new Map(keys.map((entry, index) => [entry.name, index]));
}
