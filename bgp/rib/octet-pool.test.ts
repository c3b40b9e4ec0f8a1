import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { halfSipHash } from './half-sip-hash.ts';
import { OctetPool } from './octet-pool.ts';

const octetsMax = 131_077;
const slabOctets = 4 * 65_536;

/** Octets that say which string it is, and whose length is `length`. */
function write(pool: OctetPool, name: number, length: number): void {
  new DataView(pool.octets.buffer).setUint32(0, name);
  for (let at = 4; at < length; at++) pool.octets[at] = name + at;
}
function read(pool: OctetPool, id: number): string {
  const start = pool.start(id);
  return Buffer.from(pool.bytes(id).subarray(start, start + pool.length(id))).toString('latin1');
}

test('octet pool: finds and keeps what a Map does, whatever comes and goes, and in whatever order', () => {
  const step = fc.record({
    name: fc.nat(400),
    count: fc.integer({ min: 1, max: 300 }),
    come: fc.boolean(),
    backwards: fc.boolean(),
    length: fc.oneof(fc.integer({ min: 4, max: 300 }), fc.constantFrom(4095, 40_000, 131_077)),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const pool = new OctetPool(octetsMax, [1, 2]);
      const known = new Map<string, number>();
      for (const { name, count, come, backwards, length } of steps) {
        // Long ones are few.
        const many = Math.min(count, Math.ceil(1_000_000 / length));
        for (let i = 0; i < many; i++) {
          write(pool, name + (backwards ? many - i : i), length);
          const key = Buffer.from(pool.octets.subarray(0, length)).toString('latin1');
          const id = pool.find(length);
          assert.equal(id, known.get(key) ?? -1);
          if (come && id < 0) known.set(key, pool.add(length));
          else if (!come && id >= 0) {
            pool.remove(id);
            known.delete(key);
          }
        }
        assert.equal(pool.size, known.size);
        assert.equal(new Set(known.values()).size, known.size, 'no id is given twice');
      }
      let octets = 0;
      for (const [key, id] of known) {
        assert.ok(read(pool, id) === key, 'its octets are its own');
        pool.octets.set(Buffer.from(key, 'latin1'));
        assert.equal(pool.find(key.length), id);
        octets += key.length + 8;
      }
      assert.ok(pool.capacity <= 4 * octets + 2 * slabOctets, `${pool.capacity} octets for ${octets}`);
    }),
    { numRuns: 150 },
  );
});

test('octet pool: what goes in any order gives its room back; what comes in the same order again has the same ids', () => {
  const pool = new OctetPool(octetsMax, [3, 4]);
  const count = 40_000;
  const add = (name: number): number => {
    write(pool, name, 100);
    assert.equal(pool.find(100), -1);
    return pool.add(100);
  };
  const ids = Array.from({ length: count }, (_, name) => add(name));
  const full = pool.capacity;
  // 17 is prime to the count: every string once, none beside the one before.
  for (let i = 0, left = count; left > 0; left--, i = (i + 17_001) % count) {
    pool.remove(ids[i]!);
    assert.ok(
      pool.capacity <= 2 * 108 * (left - 1) + 3 * slabOctets,
      `${pool.capacity} octets for ${left - 1} strings`,
    );
  }
  assert.deepEqual([pool.size, pool.capacity], [0, slabOctets]);
  for (let name = 0; name < count; name++) add(name);
  assert.equal(pool.capacity, full);
  for (const id of ids) pool.remove(id);
  for (let name = 0; name < count; name++) assert.equal(add(name), ids[name]);
});

test('strings that share a slot under one key do not under another', () => {
  const mask = 0xfff;
  const chosen: Int32Array[] = [];
  for (let i = 0; chosen.length < 64; i++) {
    const words = Int32Array.of(i, 7, 8, 9);
    if ((halfSipHash([1, 2], words, 16) & mask) === 0) chosen.push(words);
  }
  const slots = new Set(chosen.map((words) => halfSipHash([1, 3], words, 16) & mask));
  assert.ok(slots.size > 55, `${slots.size} slots`);
});

test('octet pool: slots of strings that went are those of the same strings again, or make room before the hash is full', () => {
  const pool = new OctetPool(octetsMax, [5, 6]);
  const add = (name: number): number => {
    write(pool, name, 20);
    assert.equal(pool.find(20), -1);
    return pool.add(20);
  };
  const same = Array.from({ length: 1000 }, (_, name) => add(name));
  const { slots } = pool;
  for (let round = 0; round < 20; round++) {
    for (const id of same) pool.remove(id);
    assert.deepEqual(
      same.map((_, name) => add(name)),
      same,
    );
    assert.equal(pool.leftSlots, 0);
  }
  const live = [...same];
  for (let name = 1000; name < 40_000; name++) {
    pool.remove(live.shift()!);
    live.push(add(name));
    assert.ok(pool.leftSlots <= (5 * pool.slots) / 8 - live.length, `${pool.leftSlots} of ${pool.slots} slots`);
    // In another order than they came, so that the hash has to find them.
    const which = (name * 7) % live.length;
    write(pool, name - 999 + which, 20);
    assert.equal(pool.find(20), live[which]);
  }
  assert.ok(pool.slots <= 2 * slots, `${pool.slots} slots, ${slots} for as many`);
  const before = pool.slots;
  for (const id of live) pool.remove(id);
  for (let name = 0; name < 1000; name++) add(name);
  assert.equal(pool.slots, before);
  assert.ok(pool.leftSlots <= pool.slots / 8, `${pool.leftSlots} of ${pool.slots} slots`);
});

test('octet pool: the hash is made larger a part at a time', () => {
  const pool = new OctetPool(octetsMax, [7, 8]);
  const count = 60_000;
  let before = pool.slots;
  for (let name = 0; name < count; name++) {
    write(pool, name, 4);
    assert.equal(pool.find(4), -1);
    pool.add(4);
    const more = pool.slots - before;
    assert.ok(more <= before / 30, `${more} slots more than ${before} for one string`);
    before += more;
  }
  assert.ok(pool.slots >= count && pool.slots <= 4 * count, `${pool.slots} slots`);
});

test('octet pool: what comes and goes again beside others is put in the same place each time', () => {
  const pool = new OctetPool(octetsMax, [1, 2]);
  const add = (name: number, length: number): number => {
    write(pool, name, length);
    assert.equal(pool.find(length), -1);
    return pool.add(length);
  };
  const stays = add(1, 13);
  const first = add(2, 30);
  const start = pool.start(first);
  pool.remove(first);
  for (let name = 3; name < 1000; name++) {
    const id = add(name, 7 + (name % 90));
    assert.equal(pool.start(id), start);
    pool.remove(id);
  }
  write(pool, 1, 13);
  assert.equal(pool.find(13), stays);
});
