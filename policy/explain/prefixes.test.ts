import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Cidr, cidrContains, formatIp, toCidr } from '#kit';
import { anyHolds, hostOf } from './prefixes.ts';

test('a prefix of one address is that address', () => {
  assert.deepEqual(['10.0.0.1/32', 'fd00::1/128', 'fd00::/32', '10.0.0.0/24', '10.0.0.1'].map(hostOf), [
    '10.0.0.1',
    'fd00::1',
    'fd00::/32',
    '10.0.0.0/24',
    '10.0.0.1',
  ]);
});

test('any of few or many prefixes holds an address where one by one says so', () => {
  const address = fc
    .oneof(
      fc.tuple(fc.constant(10), fc.constantFrom(0, 1), fc.constantFrom(0, 1, 128), fc.nat(255)),
      fc.tuple(
        fc.constantFrom(0xfd, 0x20),
        fc.constantFrom(0, 1),
        ...Array.from({ length: 13 }, () => fc.constantFrom(0, 1, 255)),
        fc.nat(255),
      ),
    )
    .map((bytes) => formatIp(Uint8Array.from(bytes)));
  const prefix = fc
    .tuple(address, fc.nat(128))
    .map(([of, length]) => toCidr(`${of}/${of.includes(':') ? length : length % 33}`)!);
  let held = 0;
  fc.assert(
    fc.property(fc.array(prefix, { maxLength: 60, size: 'max' }), fc.array(address), (list, addresses) => {
      // Those of length 0 and 1 would hold everything.
      const prefixes = new Set<Cidr>(list.filter((cidr) => Number(cidr.split('/')[1]) > 4));
      for (const each of addresses) {
        const wanted = [...prefixes].some((cidr) => cidrContains(cidr, each));
        if (wanted && prefixes.size > 32) held++;
        assert.equal(anyHolds(prefixes, each), wanted, `${each} in ${[...prefixes].join(' ')}`);
      }
    }),
  );
  assert.ok(held > 50, `${held} of large sets`);
  assert.equal(
    anyHolds(
      new Set(Array.from({ length: 40 }, (_, i) => `${i}.0.0.0/8`).concat('::/0')),
      formatIp(new Uint8Array(16)),
    ),
    true,
  );
});
