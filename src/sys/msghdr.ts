import { MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_NOSIGNAL, SCM_RIGHTS, SOL_SOCKET } from './constants.ts';
import { Fd } from './fd.ts';
import * as libc from './libc.ts';

/** Linux's SCM_MAX_FD. */
const DESCRIPTORS_MAX = 253;

export interface Received {
  /** Bytes in `data`, 0 at the end of the stream, or -errno. */
  readonly result: number;
  /** Descriptors that came along; the receiver owns them all, also those it did not ask for. */
  readonly descriptors: readonly Fd[];
  /** Control data did not fit: descriptors were lost. Treat as an error. */
  readonly truncated: boolean;
}

/**
 * A reusable msghdr with one iovec. The kernel writes through addresses stored in `header` and `vector`, which the collector does
 * not see: the Buffers are fields so that they live as long as this object.
 *
 * struct msghdr {void *name; u32 namelen; iovec *iov; size_t iovlen; void *control; size_t controllen; int flags} = 56 bytes
 */
export class MessageBuffer {
  readonly data: Buffer;
  readonly #control: Buffer;
  readonly #vector = Buffer.alloc(16);
  readonly #header = Buffer.alloc(56);

  /** `descriptorsMax`: how many descriptors one message may bring; the kernel drops the rest and says so. */
  constructor(dataBytes = 65_536, descriptorsMax = 4) {
    if (descriptorsMax > DESCRIPTORS_MAX) throw new Error(`at most ${DESCRIPTORS_MAX} descriptors travel in a message`);
    this.data = Buffer.alloc(dataBytes);
    this.#control = Buffer.alloc(16 + ((4 * descriptorsMax + 7) & ~7));
    this.#vector.writeBigUInt64LE(libc.addressOf(this.data), 0);
    this.#header.writeBigUInt64LE(libc.addressOf(this.#vector), 16);
    this.#header.writeBigUInt64LE(1n, 24);
    this.#header.writeBigUInt64LE(libc.addressOf(this.#control), 32);
  }

  /** Never blocks. The bytes stand in `data` until the next call. */
  receive(fd: number): Received {
    this.#setLengths(this.data.length, this.#control.length);
    const result = libc.recvmsg(fd, this.#header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (result < 0) return { result, descriptors: [], truncated: false };
    return { result, descriptors: this.#descriptors(), truncated: (this.#header.readInt32LE(48) & MSG_CTRUNC) !== 0 };
  }

  /** Sends the first `bytes` of `data`, and descriptors with them. Returns bytes sent or -errno; never raises SIGPIPE. */
  send(fd: number, bytes: number, descriptors: readonly number[] = []): number {
    let controlBytes = 0;
    if (descriptors.length > 0) {
      const length = 16 + 4 * descriptors.length;
      controlBytes = (length + 7) & ~7;
      if (controlBytes > this.#control.length) throw new Error('more descriptors than this buffer was made for');
      this.#control.fill(0);
      this.#control.writeUInt32LE(length, 0);
      this.#control.writeInt32LE(SOL_SOCKET, 8);
      this.#control.writeInt32LE(SCM_RIGHTS, 12);
      for (const [i, number] of descriptors.entries()) this.#control.writeInt32LE(number, 16 + 4 * i);
    }
    this.#setLengths(bytes, controlBytes);
    return libc.sendmsg(fd, this.#header, MSG_DONTWAIT | MSG_NOSIGNAL);
  }

  /** All lengths are in-out: without this a second receive would see the sizes of the first. */
  #setLengths(dataBytes: number, controlBytes: number): void {
    this.#vector.writeUInt32LE(dataBytes, 8);
    this.#header.writeUInt32LE(controlBytes, 40);
    this.#header.writeUInt32LE(0, 48);
  }

  /** struct cmsghdr {size_t len; int level; int type} and data, each padded to 8. */
  #descriptors(): Fd[] {
    const found: Fd[] = [];
    const end = this.#header.readUInt32LE(40);
    for (let at = 0; at + 16 <= end; ) {
      const length = this.#control.readUInt32LE(at);
      if (length < 16 || at + length > end) break;
      if (this.#control.readInt32LE(at + 8) === SOL_SOCKET && this.#control.readInt32LE(at + 12) === SCM_RIGHTS) {
        for (let o = at + 16; o + 4 <= at + length; o += 4) found.push(new Fd(this.#control.readInt32LE(o)));
      }
      at += (length + 7) & ~7;
    }
    return found;
  }
}
