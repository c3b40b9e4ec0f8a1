/** BFD control packets and MRT files under fuzz: their decoders take anything, and what they took is written again the same. */
import assert from 'node:assert/strict';
import { controlPacketBytes, decodeControlPacket, emptyControlPacket, encodeControlPacket, mrt } from '#bgp';
import { CaseError, type Target } from './codec-targets.ts';
import type { Corpus } from './corpus.ts';
import type { Random } from './random.ts';
import { Writer } from './writer.ts';

const packet = emptyControlPacket();
const encoded = new Uint8Array(controlPacketBytes);

function checkBfd(bytes: Uint8Array): void {
  if (decodeControlPacket(bytes, bytes.length, packet) !== undefined) return;
  assert.ok(packet.detectMult > 0 && packet.myDiscriminator > 0);
  encodeControlPacket(packet, encoded);
  const expected = bytes.slice(0, controlPacketBytes);
  expected[3] = controlPacketBytes; // octets behind a packet without authentication are nothing to us
  assert.ok(Buffer.from(encoded).equals(expected), 'encode(decode(x)) is x');
}

function generateBfd(random: Random): Uint8Array {
  const length = random.oneIn(10) ? random.below(40) : controlPacketBytes;
  const bytes = Uint8Array.from({ length }, () => (random.oneIn(3) ? random.below(4) : random.below(256)));
  if (length < 4) return bytes;
  if (!random.oneIn(10)) bytes[0] = 0x20 | (bytes[0]! & 0x1f);
  if (!random.oneIn(4)) bytes[1]! &= 0xfa;
  if (!random.oneIn(10)) bytes[3] = length;
  return bytes;
}

function octets(out: Writer, random: Random, count: number): void {
  for (let i = 0; i < count; i++) out.u8(random.oneIn(2) ? random.below(3) : random.below(256));
}

/** The body of a BGP4MP record (RFC 6396 4.4), mostly as its subtype says. */
function bgp4mp(out: Writer, random: Random, corpus: Corpus, subtype: number): void {
  const wide = subtype >= 4 && subtype !== 6;
  octets(out, random, wide ? 8 : 4);
  out.u16(random.below(4));
  const afi = random.oneIn(12) ? random.below(5) : 1 + random.below(2);
  out.u16(afi);
  octets(out, random, random.oneIn(20) ? random.below(40) : afi === 1 ? 8 : 32);
  if (subtype === 0 || subtype === 5) octets(out, random, 4);
  else out.raw(random.pick(corpus.all));
}

/** The body of a TABLE_DUMP_V2 record (RFC 6396 4.3): the index of peers, or the paths of a prefix. */
function tableDump(out: Writer, random: Random, subtype: number): void {
  out.u32(random.below(9));
  if (subtype === 1) out.u16(0);
  else octets(out, random, 1 + random.below(4));
  const entries = random.below(4);
  out.u16(random.oneIn(20) ? random.below(300) : entries);
  for (let i = 0; i < entries; i++) {
    if (subtype === 1) {
      const type = random.below(4);
      out.u8(type);
      octets(out, random, 4 + ((type & 1) === 0 ? 4 : 16) + ((type & 2) === 0 ? 2 : 4));
    } else {
      out.u16(random.below(4));
      out.u32(1_700_000_000);
      const length = random.below(12);
      out.u16(random.oneIn(20) ? random.below(400) : length);
      octets(out, random, length);
    }
  }
}

/** Some records, with lengths and octets that lie now and then. */
function generateMrt(random: Random, corpus: Corpus): Uint8Array {
  const out = new Writer(20_000);
  const records = 1 + random.below(4);
  for (let i = 0; i < records; i++) {
    const type = random.oneIn(10) ? random.below(70) : random.pick([13, 16, 17]);
    const subtype = random.oneIn(10) ? random.below(300) : type === 13 ? 1 + random.below(6) : random.below(12);
    out.u32(1_700_000_000);
    out.u16(type);
    out.u16(subtype);
    const lengthAt = out.length;
    out.u32(0);
    const body = out.length;
    if (type === 17) out.u32(random.below(1_000_000));
    if (type === 13) tableDump(out, random, subtype);
    else if (type === 16 || type === 17) bgp4mp(out, random, corpus, subtype);
    else octets(out, random, random.below(60));
    const length = out.length - body + (random.oneIn(20) ? random.below(400) - 200 : 0);
    out.patch16(lengthAt, random.oneIn(200) ? random.below(0x10000) : 0);
    out.patch16(lengthAt + 2, Math.max(0, length));
  }
  return out.bytes.slice(0, out.length);
}

function checkMrt(bytes: Uint8Array): void {
  let count = 0;
  for (const record of mrt.readMrt(bytes)) {
    assert.equal(typeof record.type, 'string');
    count++;
  }
  assert.ok(count <= bytes.length / 12 + 1, 'no record without octets');
}

export function otherTargets(corpus: Corpus): Target[] {
  const target = (
    name: string,
    share: number,
    make: (random: Random) => Uint8Array,
    check: (bytes: Uint8Array) => void,
  ): Target => ({
    name,
    share,
    run(random) {
      const bytes = make(random);
      try {
        check(bytes);
      } catch (error) {
        throw new CaseError(bytes, error);
      }
      return 1;
    },
  });
  return [target('bfd', 3, generateBfd, checkBfd), target('mrt', 2, (random) => generateMrt(random, corpus), checkMrt)];
}
