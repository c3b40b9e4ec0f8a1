import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Few, fewHas, fewSize, fewValues, fewWith, fewWithout, MultiMap } from './few.ts';

const steps = fc.array(fc.record({ add: fc.boolean(), key: fc.nat({ max: 1 }), value: fc.nat({ max: 14 }) }), {
  maxLength: 80,
});

test('a Few holds what a Set holds, in its order', () => {
  fc.assert(
    fc.property(steps, (all) => {
      let few: Few<string>;
      const set = new Set<string>();
      for (const { add, value } of all) {
        few = add ? fewWith(few, `v${value}`) : fewWithout(few, `v${value}`);
        if (add) set.add(`v${value}`);
        else set.delete(`v${value}`);
        assert.deepEqual([...fewValues(few)], [...set]);
        assert.equal(fewSize(few), set.size);
        for (let v = 0; v < 15; v++) assert.equal(fewHas(few, `v${v}`), set.has(`v${v}`));
      }
    }),
  );
});

test('a MultiMap holds what a Map of Sets holds, and no empty ones', () => {
  fc.assert(
    fc.property(steps, (all) => {
      const few = new MultiMap<number, string>();
      const sets = new Map<number, Set<string>>();
      for (const { add, key, value } of all) {
        const set = sets.get(key) ?? new Set<string>();
        sets.set(key, set);
        few[add ? 'add' : 'remove'](key, `v${value}`);
        set[add ? 'add' : 'delete'](`v${value}`);
        if (set.size === 0) sets.delete(key);
        assert.deepEqual([...few.keys()].sort(), [...sets.keys()].sort());
        assert.equal(few.size, sets.size);
        for (const k of [0, 1]) {
          assert.deepEqual([...few.of(k)], [...(sets.get(k) ?? [])]);
          assert.deepEqual([few.count(k), few.has(k)], [sets.get(k)?.size ?? 0, sets.has(k)]);
        }
      }
    }),
  );
});
