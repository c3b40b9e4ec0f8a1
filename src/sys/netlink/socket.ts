import { setImmediate as nextTurn } from 'node:timers/promises';
import { nowMs } from '#kit';
import { AF_NETLINK, EPERM, MSG_DONTWAIT, SO_RCVBUF, SO_RCVBUFFORCE, SOCK_RAW, SOL_SOCKET } from '../constants.ts';
import { Fd, newSocket, setIntOption } from '../fd.ts';
import * as libc from '../libc.ts';
import { sockaddrNetlink } from '../sockaddr.ts';
import { check, SysError } from '../sys-error.ts';
import {
  type Acknowledgement,
  MessageWriter,
  type NetlinkMessage,
  NLM_F_DUMP,
  NLMSG_ERROR,
  parseAcknowledgement,
  parseMessages,
} from './codec.ts';
import { takeDumpPart } from './dump-part.ts';

const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_DROP_MEMBERSHIP = 2;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

const RECEIVE_BUFFER_BYTES_DEFAULT = 4 << 20;
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;
/** At least 32 KB: the kernel fills parts of a dump up to what recv offers. */
const DATAGRAM_BYTES = 1 << 16;
/** Below the default send buffer (net.core.wmem_default, 208 KB), which a datagram must fit. Some 3000 routes. */
const BATCH_BYTES_MAX = 160 << 10;
/** A table that keeps changing while it is read: then give up. */
const DUMP_ATTEMPTS_MAX = 10;
const DUMP_SLICE_MS = 5;

export interface NetlinkOptions {
  /** An existing socket, e.g. one passed by SCM_RIGHTS; owned from now on. Else a new one in this thread's namespace. */
  readonly fd?: number;
  readonly protocol?: number;
  readonly receiveBufferBytes?: number;
}

/** A failed message of a batch. `index` counts from 0 within the batch. */
export interface BatchFailure extends Acknowledgement {
  readonly index: number;
}

/**
 * A request socket. rtnetlink runs a request inside sendmsg(): when send returns every answer is in the receive queue, so a batch is
 * one send and a few non-blocking receives, never a wait. An acknowledgement is asked of the last message only: errors come
 * anyway, and a failing message does not stop those behind it.
 *
 * Events need a socket of their own (`watchNetlink`): an overrun there must not cost an answer here.
 */
export class Netlink {
  readonly #fd: Fd;
  #writer = new MessageWriter();
  readonly #received = Buffer.alloc(DATAGRAM_BYTES);
  #sequence = 1;
  #inFlight = false;

  constructor(options: NetlinkOptions = {}) {
    this.#fd =
      options.fd === undefined
        ? newSocket(AF_NETLINK, SOCK_RAW, options.protocol ?? NETLINK_ROUTE)
        : new Fd(options.fd);
    try {
      if (options.fd === undefined) check('bind(netlink)', libc.bind(this.fd, sockaddrNetlink(), 12));
      setReceiveBuffer(this.fd, options.receiveBufferBytes ?? RECEIVE_BUFFER_BYTES_DEFAULT);
      for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]) {
        setIntOption(this.fd, SOL_NETLINK, option, 1);
      }
    } catch (error) {
      this.#fd.close();
      throw error;
    }
  }
  get fd(): number {
    return this.#fd.number;
  }
  /** This socket's address: notifications of what it caused carry it. */
  get port(): number {
    const address = Buffer.alloc(12);
    check('getsockname(netlink)', libc.getsockname(this.fd, address, Buffer.from([12, 0, 0, 0])));
    return address.readUInt32LE(4);
  }
  /** Messages waiting for `flush`. */
  get pending(): number {
    return this.#writer.count;
  }
  join(group: number): void {
    setIntOption(this.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group);
  }
  leave(group: number): void {
    setIntOption(this.fd, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, group);
  }
  close(): void {
    this.#fd.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }

  /** Appends one message to the batch. @throws Error when the batch is longer than a datagram may be (160 KiB). */
  add(type: number, flags: number, fill: (writer: MessageWriter) => void): this {
    this.#idle();
    const begun = this.#writer.begin(type, flags, this.#sequence);
    this.#sequence = (this.#sequence + 1) >>> 0;
    fill(begun);
    begun.end();
    if (begun.offset > BATCH_BYTES_MAX) {
      begun.reset();
      throw new Error(`netlink batch over ${BATCH_BYTES_MAX} bytes: flush more often`);
    }
    return this;
  }

  /** Sends the batch and returns its failures. */
  flush(): BatchFailure[] {
    this.#idle();
    if (this.#writer.count === 0) return [];
    const { first, last, length } = this.#closeBatch();
    try {
      check('send(netlink)', libc.send(this.fd, this.#writer.bytes, length, 0));
    } finally {
      this.#writer.reset();
    }
    return this.#acknowledgements(first, last);
  }

  /**
   * Sends the batch as one transaction of an nfnetlink subsystem, all or nothing. The frame around it is acknowledged by new kernels only, so
   * every message of ours is.
   */
  flushTransaction(subsystem: number): BatchFailure[] {
    this.#idle();
    if (this.#writer.count === 0) return [];
    const count = this.#writer.count;
    const first = (this.#sequence - count) >>> 0;
    const frame = (type: number): Buffer =>
      new MessageWriter(64)
        .begin(type, 0, type === NFNL_MSG_BATCH_BEGIN ? first : this.#sequence)
        .raw(0, 0, subsystem >> 8, subsystem & 0xff)
        .end()
        .written();
    const bytes = Buffer.concat([
      frame(NFNL_MSG_BATCH_BEGIN),
      this.#writer.acknowledgeAll().written(),
      frame(NFNL_MSG_BATCH_END),
    ]);
    try {
      check('send(netlink)', libc.send(this.fd, bytes, bytes.length, 0));
    } finally {
      this.#writer.reset();
    }
    const failures: BatchFailure[] = [];
    for (let answered = 0; answered < count; ) {
      for (const message of this.#receive('netlink transaction')) {
        if (message.type !== NLMSG_ERROR) continue;
        const answer = parseAcknowledgement(message);
        answered++;
        if (answer.errno) failures.push({ ...answer, index: (answer.sequence - first) >>> 0 });
      }
    }
    return failures;
  }

  /** `flush` from libuv's pool, for what blocks for tens of ms (link deletes, mass deletes). The socket can do nothing else meanwhile. */
  async flushAsync(): Promise<BatchFailure[]> {
    this.#idle();
    if (this.#writer.count === 0) return [];
    const { first, last, length } = this.#closeBatch();
    this.#inFlight = true;
    try {
      const bytes = this.#writer.bytes;
      check('send(netlink)', await libc.send.async([bytes], this.fd, bytes, length, 0));
    } finally {
      this.#inFlight = false;
      this.#writer.reset();
    }
    return this.#acknowledgements(first, last);
  }

  /** One message, alone. @throws SysError with the kernel's text. */
  request(call: string, type: number, flags: number, fill: (writer: MessageWriter) => void): void {
    this.add(type, flags, fill);
    const [failure] = this.flush();
    if (failure) throw new SysError(call, failure.errno, failure.text);
  }

  /** One message that is answered by one message; undefined when the kernel says `absent` (an errno). */
  get<T>(
    call: string,
    type: number,
    fill: (writer: MessageWriter) => void,
    decode: (message: NetlinkMessage) => T,
    absent: readonly number[] = [],
  ): T | undefined {
    this.#empty();
    this.add(type, 0, fill);
    const sequence = (this.#sequence - 1) >>> 0;
    this.#sendNow();
    for (;;) {
      for (const message of this.#receive(call)) {
        if (message.sequence !== sequence) continue;
        if (message.type !== NLMSG_ERROR) return decode(message);
        const { errno, text } = parseAcknowledgement(message);
        if (absent.includes(errno)) return undefined;
        throw new SysError(call, errno, text);
      }
    }
  }

  /** A whole table, read again while the kernel says that it changed meanwhile. `decode` returns undefined for what is not wanted. */
  dump<T>(
    call: string,
    type: number,
    fill: (writer: MessageWriter) => void,
    decode: (message: NetlinkMessage) => T | undefined,
  ): T[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS_MAX; attempt++) {
      const found: T[] = [];
      const interrupted = this.#dumpOnce(call, type, fill, (message) => {
        const value = decode(message);
        if (value !== undefined) found.push(value);
      });
      if (!interrupted) return found;
    }
    throw new SysError(call, 4, `the table changed during each of ${DUMP_ATTEMPTS_MAX} dumps`);
  }

  /** The same in slices of some milliseconds, between which the event loop turns. The socket can do nothing else meanwhile. */
  async dumpSliced<T>(
    call: string,
    type: number,
    fill: (writer: MessageWriter) => void,
    decode: (message: NetlinkMessage) => T | undefined,
  ): Promise<T[]> {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS_MAX; attempt++) {
      const found: T[] = [];
      const parts = this.#dumpParts(call, type, fill, (message) => {
        const value = decode(message);
        if (value !== undefined) found.push(value);
      });
      this.#inFlight = true;
      try {
        let sliceEnd = nowMs() + DUMP_SLICE_MS;
        for (;;) {
          const part = parts.next();
          if (part.done && !part.value) return found;
          if (part.done) break;
          if (nowMs() < sliceEnd) continue;
          await nextTurn();
          sliceEnd = nowMs() + DUMP_SLICE_MS;
        }
      } finally {
        this.#inFlight = false;
      }
    }
    throw new SysError(call, 4, `the table changed during each of ${DUMP_ATTEMPTS_MAX} dumps`);
  }

  /**
   * The same with the kernel's part in libuv's pool, for what is long to walk (a table of 200,000 takes it 50 ms even if it sends nothing of it), and
   * handed on a datagram at a time. A table that changes meanwhile is read once all the same. Whoever stops early waits for the rest.
   */
  async *dumpAsync<T>(
    call: string,
    type: number,
    fill: (writer: MessageWriter) => void,
    decode: (message: NetlinkMessage) => T | undefined,
  ): AsyncGenerator<T[]> {
    this.#empty();
    this.add(type, NLM_F_DUMP, fill);
    const sequence = (this.#sequence - 1) >>> 0;
    const into = this.#received;
    let open = false;
    const receive = async (onMessage: (message: NetlinkMessage) => void): Promise<void> => {
      const length = await libc.recv.async([into], this.fd, into, DATAGRAM_BYTES, MSG_DONTWAIT);
      open = length > 0;
      check(call, length, 'no answer in the queue');
      open = !takeDumpPart(call, parseMessages(into, length), sequence, onMessage).done;
    };
    this.#inFlight = true;
    try {
      const { bytes, offset } = this.#writer;
      check('send(netlink)', await libc.send.async([bytes], this.fd, bytes, offset, 0));
      do {
        const found: T[] = [];
        await receive((message) => {
          const value = decode(message);
          if (value !== undefined) found.push(value);
        });
        if (found.length > 0) yield found;
      } while (open);
    } finally {
      // The kernel refuses a dump while another is half read.
      while (open) await receive(() => undefined);
      this.#inFlight = false;
      this.#writer.reset();
    }
  }

  #dumpOnce(
    call: string,
    type: number,
    fill: (writer: MessageWriter) => void,
    onMessage: (message: NetlinkMessage) => void,
  ): boolean {
    const parts = this.#dumpParts(call, type, fill, onMessage);
    for (;;) {
      const part = parts.next();
      if (part.done) return part.value;
    }
  }

  /** Yields after each datagram; returns whether the table changed meanwhile. The request is sent at once. */
  #dumpParts(
    call: string,
    type: number,
    fill: (writer: MessageWriter) => void,
    onMessage: (message: NetlinkMessage) => void,
  ): Generator<void, boolean> {
    this.#empty();
    this.add(type, NLM_F_DUMP, fill);
    const sequence = (this.#sequence - 1) >>> 0;
    this.#sendNow();
    return this.#dumpAnswers(call, sequence, onMessage);
  }

  *#dumpAnswers(
    call: string,
    sequence: number,
    onMessage: (message: NetlinkMessage) => void,
  ): Generator<void, boolean> {
    let interrupted = false;
    for (;;) {
      const part = takeDumpPart(call, this.#receive(call), sequence, onMessage);
      interrupted ||= part.interrupted;
      if (part.done) return interrupted;
      yield;
    }
  }

  #sendNow(): void {
    try {
      check('send(netlink)', libc.send(this.fd, this.#writer.bytes, this.#writer.offset, 0));
    } finally {
      this.#writer.reset();
    }
  }

  #closeBatch(): { first: number; last: number; length: number } {
    const last = (this.#sequence - 1) >>> 0;
    return { first: (last - this.#writer.count + 1) >>> 0, last, length: this.#writer.acknowledgeLast().offset };
  }

  #acknowledgements(first: number, last: number): BatchFailure[] {
    const failures: BatchFailure[] = [];
    for (;;) {
      for (const message of this.#receive('netlink batch')) {
        if (message.type !== NLMSG_ERROR) continue;
        const answer = parseAcknowledgement(message);
        if (answer.errno) failures.push({ ...answer, index: (answer.sequence - first) >>> 0 });
        if (answer.sequence === last) return failures;
      }
    }
  }

  #receive(call: string): Generator<NetlinkMessage> {
    const length = check(
      call,
      libc.recv(this.fd, this.#received, DATAGRAM_BYTES, MSG_DONTWAIT),
      'no answer in the queue',
    );
    return parseMessages(this.#received, length);
  }

  #empty(): void {
    this.#idle();
    if (this.#writer.count > 0) throw new Error('netlink: flush the batch first');
  }
  #idle(): void {
    if (this.#inFlight)
      throw new Error(
        'netlink socket is in use by flushAsync, dumpSliced or dumpAsync: wait for it or use another socket',
      );
  }
}

/** SO_RCVBUFFORCE needs CAP_NET_ADMIN in the initial user namespace; SO_RCVBUF is capped by net.core.rmem_max. */
function setReceiveBuffer(fd: number, bytes: number): void {
  try {
    setIntOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes);
  } catch (error) {
    if (!(error instanceof SysError) || error.errno !== EPERM) throw error;
    setIntOption(fd, SOL_SOCKET, SO_RCVBUF, bytes);
  }
}
