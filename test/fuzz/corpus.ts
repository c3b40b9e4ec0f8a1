/** Messages to begin with: what others recorded (test/fixtures/bgp), and files that somebody names. */
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';

const fixtures = path.join(import.meta.dirname, '../fixtures/bgp');

const marker = Buffer.alloc(16, 0xff);
const updateType = 2;

/** Whole messages in `bytes`; what is none is taken as the body of an UPDATE. */
function messagesIn(bytes: Buffer): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let at = bytes.indexOf(marker); at >= 0 && at + 19 <= bytes.length; at = bytes.indexOf(marker, at + 16)) {
    const length = bytes.readUInt16BE(at + 16);
    out.push(Uint8Array.from(bytes.subarray(at, Math.min(bytes.length, at + Math.max(length, 19)))));
  }
  if (out.length > 0 || bytes.length > 4000) return out;
  const length = 19 + bytes.length;
  return [Uint8Array.from([...marker, length >> 8, length & 255, updateType, ...bytes])];
}

export interface Corpus {
  readonly updates: readonly Uint8Array[];
  readonly opens: readonly Uint8Array[];
  readonly all: readonly Uint8Array[];
}

/** @param folder files of octets in any form that holds BGP messages (captures, dumps, single messages). */
export function loadCorpus(folder?: string): Corpus {
  const all: Uint8Array[] = [];
  for (const name of fs.readdirSync(fixtures).filter((file) => file.endsWith('.jsonl.gz'))) {
    const text = zlib.gunzipSync(fs.readFileSync(path.join(fixtures, name))).toString();
    for (const line of text.trim().split('\n')) {
      all.push(...messagesIn(Buffer.from((JSON.parse(line) as { hex: string }).hex, 'hex')));
    }
  }
  if (folder !== undefined) {
    for (const entry of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const bytes = fs.readFileSync(path.join(entry.parentPath, entry.name));
      all.push(...messagesIn(entry.name.endsWith('.gz') ? zlib.gunzipSync(bytes) : bytes));
    }
  }
  return {
    all,
    updates: all.filter((bytes) => bytes[18] === updateType),
    opens: all.filter((bytes) => bytes[18] === 1),
  };
}
