/**
 * The connection to a monitoring station: made, made again after a back-off, and ended where the station does not read.
 *
 *   waiting --retry--> connecting --> connected
 *      ^                   |              |
 *      +---- back-off -----+--------------+
 */
import type { Clock, Logger } from '#kit';
import type { ByteConnection, Transport } from '../speaker/types.ts';
import {
  stationQueueBytes,
  stationQueueBytesMax,
  stationRetrySec,
  stationRetrySecMax,
  stationSliceBytes,
  stationStuckSec,
} from './limits.ts';
import type { BmpStationConfig, BmpStationStatus } from './types.ts';

export interface StationLinkDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: () => number;
  readonly transport: Pick<Transport, 'dial'>;
}

export interface StationLinkHooks {
  onUp(): void;
  /** All that was written and not sent is lost. */
  onDown(): void;
  /** The queue is empty again. */
  onDrained(): void;
}

type State = BmpStationStatus['state'];

export class StationLink {
  readonly #deps: StationLinkDeps;
  readonly #config: BmpStationConfig;
  readonly #hooks: StationLinkHooks;
  #state: State = 'waiting';
  #stateSinceMs: number;
  #lastError = '';
  #connectedCount = 0;
  #overflowCount = 0;
  #messagesOut = 0;
  #bytesOut = 0;
  /** Written since the last `beginSlice`. */
  #sliceBytes = 0;
  #retrySec: number;
  #connection: ByteConnection | undefined;
  #abortDial: (() => void) | undefined;
  readonly #timers = new Map<string, () => void>();

  constructor(deps: StationLinkDeps, config: BmpStationConfig, hooks: StationLinkHooks) {
    this.#deps = deps;
    this.#config = config;
    this.#hooks = hooks;
    this.#stateSinceMs = deps.clock.nowMs();
    this.#retrySec = config.connectRetrySec ?? stationRetrySec;
  }

  get connected(): boolean {
    return this.#connection !== undefined;
  }
  /** Routes may be written now: the queue is short, and this slice has not had its share. */
  get writable(): boolean {
    const connection = this.#connection;
    return connection !== undefined && !this.sliceIsFull && connection.queuedBytes < stationQueueBytes;
  }
  get sliceIsFull(): boolean {
    return this.#sliceBytes >= stationSliceBytes;
  }
  beginSlice(): void {
    this.#sliceBytes = 0;
  }

  dial(): void {
    const { name, address, port, localAddress } = this.#config;
    this.#enter('connecting');
    const request = { peer: name, address, port, ...(localAddress === undefined ? {} : { localAddress }) };
    let over = false;
    const abort = this.#deps.transport.dial(
      request,
      (connection) => {
        if (over) {
          connection.destroy();
          return;
        }
        over = true;
        this.#abortDial = undefined;
        this.#up(connection);
      },
      (reason) => {
        if (over) return;
        over = true;
        this.#abortDial = undefined;
        this.#retry(reason);
      },
    );
    if (over) return;
    this.#abortDial = () => {
      over = true;
      abort();
    };
  }

  /** Ends the connection after what is queued, and dials no more. No hook is called. */
  close(): void {
    this.#abortDial?.();
    this.#abortDial = undefined;
    const connection = this.#connection;
    this.#connection = undefined;
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    connection?.close();
  }

  /** Whole messages. Without a connection they are dropped. */
  write(bytes: Uint8Array, messages: number): void {
    const connection = this.#connection;
    if (!connection || bytes.length === 0) return;
    this.#messagesOut += messages;
    this.#bytesOut += bytes.length;
    this.#sliceBytes += bytes.length;
    connection.write(bytes);
    if (connection.queuedBytes > stationQueueBytesMax) this.overflow('its queue is full');
  }

  /** Disconnects, soon: the caller may be in the middle of a table or an update group. */
  overflow(reason: string): void {
    if (!this.#connection || this.#timers.has('overflow')) return;
    this.#timer('overflow', 0, () => this.#overflow(reason));
  }

  status(): BmpStationStatus {
    const { name, address, port } = this.#config;
    return {
      name,
      address,
      port,
      state: this.#state,
      stateForMs: Math.round(this.#deps.clock.nowMs() - this.#stateSinceMs),
      lastError: this.#lastError,
      connectedCount: this.#connectedCount,
      overflowCount: this.#overflowCount,
      messagesOut: this.#messagesOut,
      bytesOut: this.#bytesOut,
      queuedBytes: this.#connection?.queuedBytes ?? 0,
    };
  }

  #enter(state: State): void {
    this.#state = state;
    this.#stateSinceMs = this.#deps.clock.nowMs();
  }

  #up(connection: ByteConnection): void {
    this.#connection = connection;
    this.#connectedCount++;
    this.#lastError = '';
    this.#enter('connected');
    const { address, port } = this.#config;
    this.#deps.log.info({ address, port }, 'monitoring station connected');
    connection.start({
      onData: () => undefined, // RFC 7854 3.1: a station never says anything.
      onClosed: (reason) => {
        if (connection === this.#connection) this.#lost(reason);
      },
      onDrained: () => this.#hooks.onDrained(),
    });
    // A station that hangs up at once is not dialled any sooner for having answered.
    this.#timer('stable', stationRetrySec, () => {
      this.#retrySec = this.#config.connectRetrySec ?? stationRetrySec;
    });
    this.#watch(this.#bytesOut);
    this.#hooks.onUp();
  }

  /** RFC 7854 3.2: exponential back-off; jitter as RFC 4271 10 has it, so that routers do not come all at once. */
  #retry(reason: string): void {
    this.#lastError = reason;
    this.#enter('waiting');
    const waitSec = this.#retrySec * (0.75 + this.#deps.random() / 4);
    this.#retrySec = Math.min(2 * this.#retrySec, stationRetrySecMax);
    this.#timer('retry', waitSec, () => this.dial());
    this.#deps.log.debug({ reason, waitSec }, 'monitoring station is not there');
  }

  /** Ends the connection when nothing of what waits was taken since the last look. */
  #watch(sentBefore: number): void {
    this.#timer('stuck', stationStuckSec, () => {
      const queued = this.#connection?.queuedBytes ?? 0;
      const sent = this.#bytesOut - queued;
      if (queued > 0 && sent === sentBefore) this.#overflow(`it took nothing for ${stationStuckSec} s`);
      else this.#watch(sent);
    });
  }

  #overflow(reason: string): void {
    this.#overflowCount++;
    this.#deps.log.warn({ reason }, 'monitoring station does not keep up: disconnected');
    const connection = this.#connection;
    this.#lost(reason);
    connection?.destroy();
  }

  #lost(reason: string): void {
    this.#connection = undefined;
    for (const name of ['stable', 'stuck', 'overflow']) this.#stopTimer(name);
    this.#hooks.onDown();
    this.#deps.log.info({ reason }, 'monitoring station lost');
    this.#retry(reason);
  }

  #timer(name: string, delaySec: number, fn: () => void): void {
    this.#stopTimer(name);
    this.#timers.set(
      name,
      this.#deps.clock.schedule(delaySec * 1000, () => {
        this.#timers.delete(name);
        fn();
      }),
    );
  }
  #stopTimer(name: string): void {
    this.#timers.get(name)?.();
    this.#timers.delete(name);
  }
}
