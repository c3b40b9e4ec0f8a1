/**
 * Drives the state machine of one peer: what its connections, its dialler and its timers tell becomes the machine's input,
 * and what the machine says is carried out on them. Everything about routes is the hooks' business.
 *
 * Known race, covered here: inputs that arise while outputs are carried out (a dial that fails at once, a hook that tears
 * down) wait their turn. Those of one connection: see live-connection.ts.
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
  type SessionTimer,
  setGracefulRestart,
  setTexts,
  stateName,
  step,
} from '../fsm/index.ts';
import {
  decodeNotification,
  decodeOpen,
  decodeRouteRefresh,
  encodeKeepalive,
  encodeNotification,
  encodeOpen,
  messageType,
  type Negotiated,
  type ProtocolError,
  type RouteRefresh,
} from '../wire/index.ts';
import { Dialler } from './dialler.ts';
import { sendHoldSecMin } from './limits.ts';
import { type ConnectionTimer, LiveConnection, type LiveConnectionHooks } from './live-connection.ts';
import { NamedTimers } from './named-timers.ts';
import { type SessionTap, type TappedSession, tappedSession } from './tap.ts';
import type { SessionKeys } from './tcp-ao.ts';
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

/** Those that belong to no connection. */
type PeerTimer = Exclude<SessionTimer, 'hold' | 'keepalive'>;

/** Of its connections it is told as their `LiveConnectionHooks`: by methods, for the reason of `FrameTaker`. */
export class Session implements LiveConnectionHooks {
  messagesIn = 0;
  messagesOut = 0;
  updatesIn = 0;
  updatesOut = 0;
  notificationsIn = 0;
  notificationsOut = 0;
  establishedCount = 0;
  /** Why there is no session, or why the one before ended. */
  lastError = '';
  stateSinceMs: number;
  readonly #deps: SessionDeps;
  readonly #tap: SessionTap | undefined;
  readonly #hooks: SessionHooks;
  readonly #dialler: Dialler;
  #state: SessionState;
  readonly #live = new Map<number, LiveConnection>();
  readonly #timers: NamedTimers<PeerTimer>;
  /** Of `lastError`. */
  #explained: SessionDownReason | undefined;
  /** What NOTIFICATION said since the last session: that the peer only closes or refuses after it does not hide it. */
  #notified = '';
  #nextId = 1;
  #established: LiveConnection | undefined;
  #routeRefresh: RouteRefresh | undefined;
  readonly #inputs: SessionInput[] = [];
  #stepping = false;

  constructor(deps: SessionDeps, config: SessionConfig, dialRequest: DialRequest, hooks: SessionHooks) {
    this.#deps = deps;
    this.#tap = deps.tap;
    this.#hooks = hooks;
    this.#dialler = new Dialler(deps.transport, dialRequest, {
      onConnected: (connection) => this.#connected(connection, 'outgoing'),
      onFailed: (reason) => this.#input({ type: 'tcpFailed', reason }),
    });
    this.#timers = new NamedTimers(deps.clock);
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
  get remoteAddress(): string | undefined {
    return this.#established?.connection.remoteAddress;
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
   * Another TCP-MD5 password, or other TCP-AO keys, from now on: for connections that are there, which then wait for the peer to change its own, and
   * for those to come. An attempt under way began with the old one and is made again.
   *
   * @returns false when a connection cannot change its key: it must be ended.
   */
  rekey(keys: SessionKeys): boolean {
    this.#dialler.rekey(keys);
    for (const { connection } of this.#live.values()) if (!connection.rekey(keys)) return false;
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

  /** Whole messages on the established session, see `ByteConnection.write`; nothing happens without one. */
  writeUpdates(bytes: Uint8Array, length = bytes.length): void {
    if (!this.#established) return;
    let count = 0;
    for (let at = 16; at < length; at += (bytes[at]! << 8) | bytes[at + 1]!) count++;
    this.updatesOut += count;
    this.messagesOut += count;
    this.#write(this.#established, bytes, length);
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
      const tap = this.#tap;
      if (tap?.active) tap.stateChanged(this.#tapped(this.#established ?? this.#anyLive()), before, after);
    }
    if (after !== before || this.lastError !== errorBefore) this.#hooks.onStateChange();
  }

  #step(input: SessionInput): void {
    const result = step(this.#state, input, this.#deps.random);
    this.#state = result.state;
    for (const output of result.outputs) this.#perform(output);
    const { lastDown } = this.#state;
    if (lastDown !== this.#explained) this.#explain(lastDown);
  }

  #explain(down: SessionDownReason | undefined): void {
    this.#explained = down;
    if (!down) return;
    if (down.type === 'notificationSent' || down.type === 'notificationReceived') this.#notified = down.text;
    const isSilent = down.type === 'tcpClosed' || down.type === 'tcpFailed';
    this.lastError = isSilent && this.#notified ? `${this.#notified}; since then: ${down.text}` : down.text;
  }

  #perform(output: SessionOutput): void {
    switch (output.type) {
      case 'dial':
        this.#dialler.dial();
        return;
      case 'abortDial':
        this.#dialler.abort();
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
        this.notificationsOut++;
        this.#send(output.connection, encodeNotification(output.notification));
        return;
      case 'startTimer':
        this.#startTimer(output.timer, output.connection, output.delayMs);
        return;
      case 'stopTimer':
        this.#stopTimer(output.timer, output.connection);
        return;
      case 'sessionUp':
        this.#up(output.connection, output.negotiated);
        return;
      case 'sessionDown':
        this.#established = undefined;
        this.#deps.log.info({ reason: output.reason.text, preserve: output.gracefulRestartPreserve }, 'session down');
        this.#hooks.onDown(output.negotiated, output.gracefulRestartPreserve, output.reason);
        return;
      case 'deliverUpdate':
        return; // Taken in onMessage, before the machine sees it.
      case 'deliverRouteRefresh':
        if (this.#routeRefresh) this.#hooks.onRouteRefresh(this.#routeRefresh);
        return;
    }
  }

  #up(id: number, negotiated: Negotiated): void {
    const live = this.#live.get(id);
    if (!live) return;
    this.#established = live;
    if (negotiated.extendedMessages) live.allowExtended();
    this.establishedCount++;
    this.#notified = '';
    this.#deps.log.info({ families: negotiated.families, holdTimeSec: negotiated.holdTimeSec }, 'session established');
    this.#hooks.onUp(negotiated, live.connection);
  }

  #connected(connection: ByteConnection, direction: 'incoming' | 'outgoing'): void {
    const sendHoldMs = Math.max(sendHoldSecMin, 2 * this.#state.config.holdTimeSec) * 1000;
    const live = new LiveConnection(this.#nextId++, connection, this.#deps.clock, sendHoldMs, this);
    this.#live.set(live.id, live);
    live.start();
    this.#input({ type: 'tcpConnected', connection: live.id, direction });
  }

  onError({ id: connection }: LiveConnection, error: ProtocolError): void {
    this.#input({ type: 'messageError', connection, error });
  }
  onClosed({ id: connection }: LiveConnection): void {
    this.#live.delete(connection);
    this.#input({ type: 'tcpClosed', connection });
  }
  onDrained(live: LiveConnection): void {
    if (live === this.#established) this.#hooks.onDrained();
  }
  onTimer({ id: connection }: LiveConnection, timer: ConnectionTimer): void {
    this.#input({ type: 'timer', timer, connection });
  }

  onMessage(live: LiveConnection, type: number, bytes: Uint8Array, start: number, end: number): void {
    this.messagesIn++;
    const connection = live.id;
    const tap = this.#tap;
    if (tap?.active) tap.received(this.#tapped(live), bytes, start, end);
    if (type === messageType.open) live.openReceived = bytes.slice(start, end);
    if (type === messageType.notification) this.notificationsIn++;
    // It may be what makes the session: fsm/opening.ts.
    if (live !== this.#established && type === messageType.update) this.#input({ type: 'update', connection });
    if (live === this.#established && type === messageType.update) {
      this.updatesIn++;
      const error = this.#hooks.onUpdate(bytes, start, end);
      if (error) this.#input({ type: 'messageError', connection, error });
    } else if (live === this.#established && type === messageType.keepalive) {
      this.#hooks.onKeepalive();
    } else if (type !== messageType.update) {
      this.#input(this.#inputOf(connection, type, bytes, start, end));
    }
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

  #write(live: LiveConnection, bytes: Uint8Array, length = bytes.length): void {
    const tap = this.#tap;
    if (tap?.active) tap.sent(this.#tapped(live), bytes.subarray(0, length));
    live.write(bytes, length);
  }

  #close(id: number): void {
    const live = this.#live.get(id);
    this.#live.delete(id);
    live?.close();
  }

  #startTimer(timer: SessionTimer, connection: number | undefined, delayMs: number): void {
    if (timer === 'hold' || timer === 'keepalive') this.#live.get(connection!)?.startTimer(timer, delayMs);
    else this.#timers.set(timer, delayMs, () => this.#input({ type: 'timer', timer }));
  }
  #stopTimer(timer: SessionTimer, connection: number | undefined): void {
    if (timer === 'hold' || timer === 'keepalive') this.#live.get(connection!)?.stopTimer(timer);
    else this.#timers.stop(timer);
  }

  #anyLive(): LiveConnection | undefined {
    for (const live of this.#live.values()) return live;
    return undefined;
  }
  #tapped(live: LiveConnection | undefined): TappedSession {
    const negotiated = live !== undefined && live === this.#established ? this.negotiated : undefined;
    return tappedSession(this.#dialler.request, this.#state.config, live?.connection, negotiated);
  }

  #fireTimer(timer: 'connectRetry' | 'idleHold'): void {
    this.#timers.stop(timer);
    this.#input({ type: 'timer', timer });
  }
}
