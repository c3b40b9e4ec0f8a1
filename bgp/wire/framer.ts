/**
 * Message framing, RFC 4271 4.1 and 6.1.
 *
 * A message that lies whole in a chunk is handed on in place. Only the one that straddles two chunks is copied, into a
 * buffer of one message. A bad header is refused as soon as it can be known: a wrong marker from its first wrong byte
 * (an HTTP request may be shorter than a header), a wrong length without waiting for the bytes.
 */
import { errorCode, headerSubcode, protocolError } from './errors.ts';
import {
  extendedMessageBytesMax,
  type FrameHandler,
  type Framer,
  type FrameTaker,
  headerBytes,
  messageBytesMax,
  messageType,
  type ProtocolError,
} from './types.ts';

/** Shortest message by type, RFC 4271 6.1. ROUTE-REFRESH is checked by its decoder, whose error is another (RFC 7313 5). */
const shortest: readonly number[] = [headerBytes, 29, 23, 21, 19, headerBytes];

const markerBytes = 16;
const nothing = new Uint8Array(0);

function badMarker(): ProtocolError {
  return protocolError(
    errorCode.messageHeader,
    headerSubcode.connectionNotSynchronized,
    'the marker is not all ones: this is not BGP, or the stream lost its synchronization',
  );
}

/** Refuses a header; `bytes[start..start+19)` must be there. */
export function checkHeader(bytes: Uint8Array, start: number, extended = false): ProtocolError | undefined {
  for (let i = start; i < start + markerBytes; i++) if (bytes[i] !== 0xff) return badMarker();
  const length = (bytes[start + 16]! << 8) | bytes[start + 17]!;
  const type = bytes[start + 18]!;
  // RFC 8654 4: OPEN and KEEPALIVE stay as they are.
  const longer = extended && type !== messageType.open && type !== messageType.keepalive;
  if (length >= headerBytes && length <= (longer ? extendedMessageBytesMax : messageBytesMax)) {
    if (type < messageType.open || type > messageType.routeRefresh) {
      return protocolError(
        errorCode.messageHeader,
        headerSubcode.badMessageType,
        `message type ${type} is unknown`,
        bytes.slice(start + 18, start + 19),
      );
    }
    if (length >= shortest[type]! && (type !== messageType.keepalive || length === headerBytes)) return undefined;
  }
  const error = protocolError(
    errorCode.messageHeader,
    headerSubcode.badMessageLength,
    `length ${length} is wrong for message type ${type}`,
    bytes.slice(start + 16, start + 18),
  );
  return type === messageType.notification ? { ...error, silent: true } : error;
}

class MessageFramer implements Framer {
  /** Room for a message of usual size, made when a message straddles chunks: many who connect never say anything. */
  #usual = nothing;
  /** `#usual`, or one for the extended message under way: sessions are many and those are rare. */
  #held = nothing;
  #heldBytes = 0;
  #extended = false;

  get pendingBytes(): number {
    return this.#heldBytes;
  }
  allowExtended(): void {
    this.#extended = true;
  }

  push(chunk: Uint8Array, onFrame: FrameHandler, length = chunk.length): ProtocolError | undefined {
    return this.pushTo({ onFrame }, chunk, length);
  }

  pushTo(taker: FrameTaker, chunk: Uint8Array, chunkEnd: number): ProtocolError | undefined {
    let at = 0;
    if (this.#heldBytes > 0) {
      if (this.#heldBytes < headerBytes) {
        at += this.#hold(chunk, at, chunkEnd, headerBytes);
        if (this.#heldBytes < headerBytes) return this.#heldMarkerBroken() ? badMarker() : undefined;
        const error = checkHeader(this.#held, 0, this.#extended);
        if (error) return error;
      }
      const length = (this.#held[16]! << 8) | this.#held[17]!;
      at += this.#hold(chunk, at, chunkEnd, length);
      if (this.#heldBytes < length) return undefined;
      const message = this.#held;
      this.#heldBytes = 0;
      this.#held = this.#usual;
      if (!taker.onFrame(message[18]!, message, 0, length)) return undefined;
    }
    while (chunkEnd - at >= headerBytes) {
      const error = checkHeader(chunk, at, this.#extended);
      if (error) return error;
      const end = at + ((chunk[at + 16]! << 8) | chunk[at + 17]!);
      if (end > chunkEnd) {
        this.#hold(chunk, at, chunkEnd, end - at);
        return undefined;
      }
      if (!taker.onFrame(chunk[at + 18]!, chunk, at, end)) return undefined;
      at = end;
    }
    if (at === chunkEnd) return undefined;
    this.#hold(chunk, at, chunkEnd, chunkEnd - at);
    return this.#heldBytes < headerBytes && this.#heldMarkerBroken() ? badMarker() : undefined;
  }

  /** Moves bytes of `chunk` from `at` on into the held message until it has `wanted`; returns how many were taken. */
  #hold(chunk: Uint8Array, at: number, chunkEnd: number, wanted: number): number {
    if (wanted > this.#held.length) {
      const longer = new Uint8Array(Math.max(wanted, messageBytesMax));
      longer.set(this.#held.subarray(0, this.#heldBytes));
      this.#held = longer;
      if (wanted <= messageBytesMax) this.#usual = longer;
    }
    const count = Math.min(wanted - this.#heldBytes, chunkEnd - at);
    this.#held.set(chunk.subarray(at, at + count), this.#heldBytes);
    this.#heldBytes += count;
    return count;
  }
  #heldMarkerBroken(): boolean {
    for (let i = 0; i < this.#heldBytes && i < markerBytes; i++) if (this.#held[i] !== 0xff) return true;
    return false;
  }
}

export function createFramer(): Framer {
  return new MessageFramer();
}
