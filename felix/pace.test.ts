import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '#kit';
import { paced } from './pace.ts';

/** All that promises bring about without the clock. */
const idle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Items that take a millisecond each, and how many are visited in each turn of the loop until the work has ended. */
async function turns(work: (visits: (items: number) => Promise<void>) => Promise<unknown>): Promise<number[]> {
  let nowMs = 0;
  let visited = 0;
  const timers = new FakeClock();
  const clock = { nowMs: () => nowMs, schedule: timers.schedule.bind(timers) };
  const visits = (items: number): Promise<void> =>
    paced(clock, Array(items).keys(), () => {
      nowMs++;
      visited++;
    });
  let ended = false;
  void work(visits).then(() => {
    ended = true;
  });
  const seen: number[] = [];
  while (!ended) {
    await idle();
    seen.push(visited);
    visited = 0;
    timers.advance(0);
  }
  return seen;
}

test('long work is taken in turns of 8 ms', async () => {
  assert.deepEqual(await turns((visits) => visits(20)), [8, 8, 4]);
});

test('what runs side by side shares a turn', async () => {
  const seen = await turns((visits) => Promise.all([visits(20), visits(20), visits(20)]));
  assert.equal(
    seen.reduce((sum, each) => sum + each, 0),
    60,
  );
  assert.ok(Math.max(...seen) <= 10, `${seen}`);
});

test('so does what comes one after the other in it', async () => {
  const seen = await turns(async (visits) => {
    for (const items of [5, 5, 5]) await visits(items);
  });
  assert.deepEqual(seen, [8, 7]);
});
