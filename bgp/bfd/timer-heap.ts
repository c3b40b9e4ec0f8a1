/**
 * Deadlines of a fixed set of timers by number: a binary heap in flat arrays. Setting, moving and removing one costs O(log n) and allocates
 * nothing until the arrays must grow.
 */
export class TimerHeap {
  #heap = new Int32Array(64);
  /** Place of each timer in the heap, -1: not set. */
  #places = new Int32Array(64).fill(-1);
  #dueMs = new Float64Array(64);
  #size = 0;

  get size(): number {
    return this.#size;
  }
  /** Infinity when none is set. */
  get nextDueMs(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#dueMs[this.#heap[0]!]!;
  }
  /** The timer that is due first; -1: none is set. */
  get next(): number {
    return this.#size === 0 ? -1 : this.#heap[0]!;
  }
  /** Infinity when it is not set. */
  dueMs(timer: number): number {
    return (this.#places[timer] ?? -1) < 0 ? Number.POSITIVE_INFINITY : this.#dueMs[timer]!;
  }

  set(timer: number, dueMs: number): void {
    this.#fit(timer);
    let place = this.#places[timer]!;
    if (place < 0) {
      place = this.#size++;
      this.#heap[place] = timer;
      this.#places[timer] = place;
    }
    this.#dueMs[timer] = dueMs;
    this.#down(this.#up(place));
  }

  remove(timer: number): void {
    const place = this.#places[timer] ?? -1;
    if (place < 0) return;
    this.#places[timer] = -1;
    const last = this.#heap[--this.#size]!;
    if (last === timer) return;
    this.#heap[place] = last;
    this.#places[last] = place;
    this.#down(this.#up(place));
  }

  #fit(timer: number): void {
    const length = this.#places.length;
    if (timer < length) return;
    const wanted = Math.max(2 * length, timer + 1);
    const places = new Int32Array(wanted).fill(-1);
    places.set(this.#places);
    const heap = new Int32Array(wanted);
    heap.set(this.#heap);
    const dueMs = new Float64Array(wanted);
    dueMs.set(this.#dueMs);
    this.#places = places;
    this.#heap = heap;
    this.#dueMs = dueMs;
  }

  #up(from: number): number {
    let place = from;
    const timer = this.#heap[place]!;
    const dueMs = this.#dueMs[timer]!;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const other = this.#heap[parent]!;
      if (this.#dueMs[other]! <= dueMs) break;
      this.#heap[place] = other;
      this.#places[other] = place;
      place = parent;
    }
    this.#heap[place] = timer;
    this.#places[timer] = place;
    return place;
  }

  #down(from: number): void {
    let place = from;
    const timer = this.#heap[place]!;
    const dueMs = this.#dueMs[timer]!;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= this.#size) break;
      const right = child + 1;
      if (right < this.#size && this.#dueMs[this.#heap[right]!]! < this.#dueMs[this.#heap[child]!]!) child = right;
      const other = this.#heap[child]!;
      if (this.#dueMs[other]! >= dueMs) break;
      this.#heap[place] = other;
      this.#places[other] = place;
      place = child;
    }
    this.#heap[place] = timer;
    this.#places[timer] = place;
  }
}
