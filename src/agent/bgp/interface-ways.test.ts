import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Cidr, cidrContains, type IpAddress } from '#kit';
import { interfaceWays, waysMax } from './interface-ways.ts';

const way = (prefix: string, device: string) => ({ prefix: prefix as Cidr, device });

test('what a shorter prefix says already is left out, what differs from it is kept', () => {
  const { ways, omitted } = interfaceWays([
    way('10.1.2.0/24', 'eth0'),
    way('0.0.0.0/0', 'eth0'),
    way('10.1.0.0/16', 'eth1'),
    way('10.2.0.0/16', 'eth0'),
    way('10.3.0.0/16', ''),
    way('fd00::/64', 'eth1'),
    way('192.0.2.0/24', ''),
  ]);
  assert.deepEqual(
    ways.map((each) => [each.cidr, each.interface]),
    [
      ['0.0.0.0/0', 'eth0'],
      ['10.1.0.0/16', 'eth1'],
      ['10.3.0.0/16', ''],
      ['10.1.2.0/24', 'eth0'],
      ['192.0.2.0/24', ''],
      ['fd00::/64', 'eth1'],
    ],
  );
  assert.equal(omitted, 0);
});

test('the longest match is the same as over all ways, in whatever order they come', () => {
  const prefix = fc
    .tuple(fc.nat(3), fc.constantFrom(0, 8, 15, 16))
    .map(([b, length]) =>
      length === 0 ? '0.0.0.0/0' : length === 8 ? '10.0.0.0/8' : `10.${b & (length === 15 ? 2 : 3)}.0.0/${length}`,
    );
  const ways = fc.uniqueArray(fc.record({ prefix, device: fc.constantFrom('', 'eth0', 'eth1') }), {
    selector: (each) => each.prefix,
  });
  const find = (list: readonly { readonly prefix: string; readonly device: string }[], address: string): string => {
    const holding = list.filter((each) => cidrContains(each.prefix as Cidr, address as IpAddress));
    const length = (text: string): number => Number(text.split('/')[1]);
    return holding.sort((a, b) => length(b.prefix) - length(a.prefix))[0]?.device ?? '';
  };
  fc.assert(
    fc.property(ways, fc.nat(3), (all, b) => {
      const kept = interfaceWays(all as never).ways.map((each) => way(each.cidr, each.interface));
      assert.equal(find(kept, `10.${b}.0.1`), find(all, `10.${b}.0.1`));
    }),
  );
});

test('more ways than are looked at: the longest prefixes are left out, and counted', () => {
  const many = Array.from({ length: waysMax }, (_, i) => way(`10.${i >> 8}.${i & 255}.0/24`, 'eth1'));
  const { ways, omitted } = interfaceWays([...many, way('0.0.0.0/0', 'eth0')]);
  assert.equal(omitted, 1);
  assert.equal(ways.length, waysMax);
  assert.equal(ways[0]!.cidr, '0.0.0.0/0');
});
