import { EAGAIN, EINTR } from './constants.ts';
import { Fd } from './fd.ts';
import * as libc from './libc.ts';
import { PinnedBytes } from './pinned.ts';
import { check } from './sys-error.ts';

const EPOLL_CLOEXEC = 0o2000000;
const CTL_ADD = 1;
const CTL_DEL = 2;
const CTL_MOD = 3;
export const EPOLLIN = 1;
export const EPOLLOUT = 4;
export const EPOLLERR = 8;
export const EPOLLHUP = 16;

/** struct epoll_event in words of 32 bits: events, then 64 bits of ours, the descriptor and a tag. Packed on x86-64, not elsewhere. */
const eventWords = process.arch === 'x64' ? 3 : 4;
const fdWord = process.arch === 'x64' ? 1 : 2;
const tagWord = fdWord + 1;

/** An epoll set (epoll(7)), level triggered, and what the last wait found. A wait allocates nothing. */
export class EpollFd {
  readonly #fd = new Fd(check('epoll_create1', libc.epollCreate1(EPOLL_CLOEXEC)));
  readonly #event = new Uint32Array(eventWords);
  readonly #eventBytes = new Uint8Array(this.#event.buffer);
  readonly #ready: Uint32Array;
  readonly #readyBytes: PinnedBytes;
  readonly #eventsMax: number;

  /** @param eventsMax of one wait, more than a handful (see `PinnedBytes`); the rest is ready still at the next. */
  constructor(eventsMax: number) {
    this.#eventsMax = eventsMax;
    this.#readyBytes = new PinnedBytes(4 * eventWords * eventsMax);
    this.#ready = new Uint32Array(this.#readyBytes.bytes.buffer);
  }

  /** @throws Error when it was closed. */
  get number(): number {
    return this.#fd.number;
  }
  get closed(): boolean {
    return this.#fd.closed;
  }
  /** @param tag 32 bits that come with every event of `fd`. @throws SysError */
  add(fd: number, events: number, tag = 0): void {
    this.#control(CTL_ADD, fd, events, tag);
  }
  modify(fd: number, events: number, tag = 0): void {
    this.#control(CTL_MOD, fd, events, tag);
  }
  /** Must come before the descriptor is closed. */
  remove(fd: number): void {
    this.#control(CTL_DEL, fd, 0, 0);
  }
  /** How many events there are after at most `timeoutMs` (whole); 0 as well when a signal came. */
  wait(timeoutMs: number): number {
    const count = libc.epollWaitAt(this.#fd.number, this.#readyBytes.address, this.#eventsMax, timeoutMs);
    if (count === -EINTR || count === -EAGAIN) return 0;
    return check('epoll_wait', count);
  }
  /** Of the event `index` of the last wait. */
  eventsAt(index: number): number {
    return this.#ready[index * eventWords]!;
  }
  fdAt(index: number): number {
    return this.#ready[index * eventWords + fdWord]!;
  }
  tagAt(index: number): number {
    return this.#ready[index * eventWords + tagWord]!;
  }
  close(): void {
    this.#fd.close();
  }

  #control(operation: number, fd: number, events: number, tag: number): void {
    this.#event[0] = events;
    this.#event[fdWord] = fd;
    this.#event[tagWord] = tag;
    check('epoll_ctl', libc.epollCtl(this.#fd.number, operation, fd, this.#eventBytes));
  }
}
