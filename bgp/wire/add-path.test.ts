/** Path identifiers on the wire: RFC 7911 3 and 5, RFC 7606 5.3. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  createExportedAttributes,
  createFramer,
  createPrefixCursor,
  createUpdatePacker,
  createUpdateView,
  decodeUpdate,
  exportAttributes,
  negotiate,
  originatedAttributes,
  updateContext,
} from './index.ts';
import {
  asPath,
  ebgp,
  global6,
  ibgp,
  mpReach,
  mpUnreach,
  nextHop,
  origin,
  prefix4,
  prefix6,
  u32,
  update,
} from './test-messages.ts';
import type { AddPathCapability, OpenMessage, UpdateContext } from './types.ts';

const both: UpdateContext = { ...ebgp, addPath4: true, addPath6: true };
const view = createUpdateView();
const decode = (message: Uint8Array, context = both) => decodeUpdate(view, context, message, 0, message.length);

/** `id prefix` of a range of the view. */
function listed(family: 4 | 6, start: number, end: number, withPathIds = true): string[] {
  const cursor = createPrefixCursor();
  cursor.reset(family, view.bytes, start, end, withPathIds);
  const out: string[] = [];
  while (cursor.next()) {
    const words = [...cursor.words.subarray(0, family === 4 ? 1 : 4)].map((word) => (word >>> 0).toString(16));
    out.push(`${cursor.pathId} ${words.join(':')}/${cursor.bits}`);
  }
  return out;
}

test('RFC 7911 3: an identifier before each prefix, in all four places; opaque, 0 and the highest included', () => {
  const withdrawn = [...u32(0), ...prefix4, ...u32(0xffffffff), 0];
  const nlri = [...u32(7), ...prefix4, ...u32(8), ...prefix4];
  const reach = [...u32(1), ...prefix6, ...u32(2), 128, ...global6];
  const unreach = [...u32(3), ...prefix6];
  const attributes = [mpReach(reach), mpUnreach(unreach), origin, asPath, nextHop];
  assert.equal(decode(update({ withdrawn, attributes, nlri })), 'accept');
  assert.deepEqual(listed(4, view.withdrawnStart, view.withdrawnEnd), ['0 a010200/24', '4294967295 0/0']);
  assert.deepEqual(listed(4, view.nlriStart, view.nlriEnd), ['7 a010200/24', '8 a010200/24']);
  assert.deepEqual(listed(6, view.mpReachNlriStart, view.mpReachNlriEnd), [
    '1 20010db8:0:0:0/32',
    '2 20010db8:0:0:1/128',
  ]);
  assert.deepEqual(listed(6, view.mpUnreachStart, view.mpUnreachEnd), ['3 20010db8:0:0:0/32']);
});

test('RFC 7911 4: by family and direction, as negotiated', () => {
  const open = (addPath: readonly AddPathCapability[]): OpenMessage => ({
    asn: 64512,
    holdTimeSec: 90,
    routerId: 1,
    families: ['ipv4-unicast', 'ipv6-unicast'],
    asn4: true,
    routeRefresh: true,
    addPath,
  });
  const context = updateContext(
    negotiate(
      open([
        { family: 'ipv4-unicast', receive: true, send: false },
        { family: 'ipv6-unicast', receive: false, send: true },
      ]),
      open([
        { family: 'ipv4-unicast', receive: true, send: true },
        { family: 'ipv6-unicast', receive: true, send: true },
      ]),
    ),
  );
  assert.deepEqual([context.addPath4, context.addPath6], [true, false]);
  const message = update({
    attributes: [mpReach(prefix6), origin, asPath, nextHop],
    nlri: [...u32(9), ...prefix4],
  });
  assert.equal(decode(message, context), 'accept');
  assert.deepEqual(listed(6, view.mpReachNlriStart, view.mpReachNlriEnd, false), ['0 20010db8:0:0:0/32']);
  assert.deepEqual(listed(4, view.nlriStart, view.nlriEnd), ['9 a010200/24']);
});

test('RFC 7606 5.3: an identifier cut short, or without a prefix, resets with 3/10 (MP: 3/9)', () => {
  const whole = [...u32(7), ...prefix4];
  const attributes = [origin, asPath, nextHop];
  for (const rest of [[0], [0, 0, 0], u32(8), [...u32(8), 33, 1, 2, 3, 4, 5], [...u32(8), 24, 10, 1]]) {
    const bad = [...whole, ...rest];
    for (const message of [update({ attributes, nlri: bad }), update({ withdrawn: bad })]) {
      assert.equal(decode(message), 'reset', `classic ${rest}`);
      assert.deepEqual([view.error?.code, view.error?.subcode], [3, 10]);
    }
    const bad6 = [...u32(7), ...prefix6, ...rest.map((octet) => (octet === 33 ? 129 : octet))];
    for (const attribute of [mpReach(bad6), mpUnreach(bad6)]) {
      assert.equal(decode(update({ attributes: [attribute, origin, asPath] })), 'reset', `multiprotocol ${rest}`);
      assert.deepEqual([view.error?.code, view.error?.subcode], [3, 9]);
    }
  }
});

test('RFC 4724 2: End-of-RIB is the same with identifiers', () => {
  assert.equal(decode(update({})), 'accept');
  assert.equal(view.endOfRib, 4);
  assert.equal(decode(update({ attributes: [mpUnreach([])] })), 'accept');
  assert.equal(view.endOfRib, 6);
});

test('no octets make the decoder or the cursor throw, or read beyond the message', () => {
  const octets = fc.array(fc.oneof(fc.nat(255), fc.constantFrom(0, 8, 24, 32, 64, 128)), { maxLength: 60 });
  fc.assert(
    fc.property(octets, octets, octets, octets, (withdrawn, nlri, reach, unreach) => {
      const attributes = [mpReach(reach), mpUnreach(unreach), origin, asPath, nextHop];
      if (decode(update({ withdrawn, attributes, nlri })) === 'reset') return;
      listed(4, view.withdrawnStart, view.withdrawnEnd);
      listed(4, view.nlriStart, view.nlriEnd);
      if (view.mpReachFamily) listed(view.mpReachFamily, view.mpReachNlriStart, view.mpReachNlriEnd);
      if (view.mpUnreachFamily) listed(view.mpUnreachFamily, view.mpUnreachStart, view.mpUnreachEnd);
    }),
    { numRuns: 3000 },
  );
});

test('RFC 7911 3: what the packer writes is read back, messages are full and none is too long', () => {
  const exported = createExportedAttributes();
  const canonical = originatedAttributes({});
  const toPeer = { ebgp: false, asn4: true, localAsn: 64512, keepMed: false };
  assert.ok(exportAttributes(canonical, 0, canonical.length, toPeer, exported));
  const entry = fc.record({
    id: fc.oneof(fc.constantFrom(0, 1, 0xffffffff), fc.nat(70_000)),
    words: fc.array(fc.integer({ min: 0, max: 0x0fffffff }), { minLength: 4, maxLength: 4 }),
    bits: fc.integer({ min: 8, max: 32 }),
    times: fc.constantFrom(1, 1, 700),
  });
  for (const family of [4, 6] as const) {
    for (const kind of ['announce', 'withdraw'] as const) {
      fc.assert(
        fc.property(fc.array(entry, { minLength: 1, maxLength: 4 }), (entries) => {
          const chunks: Uint8Array[] = [];
          const packer = createUpdatePacker((chunk) => chunks.push(chunk), 4096, true);
          const next = family === 4 ? Uint8Array.of(192, 0, 2, 1) : Uint8Array.from(global6);
          if (kind === 'announce') assert.ok(packer.startAnnounce(family, exported, next));
          else packer.startWithdraw(family);
          const expected: string[] = [];
          for (const { id, words, bits, times } of entries) {
            const masked = (words[0]! | 0x1000_0000) & (-1 << (32 - bits));
            for (let i = 0; i < times; i++) {
              packer.pathId = (id + i) % 0x1_0000_0000;
              if (family === 4) packer.add4(masked, bits);
              else packer.add6(masked, words[1]!, words[2]!, words[3]!, 128);
              const rest = words.slice(1).map((word) => word.toString(16));
              const text = (masked >>> 0).toString(16);
              expected.push(
                `${packer.pathId} ${family === 4 ? `${text}/${bits}` : `${[text, ...rest].join(':')}/128`}`,
              );
            }
          }
          packer.flush();
          const seen: string[] = [];
          const sizes: number[] = [];
          for (const chunk of chunks) {
            const error = createFramer().push(chunk, (_type, bytes, start, end) => {
              sizes.push(end - start);
              assert.equal(
                decodeUpdate(view, { ...ibgp, addPath4: true, addPath6: true }, bytes, start, end),
                'accept',
              );
              if (family === 6 && kind === 'announce')
                seen.push(...listed(6, view.mpReachNlriStart, view.mpReachNlriEnd));
              else if (family === 6) seen.push(...listed(6, view.mpUnreachStart, view.mpUnreachEnd));
              else
                seen.push(
                  ...listed(4, view.withdrawnStart, view.withdrawnEnd),
                  ...listed(4, view.nlriStart, view.nlriEnd),
                );
              return true;
            });
            assert.equal(error, undefined);
          }
          assert.deepEqual(seen, expected);
          // All but the last have no room for one more.
          for (const size of sizes.slice(0, -1)) assert.ok(size > 4096 - 22 && size <= 4096, `${size}`);
        }),
        { numRuns: 60 },
      );
    }
  }
});
