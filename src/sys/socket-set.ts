import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EpollFd } from './epoll-fd.ts';
import { type EventLoop, eventLoop } from './event-loop.ts';
import { type Watcher, watch } from './watch.ts';

/** Of one look; the rest is ready still at the next. */
const eventsMax = 256;
/** How long a turn of the event loop may last because more is waited for in it. */
const stayMsMax = 20;
/** Looks at the sockets of a turn while something else is to be done. */
const hurriedMax = 3;

/** @param readable or there is an error, or the end: reading tells which. */
export type OnSocketReady = (readable: boolean, writable: boolean) => void;

export interface SocketWatcher {
  /** What is waited for from now on; errors and the end always are. */
  await(readable: boolean, writable: boolean): void;
  /** Must come before the descriptor is closed. Idempotent. */
  close(): void;
}

interface Member {
  readonly onReady: OnSocketReady;
  /** Tells a number that was closed and reused from the one that an event is for. */
  readonly generation: number;
}

/**
 * The sockets of a thread whose peers are in a hurry, level triggered. To be called by the event loop costs more than to read a short message, to
 * decide and to answer. So when one event soon follows another, more is waited for right here, past the loop: until anything else is to be done in this
 * thread (its descriptors, timers and immediates, which the loop is asked for), or `stayMsMax` is over. Only what a callback has begun and
 * the loop has not seen yet, a promise that is settled or a descriptor to be watched, waits as long.
 *
 * It keeps the thread alive while it has members.
 */
export class SocketSet {
  /** Among the descriptors of the event loop, or has the event loop's among its own: one in the other, never both. */
  readonly #epoll = new EpollFd(eventsMax);
  readonly #loop: EventLoop | undefined = eventLoop();
  readonly #members = new Map<number, Member>();
  #watcher: Watcher | undefined;
  readonly #onQuiet: () => void;
  #generation = 0;
  /** The event loop's descriptor is in the set, and the set not among the loop's. */
  #away = false;
  #lastEventMs = Number.NEGATIVE_INFINITY;

  /** @param onQuiet when all that was ready has been served, nothing else is to be done in this thread, and more is waited for. */
  constructor(onQuiet: () => void = () => undefined) {
    this.#onQuiet = onQuiet;
  }

  /** Nothing is waited for yet. @throws SysError when there is no room for it. */
  add(fd: number, onReady: OnSocketReady): SocketWatcher {
    this.#generation = (this.#generation + 1) >>> 0;
    const member: Member = { onReady, generation: this.#generation };
    this.#epoll.add(fd, 0, member.generation);
    this.#members.set(fd, member);
    this.#watcher ??= watch(this.#epoll.number, { readable: true }, this.#turn);
    const isMember = (): boolean => this.#members.get(fd) === member;
    return {
      await: (readable, writable) => {
        if (!isMember()) return;
        this.#epoll.modify(fd, (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0), member.generation);
      },
      close: () => {
        if (!isMember()) return;
        this.#members.delete(fd);
        this.#epoll.remove(fd);
        if (this.#members.size === 0) this.#endWatch();
      },
    };
  }

  close(): void {
    this.#members.clear();
    this.#endWatch();
    this.#epoll.close();
  }

  #endWatch(): void {
    this.#rejoin();
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  readonly #turn = (): void => {
    this.#serve(0);
    const began = performance.now();
    const soon = began - this.#lastEventMs < stayMsMax;
    this.#lastEventMs = began;
    if (soon && this.#loop && this.#watcher) this.#stay(this.#loop, began);
  };

  #stay(loop: EventLoop, began: number): void {
    try {
      // Whatever else is to be done gets its turn soon, however much comes here.
      for (let hurried = 0; hurried < hurriedMax; ) {
        const waitMs = this.#waitMs(loop, began);
        if (waitMs === 0) hurried++;
        else {
          this.#leave(loop);
          this.#onQuiet();
        }
        if (!this.#serve(waitMs) || !this.#watcher) return;
        this.#lastEventMs = performance.now();
      }
    } finally {
      this.#rejoin();
    }
  }

  #leave(loop: EventLoop): void {
    if (this.#away) return;
    this.#watcher?.stop();
    this.#epoll.add(loop.fd, EPOLLIN);
    this.#away = true;
  }
  #rejoin(): void {
    if (!this.#away) return;
    this.#away = false;
    this.#epoll.remove(this.#loop!.fd);
    this.#watcher?.restart();
  }

  /** How long to wait for more, in whole ms; 0: not at all. */
  #waitMs(loop: EventLoop, began: number): number {
    const left = Math.ceil(stayMsMax - (this.#lastEventMs - began));
    if (left <= 0) return 0;
    const loopMs = loop.waitMs();
    return loopMs < 0 || loopMs > left ? left : loopMs;
  }

  /** @returns whether members were ready, and nothing else. */
  #serve(waitMs: number): boolean {
    const epoll = this.#epoll;
    const count = epoll.wait(waitMs);
    let only = count > 0;
    for (let i = 0; i < count; i++) {
      const fd = epoll.fdAt(i);
      if (this.#away && fd === this.#loop!.fd) {
        only = false;
        continue;
      }
      const member = this.#members.get(fd);
      if (member === undefined || member.generation !== epoll.tagAt(i)) continue;
      const events = epoll.eventsAt(i);
      member.onReady((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) !== 0, (events & EPOLLOUT) !== 0);
    }
    return only;
  }
}
