import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { PrefixTable, prefixHash } from './prefix-table.ts';

const one = new Int32Array(4);
function words(key: number): Int32Array {
  one[0] = key << 8;
  one[3] = key;
  return one;
}

for (const family of [4, 6] as const) {
  test(`prefix table: finds what a Map finds, whatever comes and goes, family ${family}`, () => {
    const step = fc.record({ key: fc.nat(3000), length: fc.integer({ min: 1, max: 400 }), come: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const table = new PrefixTable(family);
        const known = new Map<number, number>();
        for (const { key, length, come } of steps) {
          for (let k = key; k < key + length; k++) {
            if (come) {
              const id = table.intern(words(k), 24);
              assert.equal(id, known.get(k) ?? id);
              known.set(k, id);
            } else if (known.has(k)) {
              table.release(known.get(k)!);
              known.delete(k);
            }
          }
          assert.equal(table.size, known.size);
          assert.equal(new Set(known.values()).size, known.size, 'no id is given twice');
          for (let k = key - 10; k < key + length + 10; k++) {
            table.touch(words(k), 24);
            assert.equal(table.find(words(k), 24), known.get(k) ?? -1);
          }
        }
        for (const [k, id] of known) assert.equal(table.find(words(k), 24), id);
      }),
      { numRuns: 400 },
    );
  });
}

test('prefix table: growing moves a few slots with each new prefix, and is over before it grows again', () => {
  const table = new PrefixTable(4);
  let before = 0;
  let growths = 0;
  for (let key = 0; key < 400_000; key++) {
    const slots = table.slots;
    const id = table.intern(words(key), 24);
    if (table.slots > slots) {
      assert.equal(before, 0, 'the last one is over');
      growths++;
    } else {
      // 16, and the rest of a run.
      assert.ok(before - table.unmoved <= 16 + 200, `${before - table.unmoved} slots with one prefix`);
    }
    before = table.unmoved;
    if (before > 0 && key % 7 === 0) {
      table.release(id);
      assert.equal(table.find(words(key), 24), -1);
      assert.equal(table.intern(words(key), 24), id);
      before = table.unmoved;
    }
  }
  assert.equal(growths, 10);
  for (let key = 0; key < 400_000; key++) assert.ok(table.find(words(key), 24) >= 0);
});

test('prefix table: churn of ever new prefixes neither grows it nor makes it slow', () => {
  const table = new PrefixTable(4);
  const live: number[] = [];
  const slots = (): number => table.slots;
  for (let key = 0; key < 8000; key++) live.push(table.intern(words(key), 24));
  const before = slots();
  for (let key = 8000; key < 300_000; key++) {
    table.release(live[key % 8000]!);
    live[key % 8000] = table.intern(words(key), 24);
    assert.ok(8 * (table.size + table.releasedCount) <= 5 * slots(), 'five eighths of the slots are taken at most');
  }
  assert.equal(slots(), before);
  for (let key = 292_000; key < 300_000; key++) assert.equal(table.find(words(key), 24), live[key % 8000]);
  for (const id of live) table.release(id);
  assert.equal(table.size, 0);
  for (let key = 300_000; key < 301_500; key++) table.intern(words(key), 24);
  assert.deepEqual([table.size, table.releasedCount], [1500, 0], 'nothing is left behind');
  assert.ok(table.limit <= 16_384, `${table.limit} ids for 8,000 prefixes at once`);
});

test('prefix table: a few that come and go keep their ids, whatever else is new', () => {
  const table = new PrefixTable(4);
  const flapping = Array.from({ length: 200 }, (_, key) => table.intern(words(key), 24));
  for (let round = 0; round < 20; round++) {
    for (const [key, id] of flapping.entries()) {
      assert.equal(table.find(words(key), 24), id);
      table.release(id);
      assert.equal(table.find(words(key), 24), -1);
      table.release(table.intern(words(1000 + round), 24));
    }
    assert.equal(table.size, 0);
    for (const [key, id] of flapping.entries()) assert.equal(table.intern(words(key), 24), id);
  }
});

test('prefix table: a table that goes and another that comes take the same ids; one that comes back has its own', () => {
  const table = new PrefixTable(6);
  const ids = Array.from({ length: 8000 }, (_, key) => table.intern(words(key), 48));
  for (const id of ids) table.release(id);
  for (const id of ids) assert.ok(!table.isLive(id));
  assert.equal(table.find(words(5), 48), -1);
  for (let key = 0; key < 8000; key++) assert.equal(table.intern(words(key), 48), ids[key]);
  assert.deepEqual([table.size, table.releasedCount, table.limit], [8000, 0, 8000]);
  for (const id of ids) table.release(id);
  for (let key = 8000; key < 16_000; key++) table.intern(words(key), 48);
  assert.deepEqual([table.size, table.releasedCount], [8000, 0]);
  assert.ok(table.limit < 8200, `${table.limit} ids`);
});

test('prefix table: the hash is in the memory that was given for it, each time it grows', () => {
  const given: number[] = [];
  const table = new PrefixTable(4, {
    zeroes: (length) => {
      given.push(length);
      // As memory on a boundary is: a part of more.
      return new Int32Array(new ArrayBuffer(4 * length + 64), 64, length);
    },
  });
  const ids = Array.from({ length: 5000 }, (_, key) => table.intern(words(key), 24));
  assert.deepEqual(given, [2048, 4096, 8192, 16384]);
  for (const [key, id] of ids.entries()) assert.equal(table.find(words(key), 24), id);
});

for (const [family, stride] of [
  [4, 1],
  [6, 4],
] as const) {
  test(`prefixes that share a slot under one seed do not under another, family ${family}`, () => {
    const mask = 0xfff;
    const wanted = 64;
    const chosen: Int32Array[] = [];
    for (let i = 0; chosen.length < wanted; i++) {
      const prefix = Int32Array.of(0x0a000000 + (i << 8), i, 0, 0);
      if ((prefixHash(prefix, 0, stride, 24, 1) & mask) === 0) chosen.push(prefix);
    }
    for (const seed of [2, -3, 0x7fffffff, 123_456_789]) {
      const slots = new Set(chosen.map((prefix) => prefixHash(prefix, 0, stride, 24, seed) & mask));
      assert.ok(slots.size > wanted * 0.9, `${slots.size} slots for ${wanted} prefixes`);
    }
  });
}
