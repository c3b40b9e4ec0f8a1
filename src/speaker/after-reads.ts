const nothing = (): void => undefined;

/**
 * What a read leaves to be done (`SpeakerDeps.defer`). As a rule that is after all that is readable in this turn of the event loop, so that a
 * burst is one decision a prefix and full messages. A read that brings little, while others have brought little, has nothing to wait
 * for: what it leaves is done at its end, and a change goes out without another hop through the event loop.
 *
 * Who is told of a change may run before we go on, and what he says to it waits for all that we do until we read again. So what of this nobody waits
 * for (`SpeakerDeps.afterwards`) is done when there was nothing more to read.
 */
export class AfterReads {
  readonly #later: (fn: () => void) => void;
  readonly #left = new WorkList();
  readonly #rest = new WorkList();
  #reading = false;
  /** What a read left is being done at its end. */
  #atEnd = false;

  /** @param later calls when all that is readable in this turn has been asked. */
  constructor(later: (fn: () => void) => void) {
    this.#later = later;
  }

  readonly defer = (fn: () => void): void => {
    if (this.#reading) this.#left.add(fn);
    else if (this.#atEnd) this.#later(() => this.#later(fn));
    else this.#later(fn);
  };

  /** Outside of work done at the end of a read: at once. */
  readonly afterwards = (fn: () => void): void => {
    if (this.#atEnd) this.#rest.add(fn);
    else fn();
  };

  /** A read begins: what is deferred from here to `end` is its own. */
  begin(): void {
    this.#reading = true;
  }
  /** @param now whether it brought so little. What is done now, and leaves more to be done, leaves that to the next turn: it had its slice of this one. */
  end(now: boolean): void {
    this.#reading = false;
    this.#atEnd = now;
    this.#left.take(now ? run : this.#later);
    this.#atEnd = false;
  }

  /** There was nothing more to read, or others have their turn. */
  noMore(): void {
    this.#atEnd = true;
    this.#rest.take(run);
    this.#atEnd = false;
  }
}

function run(fn: () => void): void {
  fn();
}

class WorkList {
  /** The first `#count`; the room stays, since to empty an array gives it away. */
  readonly #items: (() => void)[] = [];
  #count = 0;

  add(fn: () => void): void {
    this.#items[this.#count++] = fn;
  }
  /** Gives `how` what is there; what is added meanwhile stays for the next time. */
  take(how: (fn: () => void) => void): void {
    const items = this.#items;
    const count = this.#count;
    this.#count = 0;
    for (let i = 0; i < count; i++) {
      const fn = items[i]!;
      items[i] = nothing;
      how(fn);
    }
  }
}
