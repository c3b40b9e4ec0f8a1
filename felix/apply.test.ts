import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, silentLogger } from '#kit';
import { ApplyLoop, type ApplyTiming } from './apply.ts';

/** A loop over a fake clock whose runs end when the test says so. */
function harness() {
  const clock = new FakeClock();
  const runs: { readonly resync: boolean; readonly end: (error?: Error) => void }[] = [];
  let tidied = 0;
  let goOn = (): boolean => true;
  /** What the tidying waits for before it asks whether it may go on. */
  let step: Promise<void> | undefined;
  const timings: ApplyTiming[] = [];
  const loop = new ApplyLoop(
    {
      clock,
      log: silentLogger,
      run: (resync) => {
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        runs.push({ resync, end: (error) => (error ? reject(error) : resolve()) });
        return promise;
      },
      tidy: async (mayGoOn) => {
        tidied++;
        goOn = mayGoOn;
        await step;
        return mayGoOn();
      },
      onRun: (timing) => timings.push(timing),
    },
    { throttleMs: 10, retryFirstMs: 100, retryMaxMs: 400, refreshMs: 100_000 },
  );
  /** Lets promise callbacks run; they need a few turns. */
  const turn = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };
  const state = (promise: Promise<void>): (() => string) => {
    let text = 'pending';
    promise.then(
      () => (text = 'applied'),
      (error: Error) => (text = error.message),
    );
    return () => text;
  };
  const tidying = {
    goOn: () => goOn(),
    waitsFor(next: Promise<void>) {
      step = next;
    },
  };
  return { clock, runs, loop, turn, state, timings, tidying, tidied: () => tidied };
}

test('nothing runs before the loop is opened, and waiters wait for the first run', async () => {
  const { clock, runs, loop, turn, state } = harness();
  const early = state(loop.whenApplied());
  loop.markDirty();
  clock.advance(1000);
  await turn();
  assert.equal(runs.length, 0);
  loop.open();
  clock.advance(0);
  assert.equal(runs.length, 1);
  await turn();
  assert.equal(early(), 'pending');
  runs[0]!.end();
  await turn();
  assert.equal(early(), 'applied');
  await loop.stop();
});

test('a change during a run waits for the next one, a burst shares it', async () => {
  const { clock, runs, loop, turn, state } = harness();
  loop.open();
  clock.advance(0);
  loop.markDirty();
  loop.markDirty();
  runs[0]!.end();
  await turn();
  clock.advance(9);
  assert.equal(runs.length, 1, 'throttled');
  clock.advance(1);
  assert.equal(runs.length, 2);
  runs[1]!.end();
  await turn();
  assert.equal(loop.pending, false);
  clock.advance(5000);
  assert.equal(runs.length, 2, 'nothing to do');
  assert.equal(state(loop.whenApplied())(), 'pending');
  await turn();
  await loop.stop();
});

test('who waits is not throttled, whether the change came during a run or in the pause behind it', async () => {
  const { clock, runs, loop, turn, state } = harness();
  loop.open();
  clock.advance(0);
  loop.markDirty();
  const during = state(loop.whenApplied());
  runs[0]!.end();
  await turn();
  assert.equal(during(), 'pending');
  clock.advance(0);
  assert.equal(runs.length, 2);
  loop.markDirty();
  runs[1]!.end();
  await turn();
  assert.equal(during(), 'applied');
  clock.advance(0);
  assert.equal(runs.length, 2, 'nobody waits');
  const behind = state(loop.whenApplied());
  clock.advance(0);
  assert.equal(runs.length, 3);
  runs[2]!.end(new Error('no'));
  await turn();
  void state(loop.whenApplied());
  clock.advance(99);
  assert.equal(runs.length, 3, 'back-off stays');
  clock.advance(1);
  runs[3]!.end();
  await turn();
  assert.equal(behind(), 'applied');
  await loop.stop();
});

test('a failed run is repeated with growing delays, reads everything back, and keeps waiters waiting', async () => {
  const { clock, runs, loop, turn, state, tidied } = harness();
  loop.open();
  const waiter = state(loop.whenApplied());
  clock.advance(0);
  assert.equal(runs[0]!.resync, false);
  let count = 1;
  for (const delayMs of [100, 200, 400, 400]) {
    runs.at(-1)!.end(new Error('no'));
    await turn();
    assert.equal(loop.failures, count);
    assert.equal(loop.lastError, 'no');
    clock.advance(delayMs - 1);
    assert.equal(runs.length, count);
    clock.advance(1);
    assert.equal(runs.length, ++count);
    assert.equal(runs.at(-1)!.resync, true);
  }
  assert.equal(waiter(), 'pending');
  assert.equal(tidied(), 0);
  runs.at(-1)!.end();
  await turn();
  assert.equal(waiter(), 'applied');
  assert.equal(loop.failures, 0);
  assert.equal(loop.pending, false);
  assert.equal(tidied(), 0);
  clock.advance(100);
  await turn();
  assert.equal(tidied(), 1);
  await loop.stop();
});

test('a run and a tidying never work at the same time', async () => {
  const clock = new FakeClock();
  let busy = 0;
  let runs = 0;
  const ends: (() => void)[] = [];
  const work = (): Promise<void> => {
    assert.equal(++busy, 1);
    const { promise, resolve } = Promise.withResolvers<void>();
    ends.push(() => {
      busy--;
      resolve();
    });
    return promise;
  };
  const run = (): Promise<void> => {
    runs++;
    return work();
  };
  const tidy = async (): Promise<boolean> => {
    await work();
    return true;
  };
  const loop = new ApplyLoop({ clock, log: silentLogger, run, tidy }, { throttleMs: 10 });
  loop.open();
  for (let i = 0; i < 500; i++) {
    if (i % 7 === 0) loop.markDirty();
    if (i % 11 === 0) loop.markUntidy();
    clock.advance(i % 13);
    if (i % 3 === 0) ends.splice(0).forEach((end) => void end());
    for (let k = 0; k < 20; k++) await Promise.resolve();
  }
  assert.ok(runs > 20);
  for (const end of ends) end();
  await loop.stop();
});

test('tidying waits for a pause, but not for ever', async () => {
  const { clock, runs, loop, turn, tidied } = harness();
  loop.open();
  clock.advance(0);
  runs[0]!.end();
  await turn();
  clock.advance(99);
  let busyMs = 99;
  // A stream of changes, one each 60 ms.
  for (; tidied() === 0 && busyMs < 10_000; busyMs += 60) {
    loop.markDirty();
    clock.advance(60);
    runs.at(-1)!.end();
    await turn();
  }
  assert.ok(busyMs > 1_500 && busyMs < 2_500, `${busyMs} ms`);
  for (let i = 0; i < 3; i++) {
    clock.advance(1_000);
    runs.at(-1)!.end();
    await turn();
  }
  assert.equal(tidied(), 2);
  clock.advance(10_000);
  await turn();
  assert.equal(tidied(), 2, 'nothing to tidy');
  loop.markUntidy();
  clock.advance(100);
  await turn();
  assert.equal(tidied(), 3);
  await loop.stop();
});

test('a change stops a tidying, runs at once, and the tidying begins anew, but a fifth time it goes on', async () => {
  const { clock, runs, loop, turn, tidied, tidying } = harness();
  loop.open();
  clock.advance(0);
  runs[0]!.end();
  await turn();
  const mayGoOn: boolean[] = [];
  for (let i = 1; i <= 6; i++) {
    const { promise, resolve } = Promise.withResolvers<void>();
    tidying.waitsFor(promise);
    // Overdue from the second one on.
    clock.advance(i === 1 ? 2_000 : 0);
    await turn();
    assert.equal(tidied(), i);
    loop.markDirty();
    mayGoOn.push(tidying.goOn());
    resolve();
    await turn();
    clock.advance(0);
    assert.equal(runs.length, 1 + i);
    runs[i]!.end();
    await turn();
    if (mayGoOn.at(-1)) clock.advance(2_000);
  }
  assert.deepEqual(mayGoOn, [false, false, false, false, true, false]);
  await loop.stop();
});

test('everything is read back at each refresh', async () => {
  const { clock, runs, loop, turn } = harness();
  loop.open();
  clock.advance(0);
  runs[0]!.end();
  await turn();
  clock.advance(1_000);
  await turn();
  clock.advance(99_000);
  assert.equal(runs.length, 2);
  assert.equal(runs[1]!.resync, true);
  runs[1]!.end();
  await turn();
  await loop.stop();
  clock.advance(1_000_000);
  assert.equal(runs.length, 2);
});

test('stopping refuses who waits', async () => {
  const { loop, turn, state } = harness();
  const waiter = state(loop.whenApplied());
  await loop.stop();
  await turn();
  assert.equal(waiter(), 'the dataplane is stopped');
  await assert.rejects(loop.whenApplied(), /stopped/);
});

test('times: of the run, and of the oldest change that it brought in force, failed tries included', async () => {
  const { clock, runs, loop, turn, timings } = harness();
  loop.open();
  clock.advance(0);
  clock.advance(5);
  runs[0]!.end();
  await turn();
  assert.deepEqual(timings, [{ runMs: 5, ok: true }]);
  loop.markDirty();
  clock.advance(10);
  loop.markDirty();
  clock.advance(20);
  runs[1]!.end(new Error('locked'));
  await turn();
  assert.deepEqual(timings[1], { runMs: 30, ok: false });
  clock.advance(100);
  clock.advance(3);
  runs[2]!.end();
  await turn();
  assert.deepEqual(timings[2], { runMs: 3, changeMs: 133, ok: true });
  await loop.stop();
});
