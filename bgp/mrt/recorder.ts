/**
 * Records the messages and states of all sessions as MRT (BGP4MP_ET: MESSAGE_AS4 and STATE_CHANGE_AS4; MESSAGE with a peer of
 * 2-octet AS numbers; the _LOCAL forms for what we send, those of RFC 8050 where prefixes have path identifiers). Allocates a record a message, and nothing while it is off.
 */
import { type IpAddress, splitZone } from '#kit';
import type { SessionStateName } from '../fsm/types.ts';
import type { SessionTap, TappedSession } from '../speaker/tap.ts';
import { ByteWriter } from '../wire/byte-writer.ts';
import { read16 } from '../wire/bytes.ts';
import { headerBytes } from '../wire/types.ts';
import { type MrtSession, type MrtTime, mrtState } from './types.ts';
import { type MrtMessageKind, writeMessage, writeStateChange } from './write.ts';

export interface RecorderOptions {
  /** Whole records; owned by the receiver, which must neither throw nor call back. */
  readonly write: (records: Uint8Array) => void;
  /** Microseconds of the wall clock. */
  readonly wallUsec: () => number;
}

export class MrtRecorder implements SessionTap {
  active = false;
  /** What we send is recorded, too. */
  recordSent = false;
  readonly #options: RecorderOptions;
  readonly #out = new ByteWriter(8192);

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  received(session: TappedSession, bytes: Uint8Array, start: number, end: number): void {
    writeMessage(this.#out, this.#now(), mrtSession(session), kindOf(session, false), bytes, start, end);
    this.#options.write(this.#out.take());
  }

  sent(session: TappedSession, messages: Uint8Array): void {
    if (!this.recordSent) return;
    const time = this.#now();
    const about = mrtSession(session);
    const kind = kindOf(session, true);
    for (let at = 0; at + headerBytes <= messages.length; ) {
      const end = at + Math.max(headerBytes, read16(messages, at + 16));
      writeMessage(this.#out, time, about, kind, messages, at, Math.min(end, messages.length));
      at = end;
    }
    this.#options.write(this.#out.take());
  }

  stateChanged(session: TappedSession, from: SessionStateName, to: SessionStateName): void {
    writeStateChange(this.#out, this.#now(), mrtSession(session), mrtState[from], mrtState[to]);
    this.#options.write(this.#out.take());
  }

  #now(): MrtTime {
    const usec = this.#options.wallUsec();
    return { sec: Math.floor(usec / 1e6), usec: Math.floor(usec % 1e6) };
  }
}

function kindOf(session: TappedSession, local: boolean): MrtMessageKind {
  return { asn4: session.asn4, addPath: local ? session.addPathOut : session.addPathIn, local };
}

function mrtSession({ peerAsn, localAsn, peerAddress, connection }: TappedSession): MrtSession {
  const unknown = peerAddress.includes(':') ? '::' : '0.0.0.0';
  return {
    peerAsn,
    localAsn,
    ifIndex: 0,
    peerAddress: peerAddress as IpAddress,
    localAddress: splitZone(connection?.localAddress ?? unknown).address as IpAddress,
  };
}
