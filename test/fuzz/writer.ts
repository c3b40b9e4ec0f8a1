/** Octets one after the other into one buffer that is used again and again. */

export class Writer {
  readonly bytes: Uint8Array;
  length = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
  }
  /** What does not fit is lost: a fuzzer's messages end at the longest there can be. */
  u8(value: number): void {
    if (this.length < this.bytes.length) this.bytes[this.length++] = value;
  }
  u16(value: number): void {
    this.u8(value >> 8);
    this.u8(value);
  }
  u32(value: number): void {
    this.u16(value >>> 16);
    this.u16(value);
  }
  raw(octets: ArrayLike<number>): void {
    for (let i = 0; i < octets.length; i++) this.u8(octets[i]!);
  }
  /** Writes 16 bits where a place was left for them. */
  patch16(at: number, value: number): void {
    if (at + 1 >= this.bytes.length) return;
    this.bytes[at] = value >> 8;
    this.bytes[at + 1] = value;
  }
  /** Room for a header, at the start of a message. */
  header(type: number): void {
    this.length = 0;
    for (let i = 0; i < 16; i++) this.u8(0xff);
    this.u16(0);
    this.u8(type);
  }
  /** A copy with the length in the header. */
  message(): Uint8Array {
    this.patch16(16, this.length);
    return this.bytes.slice(0, this.length);
  }
}
