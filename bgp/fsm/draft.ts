/**
 * The next state while a step is worked out, and what it puts out. Lives for one call of `step` only, so that the
 * function stays pure although its parts write.
 */
import { ceaseSubcode, describeNotification, errorCode, hardReset, isHardReset } from '../wire/index.ts';
import type { Negotiated, Notification } from '../wire/types.ts';
import { idleHoldMaxMs, idleHoldMinMs } from './state.ts';
import type {
  Connection,
  Direction,
  SessionDownReason,
  SessionInput,
  SessionOutput,
  SessionState,
  SessionTimer,
} from './types.ts';

export class Draft {
  state: SessionState;
  readonly outputs: SessionOutput[] = [];
  readonly #random: () => number;

  constructor(state: SessionState, random: () => number) {
    this.state = state;
    this.#random = random;
  }

  set(change: Partial<SessionState>): void {
    this.state = { ...this.state, ...change };
  }
  out(output: SessionOutput): void {
    this.outputs.push(output);
  }

  connection(id: number): Connection | undefined {
    return this.state.connections.find((c) => c.id === id);
  }
  /** The connection of that direction that is not Established. */
  pending(direction: Direction): Connection | undefined {
    return this.state.connections.find((c) => c.direction === direction && c.state !== 'Established');
  }
  put(connection: Connection): void {
    this.set({ connections: [...this.state.connections.filter((c) => c.id !== connection.id), connection] });
  }

  /** RFC 4271 10: all but the hold timer are shortened by up to a quarter, so that peers do not act in step. */
  startTimer(timer: SessionTimer, delayMs: number, connection?: number): void {
    const jitter = timer === 'hold' || timer === 'stable' ? 1 : 0.75 + 0.25 * this.#random();
    const delay = Math.round(delayMs * jitter);
    this.out({ type: 'startTimer', timer, delayMs: delay, ...(connection === undefined ? {} : { connection }) });
  }
  stopTimer(timer: SessionTimer, connection?: number): void {
    this.out({ type: 'stopTimer', timer, ...(connection === undefined ? {} : { connection }) });
  }
  restartHold(connection: Connection): void {
    const holdTimeSec = connection.negotiated?.holdTimeSec ?? 0;
    if (holdTimeSec > 0) this.startTimer('hold', holdTimeSec * 1000, connection.id);
  }

  dial(): void {
    this.set({ dialler: 'connecting' });
    this.out({ type: 'dial' });
    this.startTimer('connectRetry', this.state.config.connectRetrySec * 1000);
  }
  /** No more attempts: a connection has got far enough, or the operator said so. */
  stopDialler(to: 'off' | 'stopped'): void {
    const { dialler } = this.state;
    if (dialler === 'connecting') this.out({ type: 'abortDial' });
    if (dialler === 'connecting' || dialler === 'waiting') this.stopTimer('connectRetry');
    if (dialler === 'idleHold') this.stopTimer('idleHold');
    this.set({ dialler: to });
  }

  /** The wait before the next attempt, doubled for the one after; never longer than `limitMs`. */
  takeBackoffMs(limitMs = idleHoldMaxMs): number {
    const { idleHoldMs } = this.state;
    this.set({ idleHoldMs: Math.min(idleHoldMaxMs, 2 * idleHoldMs) });
    return Math.min(limitMs, Math.max(idleHoldMs, idleHoldMinMs));
  }

  /** Takes a connection out, saying why to the peer (`send`) or not. */
  drop(connection: Connection, reason: SessionDownReason, send?: Notification): void {
    if (send) this.out({ type: 'sendNotification', connection: connection.id, notification: send });
    this.out({ type: 'close', connection: connection.id });
    this.set({ connections: this.state.connections.filter((c) => c.id !== connection.id) });
    if (!isCollision(reason)) this.set({ lastDown: reason });
    const { negotiated } = connection;
    if (connection.state !== 'Established' || !negotiated) return;
    const gracefulRestartPreserve = preserves(negotiated, reason);
    if (!this.state.stable) this.stopTimer('stable');
    this.set({ stable: false });
    this.out({ type: 'sessionDown', connection: connection.id, negotiated, reason, gracefulRestartPreserve });
  }

  /** After a connection went: go on dialling, after a wait, unless another one has got far enough. */
  resume(penalty: boolean): void {
    const { dialler, config, connections } = this.state;
    if (dialler !== 'off' || config.passive) return;
    if (connections.some((c) => c.state !== 'OpenSent' || c.direction === 'outgoing')) return;
    this.set({ dialler: 'idleHold' });
    this.startTimer('idleHold', penalty ? this.takeBackoffMs() : idleHoldMinMs);
  }

  countError(): void {
    this.set({ connectRetryCounter: this.state.connectRetryCounter + 1 });
  }
}

/**
 * Whether the end of a session leaves the peer's routes in place: a lost TCP connection does (RFC 4724 4.2), a NOTIFICATION
 * in either direction only where both sides set N, and Hard Reset never (RFC 8538 4). One that was malformed may have been
 * a Hard Reset, and an end without a word was our own decision.
 */
function preserves({ gracefulRestart, longLived }: Negotiated, reason: SessionDownReason): boolean {
  if (!gracefulRestart || gracefulRestart.families.length + longLived.length === 0) return false;
  switch (reason.type) {
    case 'tcpClosed':
    case 'peerRestarted':
    case 'bfdDown':
      return true;
    case 'stopped':
    case 'notificationSent':
    case 'notificationReceived':
      return gracefulRestart.notification && reason.notification !== undefined && !isHardReset(reason.notification);
    default:
      return false;
  }
}

/** What `notification` is sent as when the routes must go: Hard Reset around it, to a peer that knows it (RFC 8538 4). */
export function flushing(connection: Connection, notification: Notification): Notification {
  return connection.negotiated?.gracefulRestart?.notification ? hardReset(notification) : notification;
}

export type InputOf<T extends SessionInput['type']> = Extract<SessionInput, { readonly type: T }>;

export function sentReason(notification: Notification, why?: string): SessionDownReason {
  const text = describeNotification(notification);
  return { type: 'notificationSent', notification, text: why ? `sent ${text}: ${why}` : `sent ${text}` };
}

/** Losing a collision is no failure. */
function isCollision(reason: SessionDownReason): boolean {
  if (reason.type !== 'notificationSent' && reason.type !== 'notificationReceived') return false;
  const { code, subcode } = reason.notification;
  return code === errorCode.cease && subcode === ceaseSubcode.connectionCollisionResolution;
}

export function ceaseNotification(subcode: number, data: Uint8Array = new Uint8Array(0)): Notification {
  return { code: errorCode.cease, subcode, data };
}
