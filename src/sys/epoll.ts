import { EpollFd } from './epoll-fd.ts';
import { type Watcher, watch } from './watch.ts';

/** Events handled in one turn of the event loop; the rest comes in the next. */
const eventsPerTurnMax = 512;

/**
 * Thousands of descriptors under one watcher: an epoll set, itself watched by the event loop. `onEvent(fd, events)` may add, change and remove
 * any descriptor; an event of one that was removed during the same turn is not delivered.
 */
export class Epoll {
  readonly #epoll = new EpollFd(eventsPerTurnMax);
  readonly #watcher: Watcher;
  /** fd -> generation: tells a number that was closed and reused during one turn from the one that the event is for. */
  readonly #generations = new Map<number, number>();
  #generation = 0;

  constructor(onEvent: (fd: number, events: number) => void) {
    this.#watcher = watch(this.#epoll.number, { readable: true }, () => this.#turn(onEvent));
  }
  get size(): number {
    return this.#generations.size;
  }
  add(fd: number, events: number): void {
    this.#generations.set(fd, ++this.#generation);
    this.#epoll.add(fd, events, this.#generation);
  }
  modify(fd: number, events: number): void {
    this.#epoll.modify(fd, events, this.#generations.get(fd));
  }
  /** Must come before the descriptor is closed. */
  remove(fd: number): void {
    if (this.#generations.delete(fd)) this.#epoll.remove(fd);
  }
  close(): void {
    this.#watcher.close();
    this.#epoll.close();
    this.#generations.clear();
  }

  #turn(onEvent: (fd: number, events: number) => void): void {
    const count = this.#epoll.wait(0);
    for (let i = 0; i < count; i++) {
      const fd = this.#epoll.fdAt(i);
      if (this.#generations.get(fd) !== this.#epoll.tagAt(i)) continue;
      onEvent(fd, this.#epoll.eventsAt(i));
      if (this.#epoll.closed) return;
    }
  }
}
