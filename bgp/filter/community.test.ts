import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatExtendedCommunity, parseCommunity, parseCommunityPattern } from './community.ts';

test('RFC 4360 4, 5, RFC 5668, RFC 10005: an extended community is named as filters name it, and read back to the same octets', () => {
  const octets = (hex: string): Uint8Array => Buffer.from(hex, 'hex');
  for (const [hex, text] of [
    ['0002fc0000000007', 'rt:64512:7'],
    ['00030001ffffffff', 'soo:1:4294967295'],
    ['01020a0000010007', 'rt:10.0.0.1:7'],
    ['0202000100000007', 'rt:65536:7'],
    ['0202000000010007', '0202000000010007'],
    ['4002fc0000000007', '4002fc0000000007'],
    ['0004fc004e9502f9', 'bandwidth:64512:1250000000'],
    ['4004fc004e9502f9', 'bandwidth-local:64512:1250000000'],
    ['4004fc0000000000', 'bandwidth-local:64512:0'],
    ['4004fc0080000000', '4004fc0080000000'],
    ['4004fc007fc00000', '4004fc007fc00000'],
    ['4004fc003f000000', '4004fc003f000000'],
    ['0004fc007f7fffff', '0004fc007f7fffff'],
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

test('RFC 10005: a pattern of bandwidths is about both types, one of local ones about those that stay in the AS', () => {
  const [transitive, local] = ['0004fc004e9502f9', '4004fc004e9502f9'].map((hex) => Buffer.from(hex, 'hex'));
  for (const [pattern, ...expected] of [
    ['bandwidth:*:*', true, true],
    ['bandwidth-local:*:*', false, true],
    ['bandwidth:64512:1000000000-2000000000', true, true],
    ['bandwidth:64513:*', false, false],
    ['bandwidth:*:0-1000000000', false, false],
    ['bandwidth-local:64512:1250000000', false, true],
  ] as const) {
    const { matches } = parseCommunityPattern(pattern);
    assert.deepEqual([matches(transitive!, 0), matches(local!, 0)], expected, pattern);
  }
  for (const text of ['bandwidth:65536:1', 'bandwidth:1:1000000000000000', 'bandwidth:1', 'bandwidth:1:-1']) {
    assert.throws(() => parseCommunity(text), RangeError, text);
  }
});
