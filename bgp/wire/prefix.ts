/**
 * Prefixes on the wire, RFC 4271 4.3: a length in bits and as many octets as hold it; with ADD-PATH a path identifier of
 * four octets before each (RFC 7911 3).
 *
 * The cursor costs some nanoseconds a prefix and allocates nothing.
 */
import type { IpFamily } from '#kit';
import { read32 } from './bytes.ts';
import type { PrefixCursor } from './types.ts';

/** Octets of a path identifier. */
const pathIdBytes = 4;

/**
 * Whether `bytes[start..end)` is a sequence of whole prefixes of at most 32 or 128 bits.
 *
 * @param withPathIds each has a path identifier in front, and one without a prefix behind it is malformed.
 */
export function prefixesWellFormed(
  family: IpFamily,
  bytes: Uint8Array,
  start: number,
  end: number,
  withPathIds: boolean,
): boolean {
  const bitsMax = family === 4 ? 32 : 128;
  const idBytes = withPathIds ? pathIdBytes : 0;
  let at = start;
  while (at < end) {
    at += idBytes;
    if (at >= end) return false;
    const bits = bytes[at]!;
    if (bits > bitsMax) return false;
    at += 1 + ((bits + 7) >> 3);
  }
  return at === end;
}

class Cursor implements PrefixCursor {
  readonly words = new Int32Array(4);
  bits = 0;
  pathId = 0;
  ignoredCount = 0;
  #source: Uint8Array = new Uint8Array(0);
  #at = 0;
  #stop = 0;
  #family: IpFamily = 4;
  #withIds = false;

  reset(family: IpFamily, bytes: Uint8Array, start: number, end: number, withPathIds = false): void {
    this.#family = family;
    this.#withIds = withPathIds;
    this.#source = bytes;
    this.#at = start;
    this.#stop = end;
    this.pathId = 0;
    this.ignoredCount = 0;
  }

  next(): boolean {
    const { words } = this;
    const source = this.#source;
    const stop = this.#stop;
    while (this.#at < stop) {
      let at = this.#at;
      if (this.#withIds) {
        // RFC 7911 3: opaque, 0 included.
        if (at + pathIdBytes >= stop) throw new RangeError('path identifiers were not checked before they were read');
        this.pathId = read32(source, at);
        at += pathIdBytes;
      }
      const bits = source[at]!;
      const first = at + 1;
      at = first + ((bits + 7) >> 3);
      if (at > stop) throw new RangeError('prefixes were not checked before they were read');
      this.#at = at;
      this.bits = bits;
      if (this.#family === 4) {
        const word = readWord(source, first, bits);
        if (ignored4(word, bits)) this.ignoredCount++;
        else {
          words[0] = word;
          return true;
        }
      } else {
        words[0] = readWord(source, first, bits);
        words[1] = readWord(source, first + 4, bits - 32);
        words[2] = readWord(source, first + 8, bits - 64);
        words[3] = readWord(source, first + 12, bits - 96);
        if (ignored6(words, bits)) this.ignoredCount++;
        else return true;
      }
    }
    return false;
  }
}

export function createPrefixCursor(): PrefixCursor {
  return new Cursor();
}

/** 32 bits at `at` of which the first `bits` count and are there (RFC 4271 4.3: the rest is irrelevant). */
function readWord(bytes: Uint8Array, at: number, bits: number): number {
  if (bits >= 32) return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
  if (bits <= 0) return 0;
  let word = bytes[at]! << 24;
  if (bits > 8) word |= bytes[at + 1]! << 16;
  if (bits > 16) word |= bytes[at + 2]! << 8;
  if (bits > 24) word |= bytes[at + 3]!;
  return word & (-1 << (32 - bits));
}

/** Multicast 224/4 and loopback 127/8: semantically wrong, ignored one by one (RFC 4271 6.3). */
function ignored4(word: number, bits: number): boolean {
  return (bits >= 4 && word >>> 28 === 0xe) || (bits >= 8 && word >>> 24 === 127);
}

/** Multicast ff00::/8, loopback ::1, and link-local fe80::/10, which no router may forward (RFC 4291 2.5.6). */
function ignored6(words: Int32Array, bits: number): boolean {
  const first = words[0]!;
  if (bits >= 8 && first >>> 24 === 0xff) return true;
  if (bits >= 10 && first >>> 22 === 0x3fa) return true;
  return bits === 128 && words[3] === 1 && words[2] === 0 && words[1] === 0 && first === 0;
}
