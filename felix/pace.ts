/**
 * Long work in short slices, so that a main loop full of rules still answers.
 *
 * What runs beside each other, or one after the other without waiting for anything, is of one turn of the loop and shares its slice: three dumps that
 * are taken in at one time are no longer away than one. Which turn it is, is told by a timer: the next one begins when it fires.
 */
import type { Clock } from '#kit';

/** The design's bound for one turn is 20 ms; what runs between two looks at the clock needs some of it, and so do the others of the turn. */
const sliceMsMax = 8;

interface Slice {
  readonly fromMs: number;
}
/** Of the turn that is under way. */
const slices = new WeakMap<Clock, Slice>();

function sliceOf(clock: Clock): Slice {
  const known = slices.get(clock);
  if (known) return known;
  const slice = { fromMs: clock.nowMs() };
  slices.set(clock, slice);
  clock.schedule(0, () => slices.delete(clock));
  return slice;
}

/** For work that gives way by itself. */
export class Pace {
  readonly #clock: Clock;
  #slice: Slice | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }
  /** A part of the work begins. */
  begin(): void {
    this.#slice ??= sliceOf(this.#clock);
  }
  /** It has taken what there is in this turn. */
  get over(): boolean {
    return this.#slice !== undefined && this.#clock.nowMs() - this.#slice.fromMs >= sliceMsMax;
  }
  /** Lets other work of the loop run. */
  async giveWay(): Promise<void> {
    await new Promise<void>((resolve) => void this.#clock.schedule(0, resolve));
    this.#slice = undefined;
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
    pace.begin();
    visit(item);
    if (pace.over) await pace.giveWay();
  }
}

export async function pacedArray<T>(clock: Clock, items: Iterable<T>): Promise<T[]> {
  const out: T[] = [];
  await paced(clock, items, (item) => out.push(item));
  return out;
}
