import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Cidr, cidrContains, toCidr } from '#kit';
import type { IPPoolObject } from './objects.ts';
import { poolProblems } from './pools.ts';

const pool = (name: string, cidr: string): IPPoolObject => ({
  metadata: { name, namespace: '', uid: '', labels: {}, annotations: {} },
  cidr: toCidr(cidr)!,
  natOutgoing: false,
  disabled: false,
  disableBGPExport: false,
});
const said = (pools: readonly IPPoolObject[], ranges: readonly string[] = []) =>
  poolProblems(pools, ranges as Cidr[]).map(({ object, field, message }) => `${object}: ${field}: ${message}`);

test('pools apart, also across families, are fine', () => {
  assert.deepEqual(said([pool('a', '10.0.0.0/16'), pool('b', '10.1.0.0/16'), pool('c', '::/0')], ['10.96.0.0/12']), []);
});

test('an overlap is named on both pools, the nearest first', () => {
  const pools = [pool('c', '10.0.0.0/24'), pool('a', '10.0.0.0/8'), pool('b', '10.0.0.0/16'), pool('d', '11.0.0.0/8')];
  assert.deepEqual(said(pools), [
    'IPPool a: spec.cidr: 10.0.0.0/8 overlaps with IPPool b (10.0.0.0/16) and 1 more; give each pool a range of its own, or remove one',
    'IPPool b: spec.cidr: 10.0.0.0/16 overlaps with IPPool a (10.0.0.0/8) and 1 more; give each pool a range of its own, or remove one',
    'IPPool c: spec.cidr: 10.0.0.0/24 overlaps with IPPool b (10.0.0.0/16) and 1 more; give each pool a range of its own, or remove one',
  ]);
  assert.deepEqual(said([...pools].reverse()), said(pools));
});

test('a pool inside or around a range of Services is named', () => {
  for (const cidr of ['10.100.0.0/16', '10.0.0.0/8', '10.96.0.0/12']) {
    assert.match(
      said([pool('a', cidr)], ['fd00::/112', '10.96.0.0/12'])[0]!,
      /overlaps with 10\.96\.0\.0\/12, the range of Services/,
    );
  }
  assert.equal(said([pool('a', 'fd00::/48')], ['10.96.0.0/12', 'fd00::/112']).length, 1);
});

test('a pool has a problem exactly if it overlaps another, and the counts are right, whatever the order', () => {
  const cidr = fc
    .tuple(fc.constantFrom('10.0.0.0', '10.0.1.0', '10.128.0.0', '11.0.0.0'), fc.constantFrom(8, 9, 16, 24, 32))
    .map(([address, length]) => `${address}/${length}`);
  fc.assert(
    fc.property(fc.array(cidr, { maxLength: 12 }), (cidrs) => {
      const pools = cidrs.map((text, index) => pool(`p${index}`, text));
      const problems = new Map(poolProblems(pools).map(({ object, message }) => [object, message]));
      for (const one of pools) {
        const overlapping = pools.filter(
          (other) => other !== one && (cidrContains(one.cidr, other.cidr) || cidrContains(other.cidr, one.cidr)),
        );
        const message = problems.get(`IPPool ${one.metadata.name}`);
        assert.equal(message !== undefined, overlapping.length > 0);
        if (message === undefined) continue;
        const more = Number(/ and (\d+) more/.exec(message)?.[1] ?? 0);
        assert.equal(more, overlapping.length - 1);
        const named = /IPPool (\S+) \(/.exec(message)![1];
        assert.ok(overlapping.some((other) => other.metadata.name === named));
      }
    }),
  );
});
