/**
 * Keys whose work is still to be done, each once, in order of marking. A live iterator takes them: starting a new one for each
 * key would walk over all that were taken before.
 */
export class DirtySet<K> {
  readonly #keys = new Set<K>();
  #next = this.#keys.values();

  get size(): number {
    return this.#keys.size;
  }

  add(key: K): void {
    this.#keys.add(key);
  }

  /** Removes and returns a key; undefined when none is left. */
  take(): K | undefined {
    const { value, done } = this.#next.next();
    if (done) {
      // A finished iterator stays finished: the next one sees what is added from now on.
      this.#next = this.#keys.values();
      return undefined;
    }
    this.#keys.delete(value);
    return value;
  }
}
