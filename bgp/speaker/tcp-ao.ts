/** What signs the segments of a session, TCP-MD5 (RFC 2385) or TCP-AO (RFC 5925), and what becomes of one that cannot be signed. Pure. */
import type { PeerConfig, PeerRange, SpeakerConfig } from './config.ts';

/** The two of RFC 5926 2.1, in small letters. */
export const tcpAoAlgorithms = ['hmac-sha-1-96', 'aes-128-cmac-96'] as const;
export type TcpAoAlgorithm = (typeof tcpAoAlgorithms)[number];

/** A master key (RFC 5925 3.1) for both directions. */
export interface TcpAoKey {
  /** KeyID that our segments carry, and that the peer's do, 0..255: what one end sends the other receives. */
  readonly sendId: number;
  readonly recvId: number;
  readonly algorithm: TcpAoAlgorithm;
  /** 1 to 80 bytes. */
  readonly secret: string;
  /** Other TCP options are not signed; both ends must agree. Default false. */
  readonly excludeTcpOptions?: boolean;
}

/** Keys of one session: its peer may be about to change from one to another. */
export const tcpAoKeysMax = 16;
export const tcpAoSecretBytesMax = 80;

/** One of them, or neither. */
export type SessionKeys = Pick<PeerConfig, 'password' | 'tcpAo'>;

export function authenticationOf({ password, tcpAo }: SessionKeys): 'none' | 'TCP-MD5' | 'TCP-AO' {
  if (tcpAo !== undefined) return 'TCP-AO';
  return password === undefined ? 'none' : 'TCP-MD5';
}

export function sameKeys(a: SessionKeys, b: SessionKeys): boolean {
  return a.password === b.password && JSON.stringify(a.tcpAo) === JSON.stringify(b.tcpAo);
}

export function sessionKeys({ password, tcpAo }: SessionKeys): SessionKeys {
  return { ...(password === undefined ? {} : { password }), ...(tcpAo === undefined ? {} : { tcpAo }) };
}

/** Why keys cannot be used together: the ids of a connection's keys must not overlap (RFC 5925 3.1); undefined: they can. */
export function tcpAoKeysFault(keys: readonly Pick<TcpAoKey, 'sendId' | 'recvId'>[]): string | undefined {
  if (keys.length === 0) return 'there is no key';
  if (keys.length > tcpAoKeysMax) return `${keys.length} keys are more than ${tcpAoKeysMax}`;
  for (const [what, ids] of [
    ['send', keys.map(({ sendId }) => sendId)],
    ['receive', keys.map(({ recvId }) => recvId)],
  ] as const) {
    const twice = ids.find((id, index) => ids.indexOf(id) !== index);
    if (twice !== undefined) return `two keys have the id ${twice} to ${what}; each needs its own`;
  }
  return undefined;
}

/** Why the system cannot sign with a key, and what to do; undefined: it can. */
export type TcpAoFault = (key: Pick<TcpAoKey, 'algorithm'>) => string | undefined;

/** A session that is to be signed and cannot be is held down: it never goes on unsigned. */
export function holdUnsigned(config: SpeakerConfig, fault: TcpAoFault): SpeakerConfig {
  const { peers, ranges } = config;
  if (![...peers, ...(ranges ?? [])].some(({ tcpAo }) => tcpAo !== undefined)) return config;
  const hold = <T extends PeerConfig | PeerRange>(peer: T): T => {
    const heldDown = peer.heldDown ?? unsignedFault(peer, fault);
    return heldDown === undefined ? peer : { ...peer, heldDown };
  };
  return { ...config, peers: peers.map(hold), ...(ranges ? { ranges: ranges.map(hold) } : {}) };
}

function unsignedFault({ password, tcpAo }: SessionKeys, fault: TcpAoFault): string | undefined {
  if (tcpAo === undefined) return undefined;
  if (password !== undefined) return 'it has a TCP-MD5 password and TCP-AO keys; keep one of them';
  const bad = tcpAoKeysFault(tcpAo);
  if (bad !== undefined) return `TCP-AO: ${bad}`;
  // Each may be the one that the peer asks for.
  for (const key of tcpAo) {
    const reason = fault(key);
    if (reason !== undefined) return `TCP-AO: ${reason}`;
  }
  return undefined;
}
