/** Long work in short slices, so that a main loop full of rules still answers. */
import type { Clock } from '#kit';

/** The design's bound for one slice is 20 ms; what runs between two looks at the clock needs some of it. */
const sliceMsMax = 8;

/** For work that gives way by itself: after each part of it, `turn`. */
export class Pace {
  readonly #clock: Clock;
  #from: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#from = clock.nowMs();
  }
  /** Lets other work of the loop run once the slice is over. */
  async turn(): Promise<void> {
    if (!this.over) return;
    await new Promise<void>((resolve) => void this.#clock.schedule(0, resolve));
    this.#from = this.#clock.nowMs();
  }
  get over(): boolean {
    return this.#clock.nowMs() - this.#from >= sliceMsMax;
  }
}

/** Visits every item, letting other work of the loop run about every 8 ms. Nothing else may change what `items` walks over. */
export async function paced<T>(
  clock: Clock,
  items: Iterable<T>,
  visit: (item: T) => void = () => undefined,
): Promise<void> {
  const pace = new Pace(clock);
  for (const item of items) {
    visit(item);
    // Without the check each item would cost a promise.
    if (pace.over) await pace.turn();
  }
}

export async function pacedArray<T>(clock: Clock, items: Iterable<T>): Promise<T[]> {
  const out: T[] = [];
  await paced(clock, items, (item) => out.push(item));
  return out;
}
