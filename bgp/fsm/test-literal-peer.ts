/**
 * A peer that keeps to the letter of RFC 4271 6.8, as FRR and BIRD do: each OPEN is judged against the other connection, and
 * what is Established stays. For tests: knows no timers, no errors and no stop.
 */
import { ceaseSubcode, errorCode, negotiate } from '../wire/index.ts';
import { localOpen } from './state.ts';
import type { Connection, SessionInput, SessionOutput, SessionState, StepResult } from './types.ts';

/**
 * What it does beside the letter: it looks at connections in OpenSent as well, as FRR does and the RFC leaves open; or it closes what it
 * accepts once it has OPEN on its own, without a word, as GoBGP does.
 */
export interface Habits {
  readonly examinesOpenSent?: boolean;
  readonly refusesInOpenConfirm?: boolean;
}

export function literalPeer({ examinesOpenSent = false, refusesInOpenConfirm = false }: Habits) {
  return (before: SessionState, input: SessionInput): StepResult => {
    let state = before;
    const outputs: SessionOutput[] = [];
    const dial = (): void => {
      state = { ...state, dialler: 'connecting' };
      outputs.push({ type: 'dial' });
    };
    const remove = (gone: Connection, cease: boolean): void => {
      const connection = gone.id;
      if (cease) {
        const [code, subcode] = [errorCode.cease, ceaseSubcode.connectionCollisionResolution];
        outputs.push({
          type: 'sendNotification',
          connection,
          notification: { code, subcode, data: new Uint8Array(0) },
        });
      }
      outputs.push({ type: 'close', connection });
      state = { ...state, connections: state.connections.filter((c) => c.id !== connection) };
      if (gone.state === 'Established') {
        const reason = { type: 'tcpClosed', text: '' } as const;
        const negotiated = gone.negotiated!;
        outputs.push({ type: 'sessionDown', connection, negotiated, reason, gracefulRestartPreserve: false });
      }
    };
    const put = (connection: Connection): void => {
      state = { ...state, connections: [...state.connections.filter((c) => c.id !== connection.id), connection] };
    };

    if (input.type === 'manualStart') dial();
    if (input.type === 'timer' && input.timer === 'idleHold' && state.connections.length === 0) dial();
    if (input.type === 'tcpConnected') {
      const { connection: id, direction } = input;
      if (direction === 'outgoing') state = { ...state, dialler: 'off' };
      if (refusesInOpenConfirm && direction === 'incoming' && state.connections.some((c) => c.state !== 'OpenSent')) {
        outputs.push({ type: 'close', connection: id });
      } else {
        put({ id, direction, state: 'OpenSent' });
        outputs.push({ type: 'sendOpen', connection: id, open: localOpen(state.config) });
      }
    }
    const connection = 'connection' in input && state.connections.find((c) => c.id === input.connection);
    if (connection && input.type === 'open') {
      const { routerId, localAsn } = state.config;
      const { open } = input;
      const higher = routerId === open.routerId ? localAsn > open.asn : routerId > open.routerId;
      for (const other of state.connections) {
        if (other.id === connection.id || (other.state === 'OpenSent' && !examinesOpenSent)) continue;
        const wins = higher === (connection.direction === 'outgoing') && other.state !== 'Established';
        remove(wins ? other : connection, true);
      }
      if (state.connections.includes(connection)) {
        put({ ...connection, state: 'OpenConfirm', negotiated: negotiate(localOpen(state.config), open) });
        outputs.push({ type: 'sendKeepalive', connection: connection.id });
      }
    }
    if (connection && input.type === 'keepalive' && connection.state === 'OpenConfirm') {
      for (const other of state.connections) if (other.id !== connection.id) remove(other, true);
      if (state.dialler === 'connecting') outputs.push({ type: 'abortDial' });
      state = { ...state, dialler: 'off' };
      put({ ...connection, state: 'Established' });
      outputs.push({ type: 'sessionUp', connection: connection.id, negotiated: connection.negotiated! });
    }
    if (connection && (input.type === 'notification' || input.type === 'tcpClosed')) {
      remove(connection, false);
      if (state.connections.length === 0 && state.dialler === 'off') {
        outputs.push({ type: 'startTimer', timer: 'idleHold', delayMs: 1000 });
      }
    }
    return { state, outputs };
  };
}
