import { EAGAIN, EINTR } from './constants.ts';
import { type EventLoop, eventLoop } from './event-loop.ts';
import { Fd } from './fd.ts';
import * as libc from './libc.ts';
import { check } from './sys-error.ts';
import { type Watcher, watch } from './watch.ts';

const EPOLL_CLOEXEC = 0o2000000;
const CTL_ADD = 1;
const CTL_DEL = 2;
const CTL_MOD = 3;
const EPOLLIN = 1;
const EPOLLOUT = 4;
const EPOLLERR = 8;
const EPOLLHUP = 16;

/** struct epoll_event in words of 32 bits: events, then 64 bits of ours. Packed on x86-64, not elsewhere. */
const eventWords = process.arch === 'x64' ? 3 : 4;
const dataWord = process.arch === 'x64' ? 1 : 2;
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
  readonly #epoll = new Fd(check('epoll_create1', libc.epollCreate1(EPOLL_CLOEXEC)));
  readonly #loop: EventLoop | undefined = eventLoop();
  readonly #members = new Map<number, Member>();
  readonly #event = new Uint32Array(eventWords);
  readonly #eventBytes = new Uint8Array(this.#event.buffer);
  readonly #ready = new Uint32Array(eventWords * eventsMax);
  readonly #readyBytes = new Uint8Array(this.#ready.buffer);
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
    this.#control(CTL_ADD, fd, 0, member.generation);
    this.#members.set(fd, member);
    this.#watcher ??= watch(this.#epoll.number, { readable: true }, this.#turn);
    const isMember = (): boolean => this.#members.get(fd) === member;
    return {
      await: (readable, writable) => {
        if (!isMember()) return;
        this.#control(CTL_MOD, fd, (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0), member.generation);
      },
      close: () => {
        if (!isMember()) return;
        this.#members.delete(fd);
        this.#control(CTL_DEL, fd, 0, 0);
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

  #control(operation: number, fd: number, events: number, generation: number): void {
    this.#event[0] = events;
    this.#event[dataWord] = fd;
    this.#event[dataWord + 1] = generation;
    check('epoll_ctl', libc.epollCtl(this.#epoll.number, operation, fd, this.#eventBytes));
  }

  readonly #turn = (): void => {
    this.#serve(0);
    const began = performance.now();
    const soon = began - this.#lastEventMs < stayMsMax;
    this.#lastEventMs = began;
    if (soon && this.#loop && this.#watcher) this.#stay(this.#loop, this.#watcher, began);
  };

  #stay(loop: EventLoop, watcher: Watcher, began: number): void {
    try {
      // Whatever else is to be done gets its turn soon, however much comes here.
      for (let hurried = 0; hurried < hurriedMax; ) {
        const waitMs = this.#waitMs(loop, began);
        if (waitMs === 0) hurried++;
        else {
          if (!this.#away) this.#leave(loop, watcher);
          this.#onQuiet();
        }
        if (!this.#serve(waitMs) || !this.#watcher) return;
        this.#lastEventMs = performance.now();
      }
    } finally {
      this.#rejoin();
      watcher.restart();
    }
  }

  #leave(loop: EventLoop, watcher: Watcher): void {
    watcher.stop();
    this.#control(CTL_ADD, loop.fd, EPOLLIN, 0);
    this.#away = true;
  }
  #rejoin(): void {
    if (!this.#away) return;
    this.#away = false;
    this.#control(CTL_DEL, this.#loop!.fd, 0, 0);
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
    const ready = this.#ready;
    const count = libc.epollWait(this.#epoll.number, this.#readyBytes, eventsMax, waitMs);
    if (count === -EINTR || count === -EAGAIN) return false;
    check('epoll_wait', count);
    let only = count > 0;
    for (let at = 0; at < count * eventWords; at += eventWords) {
      const fd = ready[at + dataWord]!;
      if (this.#away && fd === this.#loop!.fd) {
        only = false;
        continue;
      }
      const member = this.#members.get(fd);
      if (member === undefined || member.generation !== ready[at + dataWord + 1]) continue;
      const events = ready[at]!;
      member.onReady((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) !== 0, (events & EPOLLOUT) !== 0);
    }
    return only;
  }
}
