/**
 * The session state machine, RFC 4271 8.2.2, as a pure function.
 *
 * It differs from the RFC's table on purpose in three points. After an error the peer waits (`idleHold`) before it dials
 * again, but accepts the other side's connection at once: a restarted peer is back within a round trip. An attempt that
 * fails is repeated after the same short, doubling wait and not after the whole ConnectRetryTime. And a new connection in
 * Established ends the old session (RFC 4724 5) only when OPEN came on it, so that nobody ends a session by connecting.
 */
import {
  ceaseSubcode,
  describeNotification,
  errorCode,
  fsmSubcode,
  messageType,
  openSubcode,
  protocolError,
  shutdownData,
} from '../wire/index.ts';
import type { Notification, ProtocolError } from '../wire/types.ts';
import { ceaseNotification, Draft, flushing, type InputOf, sentReason } from './draft.ts';
import {
  acceptOpen,
  becomeEstablished,
  collisionTimedOut,
  confirm,
  endPause,
  openError,
  settleCollision,
  tcpConnected,
} from './opening.ts';
import { idleHoldMinMs } from './state.ts';
import type { Connection, SessionInput, SessionState, StepResult } from './types.ts';

/**
 * Works out what follows from `input`. Input of a connection or timer that is no longer there changes nothing.
 *
 * @param random uniform in [0, 1), for the jitter of RFC 4271 10.
 */
export function step(state: SessionState, input: SessionInput, random: () => number): StepResult {
  const draft = new Draft(state, random);
  switch (input.type) {
    case 'manualStart':
      manualStart(draft);
      break;
    case 'manualStop':
      manualStop(draft, input);
      break;
    case 'bfdDown':
      bfdDown(draft, input);
      break;
    case 'timer':
      if ('connection' in input) connectionTimer(draft, input.timer, input.connection);
      else peerTimer(draft, input.timer);
      break;
    case 'tcpConnected':
      tcpConnected(draft, input);
      break;
    case 'tcpFailed':
      tcpFailed(draft, input.reason);
      break;
    default: {
      const connection = draft.connection(input.connection);
      if (connection) connectionInput(draft, connection, input);
    }
  }
  settleCollision(draft);
  return { state: draft.state, outputs: draft.outputs };
}

function manualStart(draft: Draft): void {
  if (draft.state.dialler !== 'stopped') return;
  draft.set({ dialler: 'off', connectRetryCounter: 0, idleHoldMs: idleHoldMinMs });
  if (!draft.state.config.passive) draft.dial();
}

function manualStop(draft: Draft, input: InputOf<'manualStop'>): void {
  draft.stopDialler('stopped');
  const carriesText =
    input.subcode === ceaseSubcode.administrativeShutdown || input.subcode === ceaseSubcode.administrativeReset;
  const data = input.text && carriesText ? shutdownData(input.text) : input.data;
  const cease = ceaseNotification(input.subcode, data);
  let text = input.silent ? 'stopped without a NOTIFICATION' : `stopped: sent ${describeNotification(cease)}`;
  for (const connection of draft.state.connections) {
    if (input.silent) {
      draft.drop(connection, { type: 'stopped', text });
      continue;
    }
    const notification = input.hard ? flushing(connection, cease) : cease;
    if (connection.state === 'Established') text = `stopped: sent ${describeNotification(notification)}`;
    draft.drop(connection, { type: 'stopped', notification, text }, notification);
  }
  draft.set({ connectRetryCounter: 0, lastDown: { type: 'stopped', text } });
}

/** An automatic stop of RFC 4271 8.1.2, after which the peer is dialled again. Connections that are opening say by themselves what becomes of them. */
function bfdDown(draft: Draft, input: InputOf<'bfdDown'>): void {
  const connection = draft.state.connections.find(({ state }) => state === 'Established');
  if (!connection) return;
  const why = `BFD: ${input.text}`;
  if (input.restart) draft.drop(connection, { type: 'bfdDown', text: `closed without a NOTIFICATION: ${why}` });
  else {
    const notification = flushing(connection, ceaseNotification(ceaseSubcode.bfdDown));
    draft.drop(connection, sentReason(notification, why), notification);
  }
  draft.countError();
  draft.resume(true);
}

function peerTimer(draft: Draft, timer: 'connectRetry' | 'idleHold' | 'stable'): void {
  const { dialler } = draft.state;
  if (timer === 'stable') draft.set({ stable: true, idleHoldMs: idleHoldMinMs });
  else if (timer === 'idleHold' && dialler === 'idleHold') draft.dial();
  else if (timer === 'connectRetry' && dialler === 'waiting') draft.dial();
  else if (timer === 'connectRetry' && dialler === 'connecting') {
    draft.out({ type: 'abortDial' });
    draft.dial();
  }
}

/** Event 18: back to Active. */
function tcpFailed(draft: Draft, reason: string): void {
  if (draft.state.dialler !== 'connecting') return;
  draft.countError();
  draft.set({ dialler: 'waiting', lastDown: { type: 'tcpFailed', text: reason } });
  draft.startTimer('connectRetry', draft.takeBackoffMs(draft.state.config.connectRetrySec * 1000));
}

function connectionTimer(draft: Draft, timer: 'hold' | 'keepalive' | 'sendHold', id: number): void {
  const connection = draft.connection(id);
  if (!connection) return;
  if (timer === 'keepalive') {
    if (!connection.negotiated) return;
    const { keepaliveSec } = connection.negotiated;
    draft.out({ type: 'sendKeepalive', connection: id });
    if (connection.paused) endPause(draft, connection);
    if (keepaliveSec > 0) draft.startTimer('keepalive', keepaliveSec * 1000, id);
  } else if (timer === 'hold') {
    if (!collisionTimedOut(draft, connection))
      fail(draft, connection, protocolError(errorCode.holdTimerExpired, 0, 'the peer was silent for the hold time'));
  } else {
    fail(draft, connection, protocolError(errorCode.sendHoldTimerExpired, 0, 'the peer stopped reading (RFC 9687)'));
  }
}

/** Ends a connection for an error of its own; waits before the next attempt. */
function fail(draft: Draft, connection: Connection, error: ProtocolError): void {
  const { code, subcode, data, reason } = error;
  const plain: Notification = { code, subcode, data };
  const notification = error.hard ? flushing(connection, plain) : plain;
  if (error.silent) draft.drop(connection, { type: 'malformedNotification', text: reason });
  else draft.drop(connection, sentReason(notification, reason), notification);
  draft.countError();
  draft.resume(true);
}

type ConnectionInput = Extract<
  SessionInput,
  { readonly type: 'tcpClosed' | 'open' | 'keepalive' | 'update' | 'routeRefresh' | 'notification' | 'messageError' }
>;

const typeOfInput = {
  open: messageType.open,
  keepalive: messageType.keepalive,
  update: messageType.update,
  routeRefresh: messageType.routeRefresh,
} as const;

function connectionInput(draft: Draft, connection: Connection, input: ConnectionInput): void {
  switch (input.type) {
    case 'tcpClosed':
      draft.drop(connection, { type: 'tcpClosed', text: 'the peer closed the connection' });
      draft.countError();
      draft.resume(true);
      break;
    case 'messageError':
      fail(draft, connection, input.error);
      break;
    case 'notification':
      notificationReceived(draft, connection, input.notification);
      break;
    case 'open': {
      const error = openError(draft.state.config, input.open);
      if (connection.state !== 'OpenSent') unexpected(draft, connection, input.type);
      else if (error) fail(draft, connection, error);
      else acceptOpen(draft, connection, input.open);
      break;
    }
    case 'keepalive':
      if (connection.state === 'OpenSent') unexpected(draft, connection, input.type);
      else if (connection.state === 'OpenConfirm') confirm(draft, connection);
      else draft.restartHold(connection);
      break;
    case 'update':
    case 'routeRefresh':
      // Who sends routes has chosen.
      if (connection.confirmed && !connection.paused) becomeEstablished(draft, connection);
      if (draft.connection(connection.id)?.state === 'Established') {
        draft.restartHold(connection);
        const type = input.type === 'update' ? 'deliverUpdate' : 'deliverRouteRefresh';
        draft.out({ type, connection: connection.id });
      } else unexpected(draft, connection, input.type);
      break;
  }
}

const subcodeOfState = {
  OpenSent: fsmSubcode.inOpenSent,
  OpenConfirm: fsmSubcode.inOpenConfirm,
  Established: fsmSubcode.inEstablished,
} as const;

/** RFC 6608: the data is the type of the message that should not have come. */
function unexpected(draft: Draft, connection: Connection, type: keyof typeof typeOfInput): void {
  const data = Uint8Array.of(typeOfInput[type]);
  const reason = `${type} message in ${connection.state}`;
  fail(draft, connection, protocolError(errorCode.finiteStateMachine, subcodeOfState[connection.state], reason, data));
}

function notificationReceived(draft: Draft, connection: Connection, notification: Notification): void {
  const text = `received ${describeNotification(notification)}`;
  draft.drop(connection, { type: 'notificationReceived', notification, text });
  const collision =
    notification.code === errorCode.cease && notification.subcode === ceaseSubcode.connectionCollisionResolution;
  if (!collision) draft.countError();
  // RFC 5492 3: a peer that knows no capabilities at all.
  const { code, subcode } = notification;
  if (code === errorCode.openMessage && subcode === openSubcode.unsupportedOptionalParameter && !connection.plain) {
    draft.set({ plainNext: true });
  }
  draft.resume(!collision);
}
