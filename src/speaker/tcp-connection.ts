/**
 * A TCP connection by system calls. Every octet goes from the kernel into the one buffer that all connections of a thread read into, and
 * is worked off from there; what is written goes to the kernel at once, and only what that does not take waits here. Streams of node:net
 * cost several allocations each way, and read on for as long as a peer sends.
 *
 * Known races, all covered here:
 * - A reset arrives behind octets that are not read yet: they are worked off first. An error stops a watcher, which is started again.
 * - Whoever writes may be in the middle of something: that the connection is broken is said later.
 * - A peer that has ended its side still reads: what is queued when we close is sent all the same.
 */
import type { ByteConnection, ConnectionHandlers, SessionKeys } from '#bgp';
import { nowMs, splitZone } from '#kit';
import {
  acknowledgeLater,
  acknowledgeNow,
  endSending,
  errnoName,
  type Fd,
  localEnd,
  PinnedBytes,
  receivePinned,
  type SocketSet,
  type SocketWatcher,
  SysError,
  sendPinned,
  sendTcp,
  setMd5Key,
  type TcpEnd,
  wouldBlock,
} from '#sys';
import type { AfterReads } from './after-reads.ts';
import { type ConnectionKeys, rekeyConnection } from './ao-keys.ts';
import { littleBytes, type ReadBudget, readBytesMax } from './read-budget.ts';

/** How long `close` may take to send what is queued (a NOTIFICATION), and the peer to end its side, before the connection is cut. */
const closeMsMax = 1000;

/** After little was read, before others have their turn. */
export const rereadsMax = 3;

/** Messages up to this are copied to where they are sent from: see `PinnedBytes`; octets of a short array have no place of their own at all. */
const copiedBytesMax = 1024;
const outgoing = new PinnedBytes(copiedBytesMax);

/** No Buffer, whose `slice` is no copy: what of a message is kept is sliced from here. */
const incoming = new PinnedBytes(readBytesMax);

export interface TcpConnectionOptions {
  /** Of the socket, connected and non-blocking. Owned from here on. */
  readonly fd: Fd;
  readonly remote: { readonly address: string; readonly port: number };
  /** Default: as the socket says. */
  readonly local?: TcpEnd;
  /** TCP-AO keys that it has. */
  readonly keys: ConnectionKeys | undefined;
  readonly sockets: SocketSet;
  readonly budget: ReadBudget;
  readonly afterReads: AfterReads;
  /** `close` was called: it may take a while. */
  readonly onClosing: (connection: TcpConnection) => void;
  /** Once, when the socket is gone. */
  readonly onEnd: (connection: TcpConnection) => void;
}

export class TcpConnection implements ByteConnection {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly #fd: Fd;
  readonly #sockets: SocketSet;
  readonly #budget: ReadBudget;
  readonly #afterReads: AfterReads;
  readonly #onClosing: TcpConnectionOptions['onClosing'];
  readonly #onEnd: TcpConnectionOptions['onEnd'];
  #keys: ConnectionKeys | undefined;
  #local: TcpEnd | undefined;
  /** Made when it is needed first: most of those who are refused cost little. */
  #watcher: SocketWatcher | undefined;
  #handlers: ConnectionHandlers | undefined;
  #readTurn: number;
  /** What the kernel did not take yet; the first of it less `#sent` octets. */
  readonly #queue: Uint8Array[] = [];
  #sent = 0;
  queuedBytes = 0;
  unread = false;
  #closing = false;
  /** The peer has ended its side, and we close. */
  #ended = false;
  /** -errno of a write. */
  #fault = 0;
  #cancelClose: NodeJS.Timeout | undefined;

  constructor(options: TcpConnectionOptions) {
    const { fd, remote } = options;
    this.#sockets = options.sockets;
    this.#budget = options.budget;
    this.#afterReads = options.afterReads;
    this.#onClosing = options.onClosing;
    this.#onEnd = options.onEnd;
    this.#keys = options.keys;
    this.#local = options.local;
    this.#fd = fd;
    this.remoteAddress = remote.address;
    this.remotePort = remote.port;
    // Nobody is ahead of the others because he is new.
    this.#readTurn = options.budget.turn;
  }

  get localAddress(): string {
    return this.#ownEnd()?.address ?? '';
  }
  get localPort(): number {
    return this.#ownEnd()?.port ?? 0;
  }
  #ownEnd(): TcpEnd | undefined {
    if (!this.#local && !this.#fd.closed) this.#local = localEnd(this.#fd.number);
    return this.#local;
  }

  start(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
    this.#ownEnd();
    acknowledgeLater(this.#fd.number);
    this.#wait();
  }

  write(bytes: Uint8Array, length = bytes.length): void {
    if (this.#fd.closed || this.#closing || this.#fault !== 0) return;
    let sent = 0;
    if (this.#queue.length === 0) {
      sent = this.#send(bytes, length);
      if (sent === length) return;
      if (sent < 0 && !wouldBlock(sent)) {
        this.#fault = sent;
        setImmediate(this.#failed);
        return;
      }
      this.#sent = Math.max(sent, 0);
    }
    this.#queue.push(length < bytes.length ? new Uint8Array(bytes.subarray(0, length)) : bytes);
    this.queuedBytes += length - Math.max(sent, 0);
    if (this.#queue.length === 1) this.#wait();
  }

  #send(bytes: Uint8Array, length: number): number {
    if (length > copiedBytesMax) return sendTcp(this.#fd.number, bytes, length);
    const out = outgoing.bytes;
    for (let i = 0; i < length; i++) out[i] = bytes[i]!;
    return sendPinned(this.#fd.number, outgoing, length);
  }

  rekey({ password, tcpAo }: SessionKeys): boolean {
    if (this.#fd.closed) return false;
    try {
      const fd = this.#fd.number;
      if (password !== undefined) {
        setMd5Key(fd, splitZone(this.remoteAddress).address, password);
        return true;
      }
      if (!this.#keys || !tcpAo || !rekeyConnection(fd, this.#keys, tcpAo)) return false;
      this.#keys = { ...this.#keys, keys: tcpAo };
      return true;
    } catch (error) {
      if (error instanceof SysError) return false;
      throw error;
    }
  }

  close(): void {
    this.#handlers = undefined;
    if (this.#fd.closed || this.#closing) return;
    this.#closing = true;
    this.#cancelClose = setTimeout(() => this.destroy(), closeMsMax);
    this.#cancelClose.unref();
    if (this.#queue.length === 0) endSending(this.#fd.number);
    // What the peer still sends is read and dropped: unread octets would turn the close into a reset, which may overtake a NOTIFICATION.
    this.#wait();
    this.#onClosing(this);
  }

  destroy(): void {
    this.#handlers = undefined;
    if (this.#fd.closed) return;
    clearTimeout(this.#cancelClose);
    this.#watcher?.close();
    this.#fd.close();
    this.#onEnd(this);
  }

  #wait(): void {
    this.#watcher ??= this.#sockets.add(this.#fd.number, this.#ready);
    this.#watcher.await(!this.#ended, this.#queue.length > 0);
  }

  readonly #ready = (readable: boolean, writable: boolean): void => {
    if (writable) this.#flush();
    if (!readable || this.#fd.closed) return;
    const some = this.#read();
    this.#afterReads.noMore();
    if (some && !this.#fd.closed) acknowledgeNow(this.#fd.number);
  };

  /** What the peer said last, a NOTIFICATION, is heard before the end. */
  readonly #failed = (): void => {
    if (!this.#fd.closed) this.#receive(readBytesMax);
    if (!this.#fd.closed) this.#broken(this.#fault);
  };

  /** @returns whether there was something. */
  #read(): boolean {
    const budget = this.#budget;
    const afterReads = this.#afterReads;
    // Who has said little may have said the next thing by now: to read it is one system call, to be told of it two.
    let started = nowMs();
    for (let again = rereadsMax; ; again--) {
      const some = again < rereadsMax;
      const most = budget.allowance(this.#readTurn);
      this.unread = most === 0;
      if (this.unread) return some;
      afterReads.begin();
      const count = this.#receive(most);
      const little = count > 0 && count <= littleBytes && budget.little;
      afterReads.end(little);
      if (count <= 0) return some;
      this.#readTurn = budget.read(count, started);
      started = budget.readAtMs;
      // Past that he would have to wait for his turn to read what may not be there: he is told when there is more.
      if (!budget.little || again === 0 || this.#fd.closed) return true;
    }
  }

  /** Octets read and worked off. */
  #receive(most: number): number {
    const count = receivePinned(this.#fd.number, incoming, most);
    if (count > 0) this.#handlers?.onData(incoming.bytes, count);
    else if (count === 0 && this.#queue.length > 0 && this.#closing && !this.#ended) {
      this.#ended = true;
      this.#wait();
    } else if (!wouldBlock(count)) this.#broken(count);
    return count;
  }

  #flush(): void {
    while (this.#queue.length > 0) {
      const [first] = this.#queue;
      const left = this.#sent === 0 ? first! : first!.subarray(this.#sent);
      const sent = this.#send(left, left.length);
      if (sent < 0) {
        if (wouldBlock(sent)) return;
        this.#fault = sent;
        this.#failed();
        return;
      }
      this.#sent += sent;
      this.queuedBytes -= sent;
      if (this.#sent < first!.length) return;
      this.#queue.shift();
      this.#sent = 0;
    }
    this.#wait();
    if (this.#closing) endSending(this.#fd.number);
    this.#handlers?.onDrained();
  }

  /** @param result 0: the peer has ended; else -errno. */
  #broken(result: number): void {
    const handlers = this.#handlers;
    this.destroy();
    handlers?.onClosed(result === 0 ? 'connection closed' : errnoName(-result));
  }
}
