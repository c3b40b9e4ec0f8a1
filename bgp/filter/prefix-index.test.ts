import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PrefixIndex, type TermRange } from './prefix-index.ts';

/** Few bits that matter, so that prefixes nest, touch, and begin and end at the ends of the family. */
const rangeOf = (stride: number): fc.Arbitrary<TermRange> =>
  fc.tuple(fc.nat(15), fc.nat(4), fc.nat(4)).map(([value, bits, shiftedBy]) => {
    const most = BigInt(32 * stride);
    const wild = most - BigInt(bits) - (bits === 4 && shiftedBy > 2 ? 0n : BigInt(shiftedBy));
    const first = (BigInt(value) << (most - 4n)) & ~((1n << wild) - 1n) & ((1n << most) - 1n);
    return { first, last: first | ((1n << wild) - 1n) };
  });
const wordsOf = (address: bigint, stride: number): Int32Array =>
  Int32Array.from({ length: stride }, (_, i) => Number(BigInt.asIntN(32, address >> BigInt(32 * (stride - 1 - i)))));

for (const [family, stride] of [
  ['IPv4', 1],
  ['IPv6', 4],
] as const) {
  test(`${family}: at each address the terms that hold it, and those of any, in order`, () => {
    let indexed = 0;
    fc.assert(
      fc.property(
        fc.array(fc.option(rangeOf(stride), { nil: undefined }), { minLength: 4, maxLength: 40 }),
        (ranges) => {
          const index = PrefixIndex.make(stride, ranges);
          if (!index) return;
          indexed++;
          const ends = ranges.flatMap((range) =>
            range ? [range.first, range.last, range.last + 1n, range.first - 1n] : [],
          );
          const most = (1n << BigInt(32 * stride)) - 1n;
          for (const address of [0n, most, ...ends.filter((end) => end >= 0n && end <= most)]) {
            index.find(Int32Array.of(7, ...wordsOf(address, stride)), 1);
            const expected = [...ranges.keys()].filter((term) => {
              const range = ranges[term];
              return !range || (address >= range.first && address <= range.last);
            });
            assert.deepEqual([...index.items.subarray(index.start, index.end)], expected);
          }
        },
      ),
    );
    assert.ok(indexed > 40, `${indexed} were indexed`);
  });
}

test('a list that would make too much of it is not indexed', () => {
  const hosts = Array.from({ length: 200 }, (_, n) => ({ first: BigInt(2 * n), last: BigInt(2 * n) }));
  assert.notEqual(PrefixIndex.make(1, hosts), undefined);
  assert.equal(PrefixIndex.make(1, [...hosts, ...hosts.map(() => undefined)]), undefined);
  assert.equal(PrefixIndex.make(1, hosts.slice(0, 7)), undefined);
});
