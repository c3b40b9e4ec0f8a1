import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DeltaTracker } from './delta-tracker.ts';

test('pending sets equal a comparison of both maps, whatever the order of calls', () => {
  const key = fc.constantFrom('a', 'b', 'c', 'd');
  const value = fc.integer({ min: 0, max: 2 });
  const call = fc.oneof(
    fc.record({ op: fc.constantFrom('desire', 'found'), key, value }),
    fc.record({ op: fc.constantFrom('undesire', 'gone'), key, value }),
    fc.record({
      op: fc.constantFrom('replaceDesired', 'replaceActual'),
      key,
      value,
      entries: fc.array(fc.tuple(key, value)),
    }),
  );
  fc.assert(
    fc.property(fc.array(call, { maxLength: 40 }), (calls) => {
      const tracker = new DeltaTracker<string, number>();
      const desired = new Map<string, number>();
      const actual = new Map<string, number>();
      for (const c of calls) {
        if (c.op === 'desire') {
          tracker.desire(c.key, c.value);
          desired.set(c.key, c.value);
        } else if (c.op === 'found') {
          tracker.found(c.key, c.value);
          actual.set(c.key, c.value);
        } else if (c.op === 'undesire') {
          tracker.undesire(c.key);
          desired.delete(c.key);
        } else if (c.op === 'gone') {
          tracker.gone(c.key);
          actual.delete(c.key);
        } else if ('entries' in c) {
          const side = c.op === 'replaceDesired' ? desired : actual;
          side.clear();
          for (const [k, v] of c.entries) side.set(k, v);
          if (c.op === 'replaceDesired') tracker.replaceDesired(c.entries);
          else tracker.replaceActual(c.entries);
        }
      }
      assert.deepEqual(
        [...tracker.pendingUpdates].sort(),
        [...desired]
          .filter(([k, v]) => actual.get(k) !== v)
          .map(([k]) => k)
          .sort(),
      );
      assert.deepEqual([...tracker.pendingDeletes].sort(), [...actual.keys()].filter((k) => !desired.has(k)).sort());
      assert.equal(tracker.inSync, desired.size === actual.size && [...desired].every(([k, v]) => actual.get(k) === v));
    }),
  );
});

test('what is found while a dump is taken in is pending again at worst, and what was gone is not there', () => {
  const tracker = new DeltaTracker<string, true>();
  for (const key of ['kept', 'gone', 'new']) tracker.desire(key, true);
  tracker.found('gone', true);
  const steps = tracker.replacingActual([['kept', true]]);
  steps.next();
  tracker.found('new', true);
  for (const _ of steps);
  assert.deepEqual([...tracker.actual.keys()], ['kept']);
  assert.deepEqual([...tracker.pendingUpdates].sort(), ['gone', 'new']);
});
