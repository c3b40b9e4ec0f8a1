/** Long work in short slices, so that a main loop full of rules still answers. */
import type { Clock } from '#kit';

/** The design's bound for one slice is 20 ms; what runs between two looks at the clock needs some of it. */
const sliceMsMax = 8;

/** Visits every item, letting other work of the loop run about every 8 ms. Nothing else may change what `items` walks over. */
export async function paced<T>(
  clock: Clock,
  items: Iterable<T>,
  visit: (item: T) => void = () => undefined,
): Promise<void> {
  let from = clock.nowMs();
  for (const item of items) {
    visit(item);
    if (clock.nowMs() - from < sliceMsMax) continue;
    await new Promise<void>((resolve) => void clock.schedule(0, resolve));
    from = clock.nowMs();
  }
}

export async function pacedArray<T>(clock: Clock, items: Iterable<T>): Promise<T[]> {
  const out: T[] = [];
  await paced(clock, items, (item) => out.push(item));
  return out;
}
