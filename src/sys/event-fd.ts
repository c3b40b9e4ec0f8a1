import { SOCK_CLOEXEC, SOCK_NONBLOCK } from './constants.ts';
import { Fd } from './fd.ts';
import * as libc from './libc.ts';
import { check } from './sys-error.ts';

/** A descriptor that one thread makes readable to wake another, which may know it by number. */
export class EventFd {
  readonly #fd = new Fd(check('eventfd', libc.eventfd(0, SOCK_NONBLOCK | SOCK_CLOEXEC)));
  readonly #one = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);

  get fd(): number {
    return this.#fd.number;
  }
  /** Makes it readable; of no effect where it is already. */
  signal(): void {
    libc.write(this.#fd.number, this.#one, this.#one.length);
  }
  close(): void {
    this.#fd.close();
  }
}

const count = Buffer.alloc(8);

/** Makes the `EventFd` of this number unreadable again. */
export function acknowledgeEvent(fd: number): void {
  libc.read(fd, count, count.length);
}
