/** Long work in slices: no slice of the main loop may run over 20 ms, so whoever loops breathes. */
import { nowMs } from '#kit';

const sliceMs = 8;
let turnBegan = 0;
/** Who waits for a turn of its own: one is let on in each turn of the event loop, so that slices do not add up. */
const waiting: (() => void)[] = [];

function nextTurn(): void {
  const resume = waiting.shift();
  if (waiting.length > 0) setImmediate(nextTurn);
  turnBegan = nowMs();
  resume?.();
}

/** Undefined while this turn of the event loop may go on; else what to wait for. Cheaper than `breathe` in a tight loop. */
export function pauseIfDue(): Promise<void> | undefined {
  if (nowMs() - turnBegan < sliceMs) return undefined;
  return new Promise((resolve) => {
    waiting.push(resolve);
    if (waiting.length === 1) setImmediate(nextTurn);
  });
}

/** Lets other work pass when this turn of the event loop has lasted long enough; otherwise resolves at once. */
export async function breathe(): Promise<void> {
  await pauseIfDue();
}

/** Runs a generator to its end in slices. */
export async function runInSlices<T>(steps: Generator<void, T>): Promise<T> {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    await pauseIfDue();
  }
}
