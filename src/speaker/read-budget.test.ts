import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReadBudget, readBytesMax, readBytesMin, readBytesPerTurnMax, readMsPerTurn } from './read-budget.ts';

/** Connections that always have something to read, each octet of which takes some time, in turns of an event loop. */
class Loop {
  nowMs = 0;
  readonly #deferred: (() => void)[] = [];
  readonly budget = new ReadBudget(
    () => this.nowMs,
    (fn) => void this.#deferred.push(fn),
  );
  readonly lastTurn: number[] = [];
  readonly reads: number[] = [];

  join(): void {
    this.lastTurn.push(this.budget.turn);
    this.reads.push(0);
  }
  /** Asks all, in this order; returns what was read and how long it took. */
  turn(
    order: readonly number[],
    msPerOctet: number,
  ): { readonly bytes: number; readonly ms: number; readonly longestMs: number } {
    const began = this.nowMs;
    let bytes = 0;
    let longestMs = 0;
    for (const index of order) {
      const most = this.budget.allowance(this.lastTurn[index]!);
      if (most === 0) continue;
      const started = this.nowMs;
      this.nowMs += most * msPerOctet;
      longestMs = Math.max(longestMs, this.nowMs - started);
      this.lastTurn[index] = this.budget.read(most, started);
      this.reads[index]!++;
      bytes += most;
    }
    for (const fn of this.#deferred.splice(0)) fn();
    return { bytes, ms: this.nowMs - began, longestMs };
  }
}

test('a turn has so many octets, or so much time, whichever is over first, and one read on top', () => {
  for (const msPerOctet of [0, 1e-5, 1e-4, 1e-3]) {
    const loop = new Loop();
    for (let i = 0; i < 50; i++) loop.join();
    const order = loop.reads.keys().toArray();
    // Reads become as short as they must within a few turns.
    for (let i = 0; i < 10; i++) loop.turn(order, msPerOctet);
    for (let i = 0; i < 100; i++) {
      const { bytes, ms, longestMs } = loop.turn(order, msPerOctet);
      assert.ok(bytes > 0 && bytes < readBytesPerTurnMax + readBytesMax, `${bytes} octets`);
      const oneRead = Math.max(readMsPerTurn, readBytesMin * msPerOctet);
      assert.ok(longestMs <= 2 * oneRead, `${longestMs} ms in one read`);
      assert.ok(ms <= 3 * oneRead, `${ms} ms in one turn`);
    }
  }
});

test('those go first who read least recently, in whatever order the kernel names them; new ones are not ahead of them', () => {
  for (const reversed of [false, true]) {
    const loop = new Loop();
    for (let i = 0; i < 20; i++) loop.join();
    for (let i = 0; i < 2000; i++) {
      // As a flood of newcomers would be, each of which has something to read.
      loop.join();
      const order = loop.reads.keys().toArray();
      loop.turn(reversed ? order.reverse() : order, 1e-5);
    }
    const old = loop.reads.slice(0, 20);
    assert.ok(Math.max(...old) - Math.min(...old) <= 1, old.join(' '));
    assert.ok(Math.min(...old) > 0, 'none of them starves');
  }
});

test('who went away while others waited keeps nobody from reading', () => {
  const loop = new Loop();
  for (let i = 0; i < 3; i++) loop.join();
  for (let i = 0; i < 10; i++) loop.turn([0, 1, 2], 1e-4);
  const before = [...loop.reads];
  for (let i = 0; i < 10; i++) loop.turn([1, 2], 1e-4);
  assert.equal(loop.reads[0], before[0]);
  for (const index of [1, 2]) assert.ok(loop.reads[index]! >= before[index]! + 4, `${loop.reads[index]} reads`);
});

test('single messages ask for no end of their turn, until they have had a small part of what a turn may have', () => {
  let deferred = 0;
  let nowMs = 0;
  const budget = new ReadBudget(
    () => nowMs,
    () => void deferred++,
  );
  for (let i = 0, turn = budget.turn; i < 10; i++) {
    assert.ok(budget.allowance(turn) >= readBytesMin);
    const started = nowMs;
    nowMs += readMsPerTurn / 100;
    turn = budget.read(50, started);
    assert.ok(budget.little);
  }
  assert.equal(deferred, 0);
  nowMs += 1000;
  budget.read(1, nowMs - readMsPerTurn);
  assert.equal(deferred, 1);
  assert.ok(!budget.little);
  assert.equal(budget.allowance(0), 0, 'the turn is over');
});

test('a message now and then is never too much, once all others had their turn; a turn that has begun is not cut short', () => {
  const loop = new Loop();
  const read = (bytes: number): boolean => {
    loop.budget.read(bytes, loop.nowMs);
    return loop.budget.little;
  };
  while (read(100));
  loop.budget.quiet();
  assert.equal(loop.budget.little, false);
  loop.turn([], 0);
  for (let i = 0; i < 1000; i++) {
    loop.budget.quiet();
    assert.ok(read(100));
  }
});
