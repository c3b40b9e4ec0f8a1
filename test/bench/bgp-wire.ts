/**
 * What the BGP codec costs, single-threaded, without sockets or RIB: framing and decoding a full table as one speaker sends
 * it in chunks of 256 kB, and packing it again. Prints one JSON object with medians of RUNS (default 5) runs over PREFIXES
 * (default 1,000,000) prefixes.
 *
 * The table is Internet-like: 4.5 prefixes an update, and every update has attributes of its own.
 */
import assert from 'node:assert/strict';
import { wire } from '#bgp';

const prefixesWanted = Number(process.env['PREFIXES'] ?? 1_000_000);
const runs = Number(process.env['RUNS'] ?? 5);
const chunkBytes = 256 * 1024;

const context: wire.UpdateContext = {
  asn4: true,
  ipv4: true,
  ipv6: true,
  ebgp: true,
  localAsn: 64512,
  peerAsn: 64513,
  localRouterId: 1,
};
const nextHop = Uint8Array.of(192, 0, 2, 1);

/** Updates of 2 to 7 prefixes with 2 to 6 ASes and 0 to 11 communities, as one stream. */
function makeStream(): { chunks: Uint8Array[]; bytes: number; updates: number } {
  const parts: Uint8Array[] = [];
  const packer = wire.createUpdatePacker((chunk) => parts.push(chunk.slice()));
  const attributes = wire.createExportedAttributes();
  let seed = 1;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 4294967296) * below);
  };
  const u32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
  let prefix = 0;
  for (let set = 0; prefix < prefixesWanted; set++) {
    const path = [64513, ...Array.from({ length: 1 + random(5) }, () => 1 + random(400_000))];
    const communities = Array.from({ length: random(12) }, () => random(0xf0000000)).flatMap(u32);
    const octets = [0x40, 1, 1, 0, 0x40, 2, 2 + 4 * path.length, 2, path.length, ...path.flatMap(u32)];
    attributes.split = octets.length;
    if (communities.length > 0) octets.push(0xc0, 8, communities.length, ...communities);
    octets.push(0xc0, 32, 12, ...u32(64513), ...u32(set), ...u32(1));
    attributes.bytes.set(octets);
    attributes.length = octets.length;
    assert.ok(packer.startAnnounce(4, attributes, nextHop));
    for (let n = 2 + random(6); n > 0 && prefix < prefixesWanted; n--, prefix++) {
      packer.add4((0x01000000 + prefix * 256) >>> 0, 24);
    }
  }
  packer.flush();
  const stream = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    stream.set(part, at);
    at += part.length;
  }
  const chunks: Uint8Array[] = [];
  for (let from = 0; from < stream.length; from += chunkBytes) chunks.push(stream.slice(from, from + chunkBytes));
  return { chunks, bytes: stream.length, updates: packer.messageCount };
}

type Level = 'frame' | 'decode' | 'prefixes' | 'canonical' | 'relay';
const levels: readonly Level[] = ['frame', 'decode', 'prefixes', 'canonical', 'relay'];

/** Seconds to take the stream in up to `level`; each level does all that stands before it. */
function run(chunks: readonly Uint8Array[], level: Level): number {
  const depth = levels.indexOf(level);
  const framer = wire.createFramer();
  const view = wire.createUpdateView();
  const cursor = wire.createPrefixCursor();
  const canonical = new Uint8Array(wire.canonicalAttributesBytesMax);
  const exported = wire.createExportedAttributes();
  const toPeer: wire.ExportContext = { ebgp: true, asn4: true, localAsn: 64512, keepMed: false };
  let sent = 0;
  const packer = wire.createUpdatePacker((chunk) => {
    sent += chunk.length;
  });
  let prefixes = 0;
  const onFrame: wire.FrameHandler = (_type, bytes, start, end) => {
    if (depth < 1) return true;
    assert.equal(wire.decodeUpdate(view, context, bytes, start, end), 'accept');
    if (depth >= 3) {
      const length = wire.canonicalAttributes(view, canonical, 0);
      if (depth >= 4) {
        wire.exportAttributes(canonical, 0, length, toPeer, exported);
        packer.startAnnounce(4, exported, nextHop);
      }
    }
    if (depth >= 2) {
      cursor.reset(4, bytes, view.nlriStart, view.nlriEnd);
      while (cursor.next()) {
        prefixes++;
        if (depth >= 4) packer.add4(cursor.words[0]!, cursor.bits);
      }
    }
    return true;
  };
  const start = performance.now();
  for (const chunk of chunks) assert.equal(framer.push(chunk, onFrame), undefined);
  packer.flush();
  const seconds = (performance.now() - start) / 1000;
  if (depth >= 2) assert.ok(prefixes > 0.9 * prefixesWanted);
  if (depth >= 4) assert.ok(sent > 0);
  return seconds;
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1]!;
}

const { chunks, bytes, updates } = makeStream();
const result: Record<string, unknown> = {
  bench: 'bgp-wire',
  prefixCount: prefixesWanted,
  updateCount: updates,
  bytes,
  runs,
};
for (const level of levels) {
  run(chunks, level);
  const seconds = median(Array.from({ length: runs }, () => run(chunks, level)));
  result[level] = {
    seconds: Number(seconds.toFixed(4)),
    megabytesPerSec: Math.round(bytes / 1e6 / seconds),
    nanosecondsPerUpdate: Math.round((seconds * 1e9) / updates),
  };
}
console.log(JSON.stringify(result, null, 2));
