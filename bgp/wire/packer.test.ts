/** Packing against a plain reading of what comes out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  canonicalAttributes,
  createExportedAttributes,
  createFramer,
  createPrefixCursor,
  createUpdatePacker,
  createUpdatePackerFor,
  createUpdateView,
  decodeUpdate,
  exportAttributes,
  originatedAttributes,
} from './index.ts';
import { ebgp, global6, hexOf, ibgp } from './test-messages.ts';
import type { UpdateContext } from './types.ts';

const next4 = Uint8Array.of(192, 0, 2, 9);
const next6 = Uint8Array.from(global6);
const linkLocal = [0xfe, 0x80, ...new Array<number>(13).fill(0), 9];
const pair6 = Uint8Array.from([...global6, ...linkLocal]);
const extended: UpdateContext = { ...ibgp, extendedNextHop: true };

function exportedOf(communities: readonly number[]) {
  const out = createExportedAttributes();
  const bytes = originatedAttributes({ communities });
  const context = { ebgp: false, asn4: true, localAsn: 64512, keepMed: false };
  assert.ok(exportAttributes(bytes, 0, bytes.length, context, out));
  return out;
}

/** Reads chunks back as `family announce|withdraw prefix attributes nextHop`, and checks each message. */
function readBack(
  chunks: readonly Uint8Array[],
  context: UpdateContext = ibgp,
): { events: string[]; messages: number } {
  const view = createUpdateView();
  const cursor = createPrefixCursor();
  const framer = createFramer();
  const events: string[] = [];
  const scratch = new Uint8Array(9000);
  let messages = 0;
  const list = (family: 4 | 6, bytes: Uint8Array, start: number, end: number, what: string) => {
    cursor.reset(family, bytes, start, end);
    while (cursor.next()) {
      const words = [...cursor.words].slice(0, family === 4 ? 1 : 4).map((w) => (w >>> 0).toString(16));
      events.push(`${family} ${words.join(':')}/${cursor.bits} ${what}`);
    }
    assert.equal(cursor.ignoredCount, 0);
  };
  for (const chunk of chunks) {
    assert.ok(chunk.length <= 256 * 1024);
    const error = framer.push(chunk, (type, bytes, start, end) => {
      messages++;
      assert.equal(type, 2);
      assert.ok(end - start <= 4096);
      assert.equal(decodeUpdate(view, context, bytes, start, end), 'accept', view.error?.reason);
      const attributes = hexOf(scratch.subarray(0, canonicalAttributes(view, scratch, 0)));
      if (view.endOfRib) events.push(`${view.endOfRib} end-of-rib`);
      list(4, bytes, view.withdrawnStart, view.withdrawnEnd, 'withdraw');
      if (view.mpUnreachFamily) list(view.mpUnreachFamily, bytes, view.mpUnreachStart, view.mpUnreachEnd, 'withdraw');
      if (view.nlriEnd > view.nlriStart) {
        const next = hexOf(bytes.subarray(view.nextHopStart, view.nextHopStart + 4));
        list(4, bytes, view.nlriStart, view.nlriEnd, `${attributes} ${next}`);
      }
      if (view.mpReachFamily) {
        assert.equal(bytes[start + 24], 14, 'MP_REACH is the first attribute (RFC 7606 5.1)');
        const next = hexOf(bytes.subarray(view.mpNextHopStart, view.mpNextHopStart + view.mpNextHopLength));
        list(view.mpReachFamily, bytes, view.mpReachNlriStart, view.mpReachNlriEnd, `${attributes} ${next}`);
      }
      return true;
    });
    assert.equal(error, undefined);
    assert.equal(framer.pendingBytes, 0, 'a chunk is whole messages');
  }
  return { events, messages };
}

interface Batch {
  readonly kind: 'announce' | 'withdraw' | 'end';
  readonly family: 4 | 6;
  readonly nextHop: Uint8Array;
  readonly communities: readonly number[];
  readonly prefixes: readonly { readonly words: readonly number[]; readonly bits: number }[];
}

/** Prefixes out of 10/8 and 2000::/4, host bits clear. */
const prefixOf = (family: 4 | 6) =>
  fc
    .tuple(fc.array(fc.integer(), { minLength: 4, maxLength: 4 }), fc.integer({ min: 8, max: family === 4 ? 32 : 128 }))
    .map(([random, bits]) => {
      const words = random.slice(0, family === 4 ? 1 : 4).map((w, i) => {
        const kept = Math.min(32, Math.max(0, bits - 32 * i));
        const first = i > 0 ? w : family === 4 ? (w & 0xffffff) | 0x0a000000 : (w & 0xfffffff) | 0x20000000;
        return kept === 0 ? 0 : first & (-1 << (32 - kept));
      });
      return { words, bits };
    });
const batchOf = (family: 4 | 6): fc.Arbitrary<Batch> =>
  fc.record({
    kind: fc.constantFrom('announce', 'announce', 'withdraw', 'end'),
    family: fc.constant(family),
    nextHop: family === 4 ? fc.constantFrom(next4, next4, next6, pair6) : fc.constantFrom(next6, pair6),
    communities: fc.uniqueArray(fc.integer({ min: 1, max: 1000 }), { maxLength: 600 }),
    prefixes: fc
      .tuple(fc.array(prefixOf(family), { minLength: 1, maxLength: 20 }), fc.integer({ min: 1, max: 100 }))
      .map(([list, times]) => new Array(times).fill(list).flat()),
  });

test('everything packed comes out again, in order, in messages of at most 4096 octets (RFC 4760, RFC 8950)', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(batchOf(4), batchOf(6)), { maxLength: 8 }), (batches) => {
      const chunks: Uint8Array[] = [];
      const packer = createUpdatePacker((chunk) => chunks.push(chunk));
      const wanted: string[] = [];
      for (const { kind, family, nextHop: next, communities, prefixes } of batches) {
        if (kind === 'end') {
          packer.endOfRib(family);
          wanted.push(`${family} end-of-rib`);
          continue;
        }
        const exported = exportedOf(communities);
        const attributes = hexOf(exported.bytes.subarray(0, exported.length));
        if (kind === 'announce') assert.ok(packer.startAnnounce(family, exported, next));
        else packer.startWithdraw(family, next.length > 4);
        exported.bytes.fill(0xee); // the caller's buffer is free for the next set
        for (const { words, bits } of prefixes) {
          if (family === 4) packer.add4(words[0]!, bits);
          else packer.add6(words[0]!, words[1]!, words[2]!, words[3]!, bits);
          const what = kind === 'withdraw' ? 'withdraw' : `${attributes} ${hexOf(next)}`;
          wanted.push(`${family} ${words.map((w) => (w >>> 0).toString(16)).join(':')}/${bits} ${what}`);
        }
      }
      packer.flush();
      const { events, messages } = readBack(chunks, extended);
      assert.deepEqual(events, wanted);
      assert.equal(messages, packer.messageCount);
      assert.equal(packer.prefixCount, wanted.filter((w) => !w.endsWith('end-of-rib')).length);
    }),
    { numRuns: 60 },
  );
});

test('messages are full: no room is left for another prefix', () => {
  for (const [family, overhead, size] of [
    [4, 23 + 7, 4],
    [6, 23 + 4 + 5 + 16, 9],
  ] as const) {
    const chunks: Uint8Array[] = [];
    const packer = createUpdatePacker((chunk) => chunks.push(chunk));
    const exported = exportedOf([]);
    packer.startAnnounce(family, exported, family === 4 ? next4 : next6);
    const perMessage = Math.floor((4096 - overhead - exported.length) / size);
    for (let i = 0; i < 3 * perMessage; i++) {
      if (family === 4) packer.add4(0x0a000000 | (i << 8), 24);
      else packer.add6(0x20010db8, i, 0, 0, 64);
    }
    packer.flush();
    assert.equal(packer.messageCount, 3);
    assert.equal(readBack(chunks).events.length, 3 * perMessage);
  }
});

test('withdrawals are packed as tightly', () => {
  const chunks: Uint8Array[] = [];
  const packer = createUpdatePacker((chunk) => chunks.push(chunk));
  packer.startWithdraw(4);
  for (let i = 0; i < 2 * 1018; i++) packer.add4(0x0a000000 | (i << 8), 24);
  packer.startWithdraw(6);
  for (let i = 0; i < 2 * 451; i++) packer.add6(0x20010db8, i, 0, 0, 64);
  packer.flush();
  assert.equal(packer.messageCount, 4);
});

test('large output comes in chunks that stay as they were handed over', () => {
  const chunks: Uint8Array[] = [];
  const packer = createUpdatePacker((chunk) => chunks.push(chunk));
  for (let set = 0; set < 12_000; set++) {
    packer.startAnnounce(4, exportedOf([set + 1]), next4);
    packer.add4(0x0a000000 | (set << 8), 24);
  }
  packer.flush();
  assert.ok(chunks.length >= 3, `${chunks.length} chunks`);
  const { events } = readBack(chunks);
  assert.equal(new Set(events).size, 12_000);
});

test('a single change is lent, from the same octets each time; what is longer belongs to who takes it', () => {
  const taken: { bytes: Uint8Array; length: number }[] = [];
  const packer = createUpdatePackerFor({ take: (bytes, length) => taken.push({ bytes, length }) }, 4096, false);
  const change = (prefixes: number): void => {
    packer.startWithdraw(4);
    for (let i = 0; i < prefixes; i++) packer.add4(0x0a000000 | (i << 8), 24);
    packer.flush();
  };
  for (const prefixes of [1, 200, 400, 100_000]) change(prefixes);
  const [first, second, ...rest] = taken;
  assert.deepEqual([first!.length, second!.length], [23 + 4, 23 + 800]);
  assert.equal(first!.bytes, second!.bytes);
  for (const { bytes, length } of rest) assert.equal(bytes.length, length);
  assert.equal(rest[0]!.length, 23 + 1600);
});

test('attributes that leave no room for a prefix are refused', () => {
  const packer = createUpdatePacker(() => assert.fail('nothing to send'));
  const large = exportedOf(Array.from({ length: 1010 }, (_, i) => i + 1));
  assert.equal(packer.startAnnounce(4, large, next4), true);
  assert.equal(packer.startAnnounce(6, large, next6), false);
  packer.flush();
  assert.throws(() => packer.add6(0, 0, 0, 0, 0), /startAnnounce/);
});

test('RFC 8950 4: IPv4 with an IPv6 next hop stands in MP_REACH_NLRI, its withdrawal in MP_UNREACH_NLRI', () => {
  const chunks: Uint8Array[] = [];
  const packer = createUpdatePacker((chunk) => chunks.push(chunk));
  packer.startAnnounce(4, exportedOf([]), pair6);
  packer.add4(0x0a010200, 24);
  packer.startWithdraw(4, true);
  packer.add4(0x0a010300, 24);
  packer.flush();
  const text = hexOf(chunks[0]!);
  assert.ok(text.includes(`900e0029${'000101'}20${hexOf(pair6)}00180a0102`), text);
  assert.ok(text.endsWith('900f0007000101180a0103'), text);
});

test('an announcement to eBGP is a good update to the far side', () => {
  const chunks: Uint8Array[] = [];
  const packer = createUpdatePacker((chunk) => chunks.push(chunk));
  const out = createExportedAttributes();
  const own = originatedAttributes({});
  exportAttributes(own, 0, own.length, { ebgp: true, asn4: true, localAsn: 64513, keepMed: true }, out);
  packer.startAnnounce(6, out, next6);
  packer.add6(0x20010db8, 0, 0, 0, 32);
  packer.flush();
  assert.equal(readBack(chunks, ebgp).events.length, 1);
});
