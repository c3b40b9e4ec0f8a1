/** Counts of times in fixed buckets: nothing is allocated when one is added. */
export const bucketEdgesMs: readonly number[] = [
  0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 35, 40, 45, 50, 50.5, 51, 52, 55, 60, 75, 100, 150, 200, 225, 250, 275, 300, 301,
  305, 310, 350, 500, 1000,
];

/** The longest of the times since it was taken last; 0: there were none. */
export class Longest {
  #ms = 0;

  add(ms: number): void {
    if (ms > this.#ms) this.#ms = ms;
  }
  take(): number {
    const ms = this.#ms;
    this.#ms = 0;
    return ms;
  }
}

export class Buckets {
  readonly counts = new Uint32Array(bucketEdgesMs.length + 1);
  readonly #max = new Longest();

  takeMax(): number {
    return this.#max.take();
  }

  add(ms: number): void {
    this.#max.add(ms);
    let i = 0;
    while (i < bucketEdgesMs.length && ms > bucketEdgesMs[i]!) i++;
    this.counts[i]!++;
  }
}
