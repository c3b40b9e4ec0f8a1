/**
 * Framing between the shim and the agent; see the head of shim/poplin-cni.c. All numbers are u32 little endian.
 *
 *   request:  length, KEY=VALUE\0 ... \0, stdin       answer:  length, exit code, stdout       then one byte: the shim has the answer whole
 */
import type { Environment } from './request.ts';

/** Environment and stdin; the shim's own limit is the same. */
export const REQUEST_BYTES_MAX = 1 << 20;

export interface ShimRequest {
  readonly environment: Environment;
  readonly stdin: string;
}

/** What follows the length word (and what a queued DEL holds); undefined when it is no request. */
export function decodeRequest(bytes: Buffer): ShimRequest | undefined {
  const end = bytes.indexOf('\0\0');
  if (end < 0) return undefined;
  const pairs = bytes
    .toString('utf8', 0, end)
    .split('\0')
    .map((text): [string, string] => {
      const at = text.indexOf('=');
      return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
    });
  return { environment: Object.fromEntries(pairs), stdin: bytes.toString('utf8', end + 2) };
}

export function encodeAnswer(exitCode: number, stdout: string): Buffer {
  const body = Buffer.from(stdout);
  const bytes = Buffer.alloc(8 + body.length);
  bytes.writeUInt32LE(4 + body.length, 0);
  bytes.writeUInt32LE(exitCode, 4);
  body.copy(bytes, 8);
  return bytes;
}

/** Collects the bytes of one request. */
export class RequestReader {
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  /** Copies `chunk`. @returns whether the request is whole. @throws RangeError when it is too long or has more behind it. */
  push(chunk: Buffer): boolean {
    this.#chunks.push(Buffer.from(chunk));
    this.#bytes += chunk.length;
    if (this.#bytes < 4) return false;
    const whole = 4 + this.#all().readUInt32LE(0);
    if (whole > 4 + REQUEST_BYTES_MAX || this.#bytes > whole) throw new RangeError(`request of ${whole} bytes`);
    return this.#bytes === whole;
  }
  /** Behind the length word. */
  body(): Buffer {
    return this.#all().subarray(4);
  }
  /** At most REQUEST_BYTES_MAX in pieces of 64 KB: joining once a piece is cheap. */
  #all(): Buffer {
    if (this.#chunks.length > 1) this.#chunks.splice(0, this.#chunks.length, Buffer.concat(this.#chunks));
    return this.#chunks[0] ?? Buffer.alloc(0);
  }
}
