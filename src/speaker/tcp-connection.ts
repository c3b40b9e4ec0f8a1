/** A node:net socket as the speaker's byte connection. */
import type { Socket } from 'node:net';
import type { ByteConnection, ConnectionHandlers, SessionKeys } from '#bgp';
import { splitZone } from '#kit';
import { descriptorOf, SysError, setMd5Key } from '#sys';
import { type ConnectionKeys, rekeyConnection } from './ao-keys.ts';

/** How long `close` may take to send what is queued (a NOTIFICATION) before the connection is cut. */
const closeMsMax = 1000;

/**
 * Octets read from one connection before the others, timers and the deferred work get their turn. libuv alone would read up to 2 MB of a peer
 * that sends faster than we read: 0.1 s of work in one piece.
 */
const readBytesPerTurnMax = 128 * 1024;

export class TcpConnection implements ByteConnection {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly #socket: Socket;
  readonly #onEnd: (connection: TcpConnection) => void;
  /** TCP-AO keys that it has. */
  #keys: ConnectionKeys | undefined;
  #handlers: ConnectionHandlers | undefined;
  #error = '';
  /** Read in this turn of the event loop; 0: nothing yet. */
  #readBytes = 0;

  /** @param onEnd called once, when the socket is gone. */
  constructor(socket: Socket, keys: ConnectionKeys | undefined, onEnd: (connection: TcpConnection) => void) {
    this.#socket = socket;
    this.#keys = keys;
    this.#onEnd = onEnd;
    this.remoteAddress = socket.remoteAddress ?? '';
    this.remotePort = socket.remotePort ?? 0;
    this.localAddress = socket.localAddress ?? '';
    this.localPort = socket.localPort ?? 0;
    // Without this a lone UPDATE or KEEPALIVE waits for the acknowledgement of the one before.
    socket.setNoDelay(true);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#error = error.code ?? error.message;
    });
    socket.on('close', () => {
      const handlers = this.#handlers;
      this.#handlers = undefined;
      this.#onEnd(this);
      handlers?.onClosed(this.#error || 'connection closed');
    });
  }

  start(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
    this.#socket.on('data', (chunk) => this.#read(chunk));
    this.#socket.on('drain', () => this.#handlers?.onDrained());
    this.#socket.resume();
  }
  #read(chunk: Buffer): void {
    if (this.#readBytes === 0) setImmediate(this.#nextTurn);
    this.#readBytes += chunk.length;
    if (this.#readBytes >= readBytesPerTurnMax) this.#socket.pause();
    this.#handlers?.onData(chunk);
  }
  readonly #nextTurn = (): void => {
    const paused = this.#readBytes >= readBytesPerTurnMax;
    this.#readBytes = 0;
    if (paused && !this.#socket.destroyed) this.#socket.resume();
  };
  write(bytes: Uint8Array): void {
    if (!this.#socket.destroyed && this.#socket.writable) this.#socket.write(bytes);
  }
  get queuedBytes(): number {
    return this.#socket.writableLength;
  }
  rekey({ password, tcpAo }: SessionKeys): boolean {
    try {
      const fd = descriptorOf(this.#socket);
      if (password !== undefined) {
        setMd5Key(fd, splitZone(this.remoteAddress).address, password);
        return true;
      }
      if (!this.#keys || !tcpAo || !rekeyConnection(fd, this.#keys, tcpAo)) return false;
      this.#keys = { ...this.#keys, keys: tcpAo };
      return true;
    } catch (error) {
      if (!(error instanceof SysError) && !this.#socket.destroyed) throw error;
      return false;
    }
  }
  close(): void {
    this.#handlers = undefined;
    if (this.#socket.destroyed) return;
    const timer = setTimeout(() => this.#socket.destroy(), closeMsMax);
    timer.unref();
    this.#socket.once('close', () => clearTimeout(timer));
    // What the peer still sends is read and dropped: unread bytes would turn the close into a reset, which may overtake a NOTIFICATION.
    this.#socket.resume();
    this.#socket.end(() => this.#socket.destroySoon());
  }
  destroy(): void {
    this.#handlers = undefined;
    this.#socket.destroy();
  }
}
