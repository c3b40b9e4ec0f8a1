import { EPOLLIN, EPOLLOUT, EpollFd } from './epoll-fd.ts';

/** Of one look; the rest is ready still at the next. */
const eventsMax = 64;

/**
 * Descriptors that a thread of its own sleeps on, past the event loop. A turn through libuv and back into JavaScript allocates 150 bytes or more;
 * this allocates nothing. While it sleeps no timer, message or promise of that thread moves, and a worker cannot be terminated.
 */
export class EpollSleep {
  readonly #epoll = new EpollFd(eventsMax);
  #count = 0;

  /** Waits for `fd` to be readable, level triggered. */
  add(fd: number): void {
    this.#epoll.add(fd, EPOLLIN);
  }
  /** Whether to wait for it to be writable, too. */
  awaitRoom(fd: number, wanted: boolean): void {
    this.#epoll.modify(fd, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }
  /** Must come before the descriptor is closed. */
  remove(fd: number): void {
    this.#epoll.remove(fd);
  }
  /** Until a descriptor is ready or has an error, a signal came, or `timeoutMs` (whole) are over. */
  sleep(timeoutMs: number): void {
    this.#count = 0;
    this.#count = this.#epoll.wait(timeoutMs);
  }
  /** Whether `fd` ended the last sleep. */
  woke(fd: number): boolean {
    for (let i = 0; i < this.#count; i++) if (this.#epoll.fdAt(i) === fd) return true;
    return false;
  }
  /** How many descriptors did. */
  get readyCount(): number {
    return this.#count;
  }
  close(): void {
    this.#epoll.close();
  }
}
