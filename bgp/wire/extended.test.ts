/** Messages of more than 4096 octets (RFC 8654): cut from the stream, read, and packed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  canonicalAttributes,
  canonicalAttributesBytesMax,
  createExportedAttributes,
  createFramer,
  createPrefixCursor,
  createUpdatePacker,
  createUpdateView,
  decodeUpdate,
  encodeNotification,
  exportAttributes,
  extendedMessageBytesMax,
  messageBytesMax,
  originatedAttributes,
} from './index.ts';
import {
  asPath,
  attribute,
  ebgp,
  hexOf,
  ibgp,
  message,
  nextHop,
  oldPeer,
  origin,
  prefix4,
  u32,
  update,
} from './test-messages.ts';

function extendedFramer() {
  const framer = createFramer();
  framer.allowExtended();
  return framer;
}
function errorOf(framer: ReturnType<typeof createFramer>, type: number, length: number): string {
  const header = message(type, []);
  header[16] = length >> 8;
  header[17] = length & 255;
  const error = framer.push(header, () => assert.fail('no message here'));
  return error ? `${error.code}/${error.subcode}` : 'waits';
}

test('length by type, with and without RFC 8654; never for OPEN and KEEPALIVE (RFC 8654 4)', () => {
  const [open, updateType, notification, keepalive, refresh] = [1, 2, 3, 4, 5];
  for (const type of [updateType, notification, refresh]) {
    assert.equal(errorOf(createFramer(), type, 4096), 'waits');
    assert.equal(errorOf(createFramer(), type, 4097), '1/2');
    assert.equal(errorOf(extendedFramer(), type, 4097), 'waits');
    assert.equal(errorOf(extendedFramer(), type, 65535), 'waits');
  }
  for (const type of [open, keepalive]) assert.equal(errorOf(extendedFramer(), type, 4097), '1/2');
  assert.equal(errorOf(extendedFramer(), 9, 4097), '1/3');
});

test('from the message after the one that settled it (RFC 8654 3)', () => {
  const long = message(2, new Array<number>(5000).fill(0));
  const stream = Uint8Array.from([...message(4, []), ...long]);
  const framer = createFramer();
  const got: number[] = [];
  const error = framer.push(stream, (type, _bytes, start, end) => {
    if (type === 4) framer.allowExtended();
    return got.push(end - start) > 0;
  });
  assert.equal(error, undefined);
  assert.deepEqual(got, [19, long.length]);
});

test('long and short messages come out whole and in order, however the stream is cut (RFC 8654 4)', () => {
  const length = fc.oneof(fc.nat(100), fc.integer({ min: 4000, max: 4200 }), fc.integer({ min: 60_000, max: 65_516 }));
  fc.assert(
    fc.property(
      fc.array(length, { minLength: 1, maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 8 }),
      (lengths, sizes) => {
        const wanted = lengths.map((bytes, i) => message(3, new Array<number>(2 + Math.min(bytes, 65_514)).fill(i)));
        const stream = Buffer.concat(wanted);
        const framer = extendedFramer();
        const got: string[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = Math.max(sizes[i % sizes.length]!, 17);
          const error = framer.push(stream.subarray(at, at + size), (_type, bytes, start, end) => {
            return got.push(hexOf(bytes.subarray(start, end))) > 0;
          });
          assert.equal(error, undefined);
          at += size;
        }
        assert.ok(got.length === wanted.length && got.every((each, i) => each === hexOf(wanted[i]!)));
        assert.equal(framer.pendingBytes, 0);
      },
    ),
    { numRuns: 60 },
  );
});

/** Distinct communities, as many as asked for. */
const communities = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

test('attributes of more than 4096 octets are read and kept as they are (RFC 8654 5)', () => {
  const view = createUpdateView();
  const list = attribute(0xc0, 8, communities(10_000).flatMap(u32));
  const bytes = update({ attributes: [origin, asPath, nextHop, list], nlri: prefix4 });
  assert.ok(bytes.length > 40_000);
  assert.equal(decodeUpdate(view, ebgp, bytes, 0, bytes.length), 'accept', view.error?.reason);
  const out = new Uint8Array(canonicalAttributesBytesMax);
  const end = canonicalAttributes(view, out, 0);
  assert.equal(hexOf(out.subarray(end - list.length, end)), hexOf(Uint8Array.from(list)));
});

test('5,461 large communities, every second one a duplicate: each once, and without comparing all with all (RFC 8092 5)', () => {
  const view = createUpdateView();
  const values = Array.from({ length: 5400 }, (_, i) => [...u32(1), ...u32(2), ...u32(i >> 1)]).flat();
  const bytes = update({ attributes: [origin, asPath, nextHop, attribute(0xc0, 32, values)], nlri: prefix4 });
  assert.equal(decodeUpdate(view, ebgp, bytes, 0, bytes.length), 'accept');
  const out = new Uint8Array(canonicalAttributesBytesMax);
  const end = canonicalAttributes(view, out, 0);
  const kept = Array.from({ length: 2700 }, (_, i) => [...u32(1), ...u32(2), ...u32(i)]).flat();
  assert.equal(hexOf(out.subarray(end - kept.length, end)), hexOf(Uint8Array.from(kept)));
});

test('a 2-octet AS_PATH that no attribute can hold when widened is treated as withdrawn (RFC 6793 4.2.3)', () => {
  const view = createUpdateView();
  const segments = (count: number) =>
    Array.from({ length: count }, () => [2, 255, ...new Array<number>(255).fill(0).flatMap(() => [0xfc, 1])]).flat();
  for (const [count, disposition] of [
    [60, 'accept'],
    [70, 'withdraw'],
  ] as const) {
    const bytes = update({ attributes: [origin, attribute(0x40, 2, segments(count)), nextHop], nlri: prefix4 });
    assert.equal(decodeUpdate(view, { ...oldPeer, peerAsn: 0xfc01 }, bytes, 0, bytes.length), disposition);
    if (disposition === 'accept') assert.equal(view.asPathLength, 60 * 255);
  }
});

test('packed to the longest message of the peer, and refused where that is too short (RFC 8654 5)', () => {
  const exported = createExportedAttributes();
  for (const [count, short, long] of [
    [100, true, true],
    [1100, false, true],
    [16_000, false, true],
    [16_380, false, false],
  ] as const) {
    const bytes = originatedAttributes({ communities: communities(count) });
    const context = { ebgp: true, asn4: true, localAsn: 64513, keepMed: false };
    assert.equal(exportAttributes(bytes, 0, bytes.length, context, exported), short, `${count} to 4096`);
    const extended = { ...context, messageBytesMax: extendedMessageBytesMax };
    assert.equal(exportAttributes(bytes, 0, bytes.length, extended, exported), long, `${count} to 65535`);
    if (!long) continue;
    const chunks: Uint8Array[] = [];
    const packer = createUpdatePacker((chunk) => chunks.push(chunk), extendedMessageBytesMax);
    assert.ok(packer.startAnnounce(4, exported, Uint8Array.of(192, 0, 2, 1)));
    const prefixes = 40_000;
    for (let i = 0; i < prefixes; i++) packer.add4(0x0a000000 | (i << 8), 24);
    packer.startWithdraw(6);
    for (let i = 0; i < prefixes; i++) packer.add6(0x20010db8, i, 0, 0, 64);
    packer.flush();
    assert.deepEqual(read(chunks), { announced: prefixes, withdrawn: prefixes });
    if (count === 100) assert.equal(packer.messageCount, 3 + 6);
  }
});

function read(chunks: readonly Uint8Array[]): { announced: number; withdrawn: number } {
  const view = createUpdateView();
  const cursor = createPrefixCursor();
  const seen = { announced: 0, withdrawn: 0 };
  for (const chunk of chunks) {
    const framer = extendedFramer();
    const error = framer.push(chunk, (_type, bytes, start, end) => {
      assert.equal(decodeUpdate(view, ebgp, bytes, start, end), 'accept', view.error?.reason);
      cursor.reset(4, bytes, view.nlriStart, view.nlriEnd);
      while (cursor.next()) seen.announced++;
      if (view.mpUnreachFamily === 0) return true;
      cursor.reset(6, bytes, view.mpUnreachStart, view.mpUnreachEnd);
      while (cursor.next()) seen.withdrawn++;
      return true;
    });
    assert.equal(error, undefined);
    assert.equal(framer.pendingBytes, 0);
  }
  return seen;
}

test('a NOTIFICATION is never longer than any peer reads (RFC 8654 4)', () => {
  const notification = { code: 3, subcode: 1, data: new Uint8Array(60_000) };
  assert.equal(encodeNotification(notification).length, messageBytesMax);
});

test('iBGP: a list that fills an extended message passes whole', () => {
  const view = createUpdateView();
  const room = 65_535 - 23 - origin.length - asPath.length - nextHop.length - prefix4.length - 4;
  const bytes = update({
    attributes: [origin, asPath, nextHop, attribute(0xc0, 99, new Array<number>(room).fill(7))],
    nlri: prefix4,
  });
  assert.equal(bytes.length, 65_535);
  assert.equal(decodeUpdate(view, { ...ibgp, peerAsn: 64513 }, bytes, 0, bytes.length), 'accept');
});
