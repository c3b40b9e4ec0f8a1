/** A growing buffer of big-endian numbers, for messages whose length is known last. */

export class ByteWriter {
  #bytes: Uint8Array;
  length = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
  }

  u8(value: number): this {
    this.#room(1);
    this.#bytes[this.length++] = value;
    return this;
  }
  u16(value: number): this {
    this.#room(2);
    this.#bytes[this.length++] = value >> 8;
    this.#bytes[this.length++] = value;
    return this;
  }
  u32(value: number): this {
    this.#room(4);
    this.#put32(this.length, value);
    this.length += 4;
    return this;
  }
  /** A whole number up to 2^53. */
  u64(value: number): this {
    return this.u32(Math.floor(value / 0x1_0000_0000)).u32(value % 0x1_0000_0000);
  }
  bytes(from: Uint8Array, start = 0, end: number = from.length): this {
    const count = end - start;
    this.#room(count);
    // A plain loop: most of what is copied are some tens of bytes.
    if (count > 128) this.#bytes.set(from.subarray(start, end), this.length);
    else for (let i = 0; i < count; i++) this.#bytes[this.length + i] = from[start + i]!;
    this.length += count;
    return this;
  }
  zeros(count: number): this {
    this.#room(count);
    this.#bytes.fill(0, this.length, this.length + count);
    this.length += count;
    return this;
  }
  /** Overwrites what was written at `at`. */
  patch16(at: number, value: number): void {
    this.#bytes[at] = value >> 8;
    this.#bytes[at + 1] = value;
  }
  patch32(at: number, value: number): void {
    this.#put32(at, value);
  }
  /** A copy of what was written; the writer is empty afterwards and keeps its buffer. */
  take(): Uint8Array {
    const out = this.#bytes.slice(0, this.length);
    this.length = 0;
    return out;
  }

  #put32(at: number, value: number): void {
    const out = this.#bytes;
    out[at] = value >>> 24;
    out[at + 1] = value >>> 16;
    out[at + 2] = value >>> 8;
    out[at + 3] = value;
  }
  #room(count: number): void {
    const wanted = this.length + count;
    if (wanted <= this.#bytes.length) return;
    const bigger = new Uint8Array(Math.max(wanted, 2 * this.#bytes.length));
    bigger.set(this.#bytes.subarray(0, this.length));
    this.#bytes = bigger;
  }
}
