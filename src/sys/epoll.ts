import { EAGAIN, EINTR } from './constants.ts';
import { Fd } from './fd.ts';
import * as libc from './libc.ts';
import { check } from './sys-error.ts';
import { type Watcher, watch } from './watch.ts';

const EPOLL_CLOEXEC = 0o2000000;
const CTL_ADD = 1;
const CTL_DEL = 2;
const CTL_MOD = 3;
export const EPOLLIN = 1;
export const EPOLLOUT = 4;
export const EPOLLERR = 8;
export const EPOLLHUP = 16;
export const EPOLLRDHUP = 0x2000;
export const EPOLLONESHOT = 1 << 30;

/** struct epoll_event is packed on x86-64 (12 bytes), not elsewhere (16, data at 8). */
const EVENT_BYTES = process.arch === 'x64' ? 12 : 16;
const DATA_OFFSET = process.arch === 'x64' ? 4 : 8;
/** Events handled in one turn of the event loop; the rest comes in the next. */
const EVENTS_PER_TURN_MAX = 512;

/**
 * Thousands of descriptors under one watcher: an epoll set, itself watched by the event loop. `onEvent(fd, events)` may add, change and remove
 * any descriptor; an event of one that was removed during the same turn is not delivered.
 */
export class Epoll {
  readonly #fd: Fd;
  readonly #watcher: Watcher;
  readonly #event = Buffer.alloc(EVENT_BYTES);
  readonly #ready = Buffer.alloc(EVENT_BYTES * EVENTS_PER_TURN_MAX);
  /** fd -> generation: tells a number that was closed and reused during one turn from the one that the event is for. */
  readonly #generations = new Map<number, number>();
  #generation = 0;

  constructor(onEvent: (fd: number, events: number) => void) {
    this.#fd = new Fd(check('epoll_create1', libc.epollCreate1(EPOLL_CLOEXEC)));
    this.#watcher = watch(this.#fd.number, { readable: true }, () => this.#turn(onEvent));
  }
  get size(): number {
    return this.#generations.size;
  }
  add(fd: number, events: number): void {
    this.#generations.set(fd, ++this.#generation);
    this.#control(CTL_ADD, fd, events);
  }
  modify(fd: number, events: number): void {
    this.#control(CTL_MOD, fd, events);
  }
  /** Must come before the descriptor is closed. */
  remove(fd: number): void {
    if (!this.#generations.delete(fd)) return;
    check('epoll_ctl(DEL)', libc.epollCtl(this.#fd.number, CTL_DEL, fd, null));
  }
  close(): void {
    this.#watcher.close();
    this.#fd.close();
    this.#generations.clear();
  }

  #control(operation: number, fd: number, events: number): void {
    this.#event.writeUInt32LE(events >>> 0, 0);
    this.#event.writeInt32LE(fd, DATA_OFFSET);
    this.#event.writeUInt32LE(this.#generations.get(fd) ?? 0, DATA_OFFSET + 4);
    check('epoll_ctl', libc.epollCtl(this.#fd.number, operation, fd, this.#event));
  }

  #turn(onEvent: (fd: number, events: number) => void): void {
    const count = libc.epollWait(this.#fd.number, this.#ready, EVENTS_PER_TURN_MAX, 0);
    if (count === -EINTR || count === -EAGAIN) return;
    check('epoll_wait', count);
    for (let i = 0; i < count; i++) {
      const at = i * EVENT_BYTES;
      const fd = this.#ready.readInt32LE(at + DATA_OFFSET);
      if (this.#generations.get(fd) !== this.#ready.readUInt32LE(at + DATA_OFFSET + 4)) continue;
      onEvent(fd, this.#ready.readUInt32LE(at));
      if (this.#fd.closed) return;
    }
  }
}
