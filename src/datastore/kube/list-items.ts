/**
 * The answer to a list as it comes off a stream -> one text an item, and what stands around the items at the end: a list
 * of any length is never in memory as a whole. One pass over the bytes.
 */
import type { JsonLine } from '../json-lines.ts';

const itemBytesMax = 8 * 1024 * 1024;
const headBytesMax = 16 * 1024;
const [quote, backslash, comma, colon] = [0x22, 0x5c, 0x2c, 0x3a];
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];

export class ListItems {
  readonly #itemBytesMax: number;
  #chunk: Buffer = Buffer.alloc(0);
  #offset = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** The last string at depth 1 was "items" and a colon followed. */
  #key: number[] = [];
  #itemsNext = false;
  #inItems = false;
  readonly #around: Buffer[] = [];
  #item: Buffer[] | undefined;
  #itemBytes = 0;

  constructor(options: { readonly itemBytesMax?: number } = {}) {
    this.#itemBytesMax = options.itemBytesMax ?? itemBytesMax;
  }

  push(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#offset = 0;
  }

  /** The next complete item; undefined when more bytes are needed. */
  next(): JsonLine | undefined {
    const chunk = this.#chunk;
    let from = this.#offset;
    for (let i = from; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (this.#inString) {
        this.#stringByte(byte);
        continue;
      }
      if (byte === quote) {
        this.#inString = true;
        this.#key = [];
      } else if (byte === colon) {
        if (this.#depth === 1) this.#itemsNext = String.fromCharCode(...this.#key) === 'items';
      } else if (byte === comma) {
        if (this.#depth === 1) this.#itemsNext = false;
      } else if (byte === openBrace || byte === openBracket) {
        this.#depth++;
        if (this.#depth === 2 && byte === openBracket && this.#itemsNext) {
          this.#around.push(chunk.subarray(from, i + 1));
          this.#inItems = true;
          from = i + 1;
        } else if (this.#depth === 3 && this.#inItems) {
          this.#item = [];
          this.#itemBytes = 0;
          from = i;
        }
      } else if (byte === closeBrace || byte === closeBracket) {
        this.#depth--;
        if (this.#depth === 2 && this.#item) {
          this.#keep(chunk.subarray(from, i + 1));
          this.#offset = i + 1;
          return this.#finish();
        }
        if (this.#depth === 1 && this.#inItems) {
          this.#inItems = false;
          this.#itemsNext = false;
          from = i;
        }
      }
    }
    this.#rest(chunk.subarray(from));
    this.#offset = chunk.length;
    return undefined;
  }

  /** The answer without its items. */
  envelope(): string {
    return Buffer.concat(this.#around).toString('utf8');
  }

  #stringByte(byte: number): void {
    if (this.#escaped) this.#escaped = false;
    else if (byte === backslash) this.#escaped = true;
    else if (byte === quote) this.#inString = false;
    else if (this.#depth === 1 && this.#key.length < 8) this.#key.push(byte);
  }

  #rest(part: Buffer): void {
    if (this.#item) this.#keep(part);
    else if (!this.#inItems) this.#around.push(part);
  }

  #keep(part: Buffer): void {
    this.#itemBytes += part.length;
    if (this.#itemBytes <= this.#itemBytesMax) this.#item!.push(part);
    else this.#item = [Buffer.from(Buffer.concat(this.#item!).subarray(0, headBytesMax))];
  }

  #finish(): JsonLine {
    const item = Buffer.concat(this.#item!).toString('utf8');
    this.#item = undefined;
    if (this.#itemBytes <= this.#itemBytesMax) return { type: 'line', text: item };
    return { type: 'oversized', head: item, bytes: this.#itemBytes };
  }
}
