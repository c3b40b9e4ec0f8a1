import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatExtendedCommunity, parseCommunity } from './community.ts';

test('RFC 4360 4, 5, RFC 5668: an extended community is named as filters name it, and read back to the same octets', () => {
  const octets = (hex: string): Uint8Array => Buffer.from(hex, 'hex');
  for (const [hex, text] of [
    ['0002fc0000000007', 'rt:64512:7'],
    ['00030001ffffffff', 'soo:1:4294967295'],
    ['01020a0000010007', 'rt:10.0.0.1:7'],
    ['0202000100000007', 'rt:65536:7'],
    ['0202000000010007', '0202000000010007'],
    ['4002fc0000000007', '4002fc0000000007'],
    ['030b000000000000', '030b000000000000'],
  ] as const) {
    assert.equal(formatExtendedCommunity(octets(hex)), text);
  }
  const some = fc.tuple(
    fc.constantFrom(0, 1, 2, 3, 0x40),
    fc.constantFrom(2, 3, 4),
    fc.uint8Array({ minLength: 6, maxLength: 6 }),
  );
  fc.assert(
    fc.property(some, ([type, subtype, rest]) => {
      const value = Uint8Array.of(type, subtype, ...rest);
      assert.deepEqual(parseCommunity(formatExtendedCommunity(value)), value);
    }),
  );
});
