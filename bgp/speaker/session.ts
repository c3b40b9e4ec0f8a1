/**
 * Drives the state machine of one peer: owns its connections and timers, cuts bytes into messages, and carries out what
 * the machine says. Everything about routes is the hooks' business.
 *
 * Known races, all covered here:
 * - Inputs that arise while outputs are carried out (a dial that fails at once, a hook that tears down) wait their turn.
 * - A hold timer that fires may be the speaker's own delay (it was busy): bytes may be waiting in the socket. It is looked
 *   at again after they could be read.
 * - Callbacks of a connection that was closed, or of a dial that was given up, are ignored.
 */
import type { Clock, Logger } from '#kit';
import {
  establishedConnection,
  initialState,
  type OpenTexts,
  type SessionConfig,
  type SessionDownReason,
  type SessionInput,
  type SessionOutput,
  type SessionState,
  type SessionStateName,
  setGracefulRestart,
  setTexts,
  stateName,
  step,
} from '../fsm/index.ts';
import {
  createFramer,
  decodeNotification,
  decodeOpen,
  decodeRouteRefresh,
  encodeKeepalive,
  encodeNotification,
  encodeOpen,
  type Framer,
  messageType,
  type Negotiated,
  type ProtocolError,
  type RouteRefresh,
} from '../wire/index.ts';
import { sendHoldSecMin } from './limits.ts';
import { type SessionTap, type TappedSession, tappedSession } from './tap.ts';
import type { ByteConnection, DialRequest, Transport } from './types.ts';

export interface SessionHooks {
  onUp(negotiated: Negotiated, connection: ByteConnection): void;
  onDown(negotiated: Negotiated, preserve: boolean, reason: SessionDownReason): void;
  /** An UPDATE on the established connection. An error resets the session. */
  onUpdate(bytes: Uint8Array, start: number, end: number): ProtocolError | undefined;
  /** A KEEPALIVE on the established connection. */
  onKeepalive(): void;
  onRouteRefresh(refresh: RouteRefresh): void;
  onDrained(): void;
  /** State name or last error changed. */
  onStateChange(): void;
}

export interface SessionDeps {
  readonly clock: Clock;
  readonly transport: Transport;
  readonly log: Logger;
  readonly random: () => number;
  readonly tap?: SessionTap;
}

/** The OPENs of a session, whole messages as they went over the wire (RFC 7854 4.10). */
export interface Opens {
  readonly sent: Uint8Array;
  readonly received: Uint8Array;
}

interface Live {
  readonly id: number;
  readonly connection: ByteConnection;
  readonly framer: Framer;
  /** When the chunk under way arrived, and when the last whole message did. */
  chunkAtMs: number;
  lastMessageMs: number;
  writtenBytes: number;
  /** `writtenBytes` less the queue when the send hold timer was set. */
  sentBytesSeen: number;
  openSent: Uint8Array;
  openReceived: Uint8Array;
}

const noBytes = new Uint8Array(0);

/** How long after a hold timer fired unread bytes may still save the session: one turn of the event loop. */
const secondLookMs = 5;

export class Session {
  messagesIn = 0;
  messagesOut = 0;
  updatesIn = 0;
  updatesOut = 0;
  establishedCount = 0;
  lastError = '';
  stateSinceMs: number;
  readonly #deps: SessionDeps;
  readonly #hooks: SessionHooks;
  #dialRequest: DialRequest;
  #state: SessionState;
  readonly #live = new Map<number, Live>();
  readonly #timers = new Map<string, () => void>();
  #abortDial: (() => void) | undefined;
  #nextId = 1;
  #established: Live | undefined;
  #routeRefresh: RouteRefresh | undefined;
  readonly #inputs: SessionInput[] = [];
  #stepping = false;

  constructor(deps: SessionDeps, config: SessionConfig, dialRequest: DialRequest, hooks: SessionHooks) {
    this.#deps = deps;
    this.#hooks = hooks;
    this.#dialRequest = dialRequest;
    this.#state = initialState(config);
    this.stateSinceMs = deps.clock.nowMs();
  }

  get stateName(): SessionStateName {
    return stateName(this.#state);
  }
  get negotiated(): Negotiated | undefined {
    return establishedConnection(this.#state)?.negotiated;
  }
  get localAddress(): string | undefined {
    return this.#established?.connection.localAddress;
  }
  get queuedBytes(): number {
    return this.#established?.connection.queuedBytes ?? 0;
  }
  get openConnections(): number {
    return this.#live.size;
  }
  /** Of the established session. */
  get opens(): Opens | undefined {
    const live = this.#established;
    return live && { sent: live.openSent, received: live.openReceived };
  }

  start(): void {
    this.#input({ type: 'manualStart' });
  }
  /** Cease with `subcode`, or silence for graceful restart. `hard`: routes must go on both sides (RFC 8538). */
  stop(options: Omit<Extract<SessionInput, { readonly type: 'manualStop' }>, 'type'>): void {
    this.#input({ type: 'manualStop', ...options });
  }
  /** BFD fell; see `bfdDown` of the machine. */
  bfdDown(text: string, restart: boolean): void {
    this.#input({ type: 'bfdDown', text, restart });
  }
  setGracefulRestart(gracefulRestart: NonNullable<SessionConfig['gracefulRestart']>): void {
    this.#state = setGracefulRestart(this.#state, gracefulRestart);
  }
  setTexts(texts: OpenTexts): void {
    this.#state = setTexts(this.#state, texts);
  }
  /**
   * Another TCP-MD5 password from now on: for connections that are there, which then wait for the peer to change its own, and
   * for those to come. An attempt under way began with the old one and is made again.
   *
   * @returns false when a connection cannot change its key: it must be ended.
   */
  rekey(password: string): boolean {
    this.#dialRequest = { ...this.#dialRequest, password };
    for (const { connection } of this.#live.values()) if (!connection.rekey(password)) return false;
    if (this.#state.dialler === 'connecting') this.#fireTimer('connectRetry');
    return true;
  }
  /** Dials now instead of when the wait is over. */
  hurry(): void {
    if (this.#state.dialler === 'waiting') this.#fireTimer('connectRetry');
    else if (this.#state.dialler === 'idleHold') this.#fireTimer('idleHold');
  }

  /** A connection that the peer opened. */
  accept(connection: ByteConnection): void {
    this.#connected(connection, 'incoming');
  }

  /** Whole messages on the established session; nothing happens without one. */
  writeUpdates(chunk: Uint8Array): void {
    if (!this.#established) return;
    let count = 0;
    for (let at = 16; at < chunk.length; at += (chunk[at]! << 8) | chunk[at + 1]!) count++;
    this.updatesOut += count;
    this.messagesOut += count;
    this.#write(this.#established, chunk);
  }
  writeMessage(message: Uint8Array): void {
    if (!this.#established) return;
    this.messagesOut++;
    this.#write(this.#established, message);
  }

  #input(input: SessionInput): void {
    this.#inputs.push(input);
    if (this.#stepping) return;
    this.#stepping = true;
    const before = this.stateName;
    const errorBefore = this.lastError;
    try {
      for (let next = this.#inputs.shift(); next; next = this.#inputs.shift()) this.#step(next);
    } finally {
      this.#stepping = false;
    }
    const after = this.stateName;
    if (after !== before) {
      this.stateSinceMs = this.#deps.clock.nowMs();
      const { tap } = this.#deps;
      if (tap?.active) tap.stateChanged(this.#tapped(this.#established ?? this.#anyLive()), before, after);
    }
    if (after !== before || this.lastError !== errorBefore) this.#hooks.onStateChange();
  }

  #step(input: SessionInput): void {
    const result = step(this.#state, input, this.#deps.random);
    this.#state = result.state;
    for (const output of result.outputs) this.#perform(output);
    const down = this.#state.lastDown;
    if (down && down.text !== this.lastError) this.lastError = down.text;
  }

  #perform(output: SessionOutput): void {
    switch (output.type) {
      case 'dial':
        this.#dial();
        return;
      case 'abortDial':
        this.#abortDial?.();
        this.#abortDial = undefined;
        return;
      case 'close':
        this.#close(output.connection);
        return;
      case 'sendOpen':
        this.#sendOpen(output.connection, encodeOpen(output.open));
        return;
      case 'sendKeepalive':
        this.#send(output.connection, encodeKeepalive());
        return;
      case 'sendNotification':
        this.#send(output.connection, encodeNotification(output.notification));
        return;
      case 'startTimer':
        this.#startTimer(output.timer, output.connection, output.delayMs);
        return;
      case 'stopTimer':
        this.#stopTimer(timerKey(output.timer, output.connection));
        return;
      case 'sessionUp':
        this.#up(output.connection, output.negotiated);
        return;
      case 'sessionDown':
        this.#established = undefined;
        this.lastError = output.reason.text;
        this.#deps.log.info({ reason: output.reason.text, preserve: output.gracefulRestartPreserve }, 'session down');
        this.#hooks.onDown(output.negotiated, output.gracefulRestartPreserve, output.reason);
        return;
      case 'deliverUpdate':
        return; // Taken in #onFrame, before the machine sees it.
      case 'deliverRouteRefresh':
        if (this.#routeRefresh) this.#hooks.onRouteRefresh(this.#routeRefresh);
        return;
    }
  }

  #up(id: number, negotiated: Negotiated): void {
    const live = this.#live.get(id);
    if (!live) return;
    this.#established = live;
    if (negotiated.extendedMessages) live.framer.allowExtended();
    this.establishedCount++;
    this.lastError = '';
    this.#deps.log.info({ families: negotiated.families, holdTimeSec: negotiated.holdTimeSec }, 'session established');
    this.#hooks.onUp(negotiated, live.connection);
  }

  #dial(): void {
    let over = false;
    const abort = this.#deps.transport.dial(
      this.#dialRequest,
      (connection) => {
        if (over) {
          connection.destroy();
          return;
        }
        over = true;
        this.#abortDial = undefined;
        this.#connected(connection, 'outgoing');
      },
      (reason) => {
        if (over) return;
        over = true;
        this.#abortDial = undefined;
        this.#input({ type: 'tcpFailed', reason });
      },
    );
    this.#abortDial = () => {
      over = true;
      abort();
    };
  }

  #connected(connection: ByteConnection, direction: 'incoming' | 'outgoing'): void {
    const now = this.#deps.clock.nowMs();
    const live: Live = {
      id: this.#nextId++,
      connection,
      framer: createFramer(),
      chunkAtMs: now,
      lastMessageMs: now,
      writtenBytes: 0,
      sentBytesSeen: 0,
      openSent: noBytes,
      openReceived: noBytes,
    };
    this.#live.set(live.id, live);
    connection.start({
      onData: (chunk) => this.#onData(live, chunk),
      onClosed: () => {
        if (!this.#live.delete(live.id)) return;
        this.#stopTimersOf(live.id);
        this.#input({ type: 'tcpClosed', connection: live.id });
      },
      onDrained: () => {
        if (live === this.#established) this.#hooks.onDrained();
      },
    });
    this.#input({ type: 'tcpConnected', connection: live.id, direction });
  }

  #onData(live: Live, chunk: Uint8Array): void {
    if (!this.#live.has(live.id)) return;
    live.chunkAtMs = this.#deps.clock.nowMs();
    const error = live.framer.push(chunk, (type, bytes, start, end) => this.#onFrame(live, type, bytes, start, end));
    if (error && this.#live.has(live.id)) this.#input({ type: 'messageError', connection: live.id, error });
  }

  /** Returns whether the connection is still there. */
  #onFrame(live: Live, type: number, bytes: Uint8Array, start: number, end: number): boolean {
    this.messagesIn++;
    const connection = live.id;
    const { tap } = this.#deps;
    if (tap?.active) tap.received(this.#tapped(live), bytes, start, end);
    if (type === messageType.open) live.openReceived = bytes.slice(start, end);
    if (live === this.#established && (type === messageType.update || type === messageType.keepalive)) {
      live.lastMessageMs = live.chunkAtMs;
      if (type === messageType.keepalive) {
        this.#hooks.onKeepalive();
        return true;
      }
      this.updatesIn++;
      const error = this.#hooks.onUpdate(bytes, start, end);
      if (error) this.#input({ type: 'messageError', connection, error });
      return this.#live.has(connection);
    }
    this.#input(this.#inputOf(connection, type, bytes, start, end));
    live.lastMessageMs = live.chunkAtMs;
    return this.#live.has(connection);
  }

  #inputOf(connection: number, type: number, bytes: Uint8Array, start: number, end: number): SessionInput {
    switch (type) {
      case messageType.open: {
        const open = decodeOpen(bytes, start, end);
        if (!open.ok) return { type: 'messageError', connection, error: open.error };
        return { type: 'open', connection, open: open.value };
      }
      case messageType.notification:
        return { type: 'notification', connection, notification: decodeNotification(bytes, start, end) };
      case messageType.routeRefresh: {
        const refresh = decodeRouteRefresh(bytes, start, end);
        if (!refresh.ok) return { type: 'messageError', connection, error: refresh.error };
        this.#routeRefresh = refresh.value;
        return { type: 'routeRefresh', connection };
      }
      case messageType.keepalive:
        return { type: 'keepalive', connection };
      default:
        return { type: 'update', connection };
    }
  }

  #sendOpen(id: number, message: Uint8Array): void {
    const live = this.#live.get(id);
    if (live) live.openSent = message;
    this.#send(id, message);
  }
  #send(id: number, message: Uint8Array): void {
    const live = this.#live.get(id);
    if (!live) return;
    this.messagesOut++;
    this.#write(live, message);
  }

  #write(live: Live, bytes: Uint8Array): void {
    const { tap } = this.#deps;
    if (tap?.active) tap.sent(this.#tapped(live), bytes);
    live.connection.write(bytes);
    live.writtenBytes += bytes.length;
    if (live.connection.queuedBytes > 0 && !this.#timers.has(timerKey('sendHold', live.id))) this.#watchSending(live);
  }

  /** RFC 9687: a peer that does not read is dropped, whatever it writes. */
  #watchSending(live: Live): void {
    const holdSec = this.#state.config.holdTimeSec;
    const delayMs = Math.max(sendHoldSecMin, 2 * holdSec) * 1000;
    const key = timerKey('sendHold', live.id);
    live.sentBytesSeen = live.writtenBytes - live.connection.queuedBytes;
    this.#schedule(key, delayMs, () => {
      const queued = live.connection.queuedBytes;
      if (queued === 0) return;
      if (live.writtenBytes - queued > live.sentBytesSeen) this.#watchSending(live);
      else this.#input({ type: 'timer', timer: 'sendHold', connection: live.id });
    });
  }

  #close(id: number): void {
    const live = this.#live.get(id);
    if (!live) return;
    this.#live.delete(id);
    this.#stopTimersOf(id);
    live.connection.close();
  }

  #startTimer(timer: string, connection: number | undefined, delayMs: number): void {
    const key = timerKey(timer, connection);
    if (timer === 'hold') {
      const live = this.#live.get(connection!);
      if (live) this.#startHold(live, key, delayMs, delayMs, false);
    } else {
      this.#schedule(key, delayMs, () => {
        // Without the key, not with an undefined one: the machine tells the peer's timers from a connection's by it.
        this.#input(
          (connection === undefined ? { type: 'timer', timer } : { type: 'timer', timer, connection }) as SessionInput,
        );
      });
    }
  }

  #startHold(live: Live, key: string, holdMs: number, waitMs: number, looked: boolean): void {
    this.#schedule(key, waitMs, () => {
      const silentMs = this.#deps.clock.nowMs() - live.lastMessageMs;
      if (silentMs < holdMs) this.#startHold(live, key, holdMs, holdMs - silentMs, false);
      else if (!looked) this.#startHold(live, key, holdMs, secondLookMs, true);
      else this.#input({ type: 'timer', timer: 'hold', connection: live.id });
    });
  }

  #anyLive(): Live | undefined {
    for (const live of this.#live.values()) return live;
    return undefined;
  }
  #tapped(live: Live | undefined): TappedSession {
    const negotiated = live !== undefined && live === this.#established ? this.negotiated : undefined;
    return tappedSession(this.#dialRequest, this.#state.config, live?.connection, negotiated);
  }

  #fireTimer(timer: 'connectRetry' | 'idleHold'): void {
    this.#stopTimer(timerKey(timer, undefined));
    this.#input({ type: 'timer', timer });
  }
  #schedule(key: string, delayMs: number, fn: () => void): void {
    this.#stopTimer(key);
    this.#timers.set(
      key,
      this.#deps.clock.schedule(delayMs, () => {
        this.#timers.delete(key);
        fn();
      }),
    );
  }
  #stopTimer(key: string): void {
    this.#timers.get(key)?.();
    this.#timers.delete(key);
  }
  #stopTimersOf(id: number): void {
    for (const timer of ['hold', 'keepalive', 'sendHold']) this.#stopTimer(timerKey(timer, id));
  }
}

function timerKey(timer: string, connection: number | undefined): string {
  return connection === undefined ? timer : `${timer}:${connection}`;
}
