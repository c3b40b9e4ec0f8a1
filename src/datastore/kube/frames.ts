/**
 * Length-prefixed frames (4 bytes, big-endian) as they come off a stream: how Kubernetes frames watch events in protobuf. A
 * frame that spans chunks is joined once, when it is complete.
 */

const prefixBytes = 4;
/** See ../json-lines.ts. */
const frameBytesMax = 8 * 1024 * 1024;

export type Frame =
  | { readonly type: 'frame'; readonly bytes: Buffer }
  | { readonly type: 'oversized'; readonly bytes: number };

export class Frames {
  readonly #frameBytesMax: number;
  #chunk: Buffer = Buffer.alloc(0);
  #offset = 0;
  /** The frame under way, prefix and all, as far as it came in earlier chunks. */
  #parts: Buffer[] = [];
  #partBytes = 0;
  /** Of the frame under way, or of its prefix while its length is not known. */
  #neededBytes = prefixBytes;
  /** Of an oversized frame: still to come. */
  #skipBytes = 0;

  constructor(options: { readonly frameBytesMax?: number } = {}) {
    this.#frameBytesMax = options.frameBytesMax ?? frameBytesMax;
  }

  /** Bytes that came of a frame that is not complete. */
  get pendingBytes(): number {
    return this.#partBytes + this.#skipBytes;
  }

  /** The next bytes; `next` must have returned undefined before. */
  push(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#offset = 0;
  }

  /** The next complete frame; undefined when more bytes are needed. */
  next(): Frame | undefined {
    this.#skip();
    if (this.#partBytes > 0) return this.#continued();
    const left = this.#chunk.length - this.#offset;
    if (left < prefixBytes) return this.#keep(left, prefixBytes);
    const length = this.#chunk.readUInt32BE(this.#offset);
    if (length > this.#frameBytesMax) {
      this.#offset += prefixBytes;
      return this.#oversized(length);
    }
    if (left < prefixBytes + length) return this.#keep(left, prefixBytes + length);
    const from = this.#offset + prefixBytes;
    this.#offset = from + length;
    return { type: 'frame', bytes: this.#chunk.subarray(from, this.#offset) };
  }

  #continued(): Frame | undefined {
    for (;;) {
      const take = Math.min(this.#neededBytes - this.#partBytes, this.#chunk.length - this.#offset);
      this.#keep(take, this.#neededBytes);
      if (this.#partBytes < this.#neededBytes) return undefined;
      const joined = Buffer.concat(this.#parts, this.#partBytes);
      const length = joined.readUInt32BE(0);
      this.#parts = [];
      this.#partBytes = 0;
      if (length > this.#frameBytesMax) return this.#oversized(length);
      if (this.#neededBytes === prefixBytes + length) return { type: 'frame', bytes: joined.subarray(prefixBytes) };
      this.#parts = [joined];
      this.#partBytes = joined.length;
      this.#neededBytes = prefixBytes + length;
    }
  }

  #keep(bytes: number, neededBytes: number): undefined {
    this.#neededBytes = neededBytes;
    if (bytes === 0) return;
    this.#parts.push(this.#chunk.subarray(this.#offset, this.#offset + bytes));
    this.#partBytes += bytes;
    this.#offset += bytes;
  }

  #oversized(length: number): Frame {
    this.#skipBytes = length;
    this.#skip();
    return { type: 'oversized', bytes: length };
  }

  #skip(): void {
    const here = Math.min(this.#skipBytes, this.#chunk.length - this.#offset);
    this.#skipBytes -= here;
    this.#offset += here;
  }
}
