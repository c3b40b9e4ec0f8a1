import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileFilter } from '../filter/index.ts';
import { emptyAttributeValues, originatedAttributes } from '../wire/index.ts';
import { AttributePool } from './attribute-pool.ts';
import { FilteredSets } from './filtered-sets.ts';
import { NextHopPool, noNextHop } from './next-hop-pool.ts';
import { PeerTable } from './path-table.ts';

test('what a set becomes is there until the filter is done, whoever lets go of it', () => {
  const pool = new AttributePool();
  const peers = new PeerTable();
  const row = peers.make();
  const filter = compileFilter([{ action: 'accept', changes: [{ type: 'setMed', value: 9 }] }], 65000)!;
  const sets = new FilteredSets(filter, { attributes: pool, nextHops: new NextHopPool(), peers });
  const received = pool.intern(originatedAttributes({ med: 1 }), emptyAttributeValues());
  const octets = originatedAttributes({ med: 9 });
  const holder = pool.intern(octets, emptyAttributeValues());
  for (const set of [received, holder]) pool.retain(set);
  const words = Int32Array.of(0x0a000000);
  const made = sets.of(received, row, noNextHop, words, 0, 8);
  assert.equal(made, holder);
  for (const set of [received, holder]) pool.release(set);
  pool.intern(originatedAttributes({ med: 3 }), emptyAttributeValues());
  assert.deepEqual(pool.copy(sets.of(received, row, noNextHop, words, 0, 16)), octets);
  assert.equal(pool.size, 3);
  sets.release();
  assert.equal(pool.size, 1);
});
