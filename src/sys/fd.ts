import { AF_UNIX, SO_SNDBUF, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET } from './constants.ts';
import * as libc from './libc.ts';
import { check } from './sys-error.ts';

/** Owner of one descriptor. `using fd = new Fd(n)` closes it on every way out; `take()` hands it over and forgets it. */
export class Fd {
  #number: number;

  constructor(number: number) {
    this.#number = number;
  }
  /** @throws Error when it was closed or taken. */
  get number(): number {
    if (this.#number < 0) throw new Error('descriptor used after it was closed or handed over');
    return this.#number;
  }
  get closed(): boolean {
    return this.#number < 0;
  }
  take(): number {
    const number = this.number;
    this.#number = -1;
    return number;
  }
  /** May be called any number of times. */
  close(): void {
    if (this.#number < 0) return;
    // Forget first: a second close would hit a number that somebody else has by then.
    const number = this.#number;
    this.#number = -1;
    libc.close(number);
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Close-on-exec (no child inherits it) and non-blocking (a blocked main thread is a dead agent), in this thread's namespace. */
export function newSocket(domain: number, type: number, protocol = 0): Fd {
  return new Fd(check('socket', libc.socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol)));
}

/** Two ends of one stream within this process. @param sendBufferBytes of either; default: 208 KiB. @throws SysError */
export function socketPair(sendBufferBytes?: number): readonly [Fd, Fd] {
  const pair = Buffer.alloc(8);
  check('socketpair', libc.socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
  const ends = [new Fd(pair.readInt32LE(0)), new Fd(pair.readInt32LE(4))] as const;
  if (sendBufferBytes !== undefined)
    for (const { number } of ends) setIntOption(number, SOL_SOCKET, SO_SNDBUF, sendBufferBytes);
  return ends;
}

export function openFile(path: string, flags: number, mode = 0): Fd {
  return new Fd(check('open', libc.open(path, flags, mode), path));
}

export function setIntOption(fd: number, level: number, option: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  check(`setsockopt(${level},${option})`, libc.setsockopt(fd, level, option, bytes, 4), String(value));
}

export function getIntOption(fd: number, level: number, option: number): number {
  const bytes = Buffer.alloc(4);
  check(`getsockopt(${level},${option})`, libc.getsockopt(fd, level, option, bytes, Buffer.from([4, 0, 0, 0])));
  return bytes.readInt32LE(0);
}
