import { SOCK_CLOEXEC, SOCK_NONBLOCK } from './constants.ts';
import { Fd } from './fd.ts';
import * as libc from './libc.ts';
import { check } from './sys-error.ts';

const CLOCK_MONOTONIC = 1;
const NS_PER_MS = 1_000_000;
/** An expiry of zero would disarm it. */
const DELAY_NS_MIN = 1;

/** A timer that makes a descriptor readable, to the kernel's precision and not to the millisecond of setTimeout. */
export class TimerFd {
  readonly #fd: Fd;
  /** struct itimerspec {timespec interval, value} */
  readonly #value = Buffer.alloc(32);
  readonly #count = Buffer.alloc(8);

  constructor() {
    this.#fd = new Fd(check('timerfd_create', libc.timerfdCreate(CLOCK_MONOTONIC, SOCK_NONBLOCK | SOCK_CLOEXEC)));
  }
  get fd(): number {
    return this.#fd.number;
  }
  /** Fires once in `delayMs` (fractions count) instead of when it would have; Infinity: never. */
  arm(delayMs: number): void {
    const armed = delayMs !== Number.POSITIVE_INFINITY;
    const wholeNs = armed ? Math.max(DELAY_NS_MIN, Math.round(delayMs * NS_PER_MS)) : 0;
    const seconds = Math.floor(wholeNs / 1e9);
    this.#value.writeUInt32LE(seconds, 16);
    this.#value.writeUInt32LE(wholeNs - seconds * 1e9, 24);
    check('timerfd_settime', libc.timerfdSettime(this.#fd.number, 0, this.#value, null));
  }
  /** It fired: makes the descriptor unreadable again. */
  acknowledge(): void {
    libc.read(this.#fd.number, this.#count, 8);
  }
  close(): void {
    this.#fd.close();
  }
}
