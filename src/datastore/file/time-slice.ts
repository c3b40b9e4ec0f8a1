/** Long work in slices: no slice of the main loop may run over 20 ms, so whoever loops breathes. */
import { setImmediate as nextTurn } from 'node:timers/promises';

const sliceMs = 8;
let turnBegan = 0;

/** Lets other work pass when this turn of the event loop has lasted long enough; otherwise resolves at once. */
export async function breathe(): Promise<void> {
  const now = performance.now();
  if (now - turnBegan < sliceMs) return;
  await nextTurn();
  turnBegan = performance.now();
}

/** Runs a generator to its end in slices. */
export async function runInSlices<T>(steps: Generator<void, T>): Promise<T> {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    await breathe();
  }
}
