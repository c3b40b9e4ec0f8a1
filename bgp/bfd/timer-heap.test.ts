import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { TimerHeap } from './timer-heap.ts';

test('the heap agrees with a naive one under every sequence of set, move and remove', () => {
  const operation = fc.record({
    timer: fc.nat(200),
    dueMs: fc.option(fc.nat(1000), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
      const heap = new TimerHeap();
      const naive = new Map<number, number>();
      for (const { timer, dueMs } of operations) {
        if (dueMs === undefined) {
          heap.remove(timer);
          naive.delete(timer);
        } else {
          heap.set(timer, dueMs);
          naive.set(timer, dueMs);
        }
        assert.equal(heap.size, naive.size);
        assert.equal(heap.nextDueMs, Math.min(...naive.values()));
        assert.equal(heap.dueMs(timer), naive.get(timer) ?? Number.POSITIVE_INFINITY);
        if (naive.size > 0) assert.equal(naive.get(heap.next), heap.nextDueMs);
        else assert.equal(heap.next, -1);
      }
      const drained: number[] = [];
      while (heap.size > 0) {
        drained.push(heap.nextDueMs);
        heap.remove(heap.next);
      }
      assert.deepEqual(
        drained,
        [...naive.values()].sort((a, b) => a - b),
      );
    }),
  );
});
