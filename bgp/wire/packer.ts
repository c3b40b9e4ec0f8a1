/**
 * Packs prefixes into UPDATEs and UPDATEs into chunks (see `UpdatePacker` in types.ts).
 *
 *   announce IPv4   withdrawn 0 | attributes [..split) NEXT_HOP [split..) | NLRI ...
 *   announce IPv6   withdrawn 0 | MP_REACH (first, RFC 7606 5.1: next hop, NLRI ...) attributes
 *   withdraw IPv4   withdrawn ... | attributes 0
 *   withdraw IPv6   withdrawn 0 | MP_UNREACH ...
 *
 * IPv4 with an IPv6 next hop (RFC 8950) has the form of IPv6.
 *
 * The open message is written in place at the end of the chunk; its lengths are filled in when it closes.
 */
import { attributeFlag, attributeType, optionalNonTransitive, wellKnown } from './attribute-types.ts';
import { copy, write32 } from './bytes.ts';
import { encodeEndOfRib, writeHeader } from './message.ts';
import {
  type ChunkTaker,
  type ExportedAttributes,
  headerBytes,
  messageBytesMax,
  messageType,
  type UpdatePacker,
} from './types.ts';

/** Size of the chunks handed over under load. */
const chunkBytesMax = 256 * 1024;
/** A smaller chunk is copied out, so that its buffer can go on being used. */
const copyBytesMax = 128 * 1024;
/** And one that is smaller than this is lent: a copy of it would be most of what a single change leaves to the collector. */
const lentBytesMax = 1024;

/** `announce4` and `withdraw4`: the fields of RFC 4271; `Mp`: the attributes of RFC 4760. */
type Kind = 'none' | 'announce4' | 'announceMp' | 'withdraw4' | 'withdrawMp';

class Packer implements UpdatePacker {
  messageCount = 0;
  prefixCount = 0;
  pathId = 0;
  readonly #taker: ChunkTaker;
  /** Octets of a path identifier in front of each prefix: 0 or 4. */
  readonly #idBytes: number;
  #out = new Uint8Array(chunkBytesMax);
  /** Start of the open message, or of free space. */
  #start = 0;
  /** Where the next prefix goes. */
  #at = 0;
  /** No prefix may end beyond. */
  #limit = 0;
  #open = false;
  #kind: Kind = 'none';
  /** Address family of the multiprotocol attribute: 1 or 2. */
  #afi = 2;
  /** Attributes of the announcement under way, and the next hop: kept here, since the caller's buffers are reused. */
  readonly #attributes: Uint8Array;
  #attributesLength = 0;
  #split = 0;
  readonly #nextHop = new Uint8Array(32);
  #nextHopLength = 0;

  readonly #messageBytesMax: number;

  constructor(taker: ChunkTaker, messageBytesMax: number, withPathIds: boolean) {
    this.#taker = taker;
    this.#messageBytesMax = messageBytesMax;
    this.#attributes = new Uint8Array(messageBytesMax);
    this.#idBytes = withPathIds ? 4 : 0;
  }

  startAnnounce(family: 4 | 6, attributes: ExportedAttributes, nextHop: Uint8Array): boolean {
    this.useAttributes(attributes);
    return this.start(family, nextHop, false);
  }

  useAttributes({ bytes, length, split }: ExportedAttributes): void {
    this.#close();
    this.#kind = 'none';
    this.#attributesLength = length;
    this.#split = split;
    if (length <= this.#attributes.length) copy(bytes, 0, length, this.#attributes, 0);
  }

  start(family: 4 | 6, nextHop: Uint8Array | undefined, multiprotocol: boolean): boolean {
    this.#close();
    this.#afi = family === 4 ? 1 : 2;
    if (nextHop === undefined) {
      this.#kind = family === 4 && !multiprotocol ? 'withdraw4' : 'withdrawMp';
      return true;
    }
    this.#kind = 'none';
    const { length } = nextHop;
    const besideBytes = headerBytes + 4 + (length === 4 ? 7 + 5 : 4 + 5 + length + 17) + this.#idBytes;
    if (this.#attributesLength > this.#messageBytesMax - besideBytes) return false;
    copy(nextHop, 0, length, this.#nextHop, 0);
    this.#nextHopLength = length;
    this.#kind = length === 4 ? 'announce4' : 'announceMp';
    return true;
  }

  startWithdraw(family: 4 | 6, multiprotocol = false): void {
    this.start(family, undefined, multiprotocol);
  }

  add4(address: number, bits: number): void {
    let at = this.#place(1 + ((bits + 7) >> 3));
    const out = this.#out;
    out[at++] = bits;
    if (bits > 0) out[at++] = address >>> 24;
    if (bits > 8) out[at++] = address >>> 16;
    if (bits > 16) out[at++] = address >>> 8;
    if (bits > 24) out[at++] = address;
    this.#at = at;
    this.prefixCount++;
  }

  add6(w0: number, w1: number, w2: number, w3: number, bits: number): void {
    let at = this.#place(1 + ((bits + 7) >> 3));
    const out = this.#out;
    out[at++] = bits;
    for (let bit = 0; bit < bits; bit += 8) {
      const word = bit < 64 ? (bit < 32 ? w0 : w1) : bit < 96 ? w2 : w3;
      out[at++] = word >>> (24 - (bit & 31));
    }
    this.#at = at;
    this.prefixCount++;
  }

  endOfRib(family: 4 | 6): void {
    this.#close();
    this.#kind = 'none';
    const message = encodeEndOfRib(family);
    this.#ensureMessage();
    this.#start = copy(message, 0, message.length, this.#out, this.#start);
    this.messageCount++;
  }

  flush(): void {
    this.#close();
    this.#kind = 'none';
    if (this.#start > 0) this.#handOver();
  }

  /** Offset for `octets` more of the open message; closes a full one and opens the next. */
  #room(octets: number): number {
    if (this.#open && this.#at + octets > this.#limit) this.#close();
    if (!this.#open) this.#begin();
    return this.#at;
  }

  /** Offset for the `octets` of a prefix; its path identifier is written in front. */
  #place(octets: number): number {
    if (this.#idBytes === 0) return this.#room(octets);
    const at = this.#room(octets + this.#idBytes);
    write32(this.#out, at, this.pathId);
    return at + this.#idBytes;
  }

  #handOver(): void {
    const length = this.#start;
    if (length <= lentBytesMax) {
      this.#taker.take(this.#out, length);
    } else if (length <= copyBytesMax) {
      this.#taker.take(this.#out.slice(0, length), length);
    } else {
      this.#taker.take(this.#out.subarray(0, length), length);
      this.#out = new Uint8Array(chunkBytesMax);
    }
    this.#start = 0;
  }

  #ensureMessage(): void {
    if (this.#start + this.#messageBytesMax > this.#out.length) this.#handOver();
  }

  #begin(): void {
    this.#ensureMessage();
    this.#open = true;
    this.messageCount++;
    const out = this.#out;
    let at = this.#start + headerBytes;
    this.#limit = this.#start + this.#messageBytesMax;
    switch (this.#kind) {
      case 'announce4': {
        const length = this.#attributesLength + 7;
        at += 2;
        out[at++] = length >> 8;
        out[at++] = length;
        at = copy(this.#attributes, 0, this.#split, out, at);
        out[at++] = wellKnown;
        out[at++] = attributeType.nextHop;
        out[at++] = 4;
        at = copy(this.#nextHop, 0, 4, out, at);
        at = copy(this.#attributes, this.#split, this.#attributesLength, out, at);
        break;
      }
      case 'announceMp':
        at = this.#beginMultiprotocol(at, attributeType.mpReach);
        out[at++] = this.#nextHopLength;
        at = copy(this.#nextHop, 0, this.#nextHopLength, out, at);
        out[at++] = 0;
        this.#limit -= this.#attributesLength;
        break;
      case 'withdraw4':
        at += 2;
        this.#limit -= 2;
        break;
      case 'withdrawMp':
        at = this.#beginMultiprotocol(at, attributeType.mpUnreach);
        break;
      case 'none':
        throw new Error('startAnnounce or startWithdraw comes before prefixes');
    }
    this.#at = at;
  }

  /** Lengths are filled in at the end; the attribute always has the extended form. */
  #beginMultiprotocol(start: number, type: number): number {
    const out = this.#out;
    let at = start;
    out[at++] = 0;
    out[at++] = 0;
    at += 2;
    out[at++] = optionalNonTransitive | attributeFlag.extendedLength;
    out[at++] = type;
    at += 2;
    out[at++] = 0;
    out[at++] = this.#afi;
    out[at++] = 1;
    return at;
  }

  #close(): void {
    if (!this.#open) return;
    this.#open = false;
    const out = this.#out;
    const body = this.#start + headerBytes;
    let at = this.#at;
    const withdraws = this.#kind === 'withdraw4';
    if (withdraws || this.#kind === 'announce4') {
      write16(out, body, withdraws ? at - body - 2 : 0);
      if (withdraws) {
        out[at++] = 0;
        out[at++] = 0;
      }
    } else {
      write16(out, body + 6, at - body - 8);
      if (this.#kind === 'announceMp') at = copy(this.#attributes, 0, this.#attributesLength, out, at);
      write16(out, body + 2, at - body - 4);
    }
    writeHeader(out, this.#start, at - this.#start, messageType.update);
    this.#start = at;
  }
}

function write16(out: Uint8Array, at: number, value: number): void {
  out[at] = value >> 8;
  out[at + 1] = value;
}

/**
 * Makes a packer that hands chunks of whole messages to `take`, which may keep them, at most {@link chunkBytesMax} each.
 *
 * @param bytesMax of one message: `messageBytesMax`, or `extendedMessageBytesMax` for peers that negotiated it.
 * @param withPathIds every prefix gets the `pathId` of the moment in front (RFC 7911 3). Default false.
 */
export function createUpdatePacker(
  take: (chunk: Uint8Array) => void,
  bytesMax = messageBytesMax,
  withPathIds = false,
): UpdatePacker {
  const taker: ChunkTaker = {
    take: (bytes, length) => take(length < bytes.length ? bytes.slice(0, length) : bytes),
  };
  return createUpdatePackerFor(taker, bytesMax, withPathIds);
}

/** The same for an object: where there are many packers, and each of their chunks counts. */
export function createUpdatePackerFor(taker: ChunkTaker, bytesMax: number, withPathIds: boolean): UpdatePacker {
  return new Packer(taker, bytesMax, withPathIds);
}
