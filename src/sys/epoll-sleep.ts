import { EAGAIN, EINTR } from './constants.ts';
import { Fd } from './fd.ts';
import * as libc from './libc.ts';
import { check } from './sys-error.ts';

const EPOLL_CLOEXEC = 0o2000000;
const CTL_ADD = 1;
const CTL_DEL = 2;
const CTL_MOD = 3;
const EPOLLIN = 1;
const EPOLLOUT = 4;
/** struct epoll_event is packed on x86-64 (12 bytes), not elsewhere (16, data at 8). */
const EVENT_BYTES = process.arch === 'x64' ? 12 : 16;
const DATA_OFFSET = process.arch === 'x64' ? 4 : 8;
/** Of one look; the rest is ready still at the next. */
const EVENTS_MAX = 64;

/**
 * Descriptors that a thread of its own sleeps on, past the event loop. A turn through libuv and back into JavaScript allocates 150 bytes or more;
 * this allocates nothing. While it sleeps no timer, message or promise of that thread moves, and a worker cannot be terminated.
 */
export class EpollSleep {
  readonly #fd = new Fd(check('epoll_create1', libc.epollCreate1(EPOLL_CLOEXEC)));
  readonly #event = Buffer.alloc(EVENT_BYTES);
  readonly #events = Buffer.alloc(EVENT_BYTES * EVENTS_MAX);
  #count = 0;

  /** Waits for `fd` to be readable, level triggered. */
  add(fd: number): void {
    this.#control(CTL_ADD, fd, EPOLLIN);
  }
  /** Whether to wait for it to be writable, too. */
  awaitRoom(fd: number, wanted: boolean): void {
    this.#control(CTL_MOD, fd, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }
  /** Must come before the descriptor is closed. */
  remove(fd: number): void {
    check('epoll_ctl(DEL)', libc.epollCtl(this.#fd.number, CTL_DEL, fd, null));
  }
  /** Until a descriptor is ready or has an error, a signal came, or `timeoutMs` (whole) are over. */
  sleep(timeoutMs: number): void {
    this.#count = 0;
    const count = libc.epollWait(this.#fd.number, this.#events, EVENTS_MAX, timeoutMs);
    if (count === -EINTR || count === -EAGAIN) return;
    this.#count = check('epoll_wait', count);
  }
  /** Whether `fd` ended the last sleep. */
  woke(fd: number): boolean {
    for (let i = 0; i < this.#count; i++) {
      if (this.#events.readInt32LE(i * EVENT_BYTES + DATA_OFFSET) === fd) return true;
    }
    return false;
  }
  close(): void {
    this.#fd.close();
  }

  #control(operation: number, fd: number, events: number): void {
    this.#event.writeUInt32LE(events, 0);
    this.#event.writeInt32LE(fd, DATA_OFFSET);
    check('epoll_ctl', libc.epollCtl(this.#fd.number, operation, fd, this.#event));
  }
}
