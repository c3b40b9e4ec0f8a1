/** A look at every message and state of every session, for records of them. Costs one comparison a message while nobody looks. */
import { splitZone } from '#kit';
import type { SessionConfig, SessionStateName } from '../fsm/types.ts';
import type { Negotiated } from '../wire/types.ts';
import { knownAsn } from './session-config.ts';
import type { ByteConnection, DialRequest } from './types.ts';

export interface TappedSession {
  readonly peer: string;
  readonly peerAddress: string;
  readonly peerAsn: number;
  readonly localAsn: number;
  /** Absent: no connection yet, as with a change of state from Idle to Connect. */
  readonly connection: ByteConnection | undefined;
  /** AS numbers on this connection are 4 octets wide; true until the OPENs have said so. */
  readonly asn4: boolean;
  /** Prefixes that the peer sends, and that we send, have path identifiers (RFC 7911). */
  readonly addPathIn: boolean;
  readonly addPathOut: boolean;
}

/** May neither throw nor keep the bytes it is given. */
export interface SessionTap {
  readonly active: boolean;
  /** One whole message as it came, before it is understood: malformed ones are among them. */
  received(session: TappedSession, bytes: Uint8Array, start: number, end: number): void;
  /** Whole messages, one after another. */
  sent(session: TappedSession, messages: Uint8Array): void;
  stateChanged(session: TappedSession, from: SessionStateName, to: SessionStateName): void;
}

/** @param negotiated absent until the session is established. */
export function tappedSession(
  { peer, address }: DialRequest,
  { peerAsn, localAsn }: SessionConfig,
  connection: ByteConnection | undefined,
  negotiated: Negotiated | undefined,
): TappedSession {
  return {
    peer,
    peerAddress: splitZone(address).address,
    peerAsn: negotiated?.peerAsn ?? knownAsn(peerAsn),
    localAsn,
    connection,
    asn4: negotiated?.asn4 !== false,
    addPathIn: negotiated?.addPath.some(({ receive }) => receive) === true,
    addPathOut: negotiated?.addPath.some(({ send }) => send) === true,
  };
}
