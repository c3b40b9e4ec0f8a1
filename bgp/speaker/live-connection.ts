/**
 * One connection of a session: cuts its bytes into messages, and keeps its timers, of which hold and send hold depend on what
 * passes through it.
 *
 * Known races, both covered here:
 * - A hold timer that fires may be the speaker's own delay (it was busy): bytes may be waiting in the socket. It is looked
 *   at again after they could be read.
 * - Callbacks of a connection that was closed are ignored.
 */
import type { Clock } from '#kit';
import { createFramer, type Framer, type FrameTaker, type ProtocolError } from '../wire/index.ts';
import { NamedTimers } from './named-timers.ts';
import type { ByteConnection, ConnectionHandlers } from './types.ts';

/** `sendHold` is set by what TCP takes, the others by the state machine. */
export type ConnectionTimer = 'hold' | 'keepalive' | 'sendHold';

export interface LiveConnectionHooks {
  /** One whole message. It may close the connection: the messages behind it are left alone then. */
  onMessage(live: LiveConnection, type: number, bytes: Uint8Array, start: number, end: number): void;
  /** What came is not messages. */
  onError(live: LiveConnection, error: ProtocolError): void;
  /** By the peer, or broken. */
  onClosed(live: LiveConnection): void;
  onDrained(live: LiveConnection): void;
  onTimer(live: LiveConnection, timer: ConnectionTimer): void;
}

/** How long after a hold timer fired unread bytes may still save the session: one turn of the event loop. */
const secondLookMs = 5;
const noBytes = new Uint8Array(0);

/** Its handlers are methods: what the engine compiled of a closure goes with the last one, as a rehearsal's connections do. */
export class LiveConnection implements ConnectionHandlers, FrameTaker {
  readonly id: number;
  readonly connection: ByteConnection;
  /** Whole messages, as they went over the wire; empty before. */
  openSent: Uint8Array = noBytes;
  openReceived: Uint8Array = noBytes;
  readonly #clock: Clock;
  readonly #hooks: LiveConnectionHooks;
  readonly #sendHoldMs: number;
  readonly #framer: Framer = createFramer();
  readonly #timers: NamedTimers<ConnectionTimer>;
  /** When the chunk under way arrived, and when the last whole message did. Numbers from the first on: else each message would make an object of its time. */
  #chunkAtMs = 0;
  #lastMessageMs = 0;
  #writtenBytes = 0;
  /** `#writtenBytes` less the queue when the send hold timer was set. */
  #sentBytesSeen = 0;
  #closed = false;

  /** @param sendHoldMs how long the peer may take nothing of what is written (RFC 9687). */
  constructor(id: number, connection: ByteConnection, clock: Clock, sendHoldMs: number, hooks: LiveConnectionHooks) {
    this.id = id;
    this.connection = connection;
    this.#clock = clock;
    this.#sendHoldMs = sendHoldMs;
    this.#hooks = hooks;
    this.#timers = new NamedTimers(clock);
    this.#chunkAtMs = this.#lastMessageMs = clock.nowMs();
  }

  start(): void {
    this.connection.start(this);
  }

  onData(chunk: Uint8Array, length = chunk.length): void {
    if (this.#closed) return;
    this.#chunkAtMs = this.#clock.nowMs();
    const error = this.#framer.pushTo(this, chunk, length);
    if (error && !this.#closed) this.#hooks.onError(this, error);
  }
  onClosed(): void {
    if (this.#end()) this.#hooks.onClosed(this);
  }
  onDrained(): void {
    this.#hooks.onDrained(this);
  }

  /** Whole messages, see `ByteConnection.write`. */
  write(bytes: Uint8Array, length = bytes.length): void {
    this.connection.write(bytes, length);
    this.#writtenBytes += length;
    if (this.connection.queuedBytes > 0 && !this.#timers.has('sendHold')) this.#watchSending();
  }

  close(): void {
    if (this.#end()) this.connection.close();
  }

  /** Both sides offered RFC 8654. */
  allowExtended(): void {
    this.#framer.allowExtended();
  }

  /** @param timer hold: `delayMs` from the last message on, whenever that is; it needs no start by each. */
  startTimer(timer: 'hold' | 'keepalive', delayMs: number): void {
    if (timer === 'hold') this.#startHold(delayMs, delayMs, false);
    else this.#timers.set(timer, delayMs, () => this.#hooks.onTimer(this, timer));
  }
  stopTimer(timer: 'hold' | 'keepalive'): void {
    this.#timers.stop(timer);
  }

  /** False: it had ended before. */
  #end(): boolean {
    if (this.#closed) return false;
    this.#closed = true;
    this.#timers.stopAll();
    return true;
  }

  /** Of the framer. */
  onFrame(type: number, bytes: Uint8Array, start: number, end: number): boolean {
    this.#lastMessageMs = this.#chunkAtMs;
    this.#hooks.onMessage(this, type, bytes, start, end);
    return !this.#closed;
  }

  #startHold(holdMs: number, waitMs: number, looked: boolean): void {
    this.#timers.set('hold', waitMs, () => {
      const silentMs = this.#clock.nowMs() - this.#lastMessageMs;
      if (silentMs < holdMs) this.#startHold(holdMs, holdMs - silentMs, false);
      else if (!looked || this.connection.unread) this.#startHold(holdMs, secondLookMs, true);
      else this.#hooks.onTimer(this, 'hold');
    });
  }

  /** RFC 9687: a peer that does not read is dropped, whatever it writes. */
  #watchSending(): void {
    this.#sentBytesSeen = this.#writtenBytes - this.connection.queuedBytes;
    this.#timers.set('sendHold', this.#sendHoldMs, () => {
      const queued = this.connection.queuedBytes;
      if (queued === 0) return;
      if (this.#writtenBytes - queued > this.#sentBytesSeen) this.#watchSending();
      else this.#hooks.onTimer(this, 'sendHold');
    });
  }
}
