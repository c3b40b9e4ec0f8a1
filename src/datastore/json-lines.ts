/**
 * Newline-delimited JSON as it comes off a stream -> one text a line. A line that spans chunks is joined once, when it
 * is complete, so that the cost is that of its bytes however it was cut.
 */

/** etcd takes objects of 1.5 MB by default; as JSON they are up to some three times that. */
const lineBytesMax = 8 * 1024 * 1024;
/** Kept of a longer line, to say which object it is. */
const headBytesMax = 16 * 1024;
const newline = 10;

export type JsonLine =
  | { readonly type: 'line'; readonly text: string }
  | { readonly type: 'oversized'; readonly head: string; readonly bytes: number };

export class JsonLines {
  readonly #lineBytesMax: number;
  #chunk: Buffer = Buffer.alloc(0);
  #offset = 0;
  /** The line under way, as far as it came in earlier chunks. */
  #parts: Buffer[] = [];
  #partBytes = 0;
  #skipping = false;

  constructor(options: { readonly lineBytesMax?: number } = {}) {
    this.#lineBytesMax = options.lineBytesMax ?? lineBytesMax;
  }

  /** Bytes that came without the newline that would end them. */
  get pendingBytes(): number {
    return this.#partBytes + this.#chunk.length - this.#offset;
  }

  /** The next bytes; `next` must have returned undefined before. */
  push(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#offset = 0;
  }

  /** The next complete line, blank ones left out; undefined when more bytes are needed. */
  next(): JsonLine | undefined {
    for (;;) {
      const end = this.#chunk.indexOf(newline, this.#offset);
      const from = this.#offset;
      if (end < 0) {
        this.#keep(this.#chunk.subarray(from));
        this.#offset = this.#chunk.length;
        return undefined;
      }
      this.#offset = end + 1;
      if (this.#parts.length === 0 && end - from <= this.#lineBytesMax) {
        if (end === from) continue;
        return { type: 'line', text: this.#chunk.toString('utf8', from, end) };
      }
      this.#keep(this.#chunk.subarray(from, end));
      return this.#finish();
    }
  }

  #keep(part: Buffer): void {
    if (part.length === 0) return;
    this.#partBytes += part.length;
    if (!this.#skipping) this.#parts.push(part);
    if (this.#partBytes <= this.#lineBytesMax || this.#skipping) return;
    this.#skipping = true;
    this.#parts = [Buffer.from(Buffer.concat(this.#parts).subarray(0, headBytesMax))];
  }

  #finish(): JsonLine {
    const line: JsonLine = this.#skipping
      ? { type: 'oversized', head: this.#parts[0]!.toString('utf8'), bytes: this.#partBytes }
      : { type: 'line', text: Buffer.concat(this.#parts, this.#partBytes).toString('utf8') };
    this.#parts = [];
    this.#partBytes = 0;
    this.#skipping = false;
    return line;
  }
}
