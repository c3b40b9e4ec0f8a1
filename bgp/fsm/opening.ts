/**
 * From a TCP connection to Established: OPEN, collision resolution, KEEPALIVE.
 *
 * Collisions (RFC 4271 6.8, RFC 6286 2.3). When both sides dial at once there are two connections, and the one that the
 * speaker with the higher router id (then AS) made shall stay. Followed to the letter this loses both of them in rare
 * orders of arrival: one side is Established on the first while the other already closed it for the second. Here the
 * higher speaker alone decides, by the OPENs it gets:
 *
 *   OPEN on its own connection                      -> stays, the incoming one is closed (Cease/7)
 *   OPEN on the incoming one, its own is connected  -> the incoming one waits for OPEN on its own, and stays if that ends instead, or
 *                                                      has none after `collisionMs`
 *   OPEN on the incoming one, its own is not        -> the incoming one stays, the attempt is given up without an OPEN
 *
 * so that it sends KEEPALIVE on one connection only and the lower speaker cannot become Established on the other. (GoBGP 4.8 closes what
 * it accepts once it has our OPEN on its own: who closed the incoming one at once would lose both.)
 *
 * The lower speaker follows, since the higher one may keep to the letter of the RFC: it closes its own connection when OPEN
 * came on the incoming one, unless it sent KEEPALIVE there. Then the higher speaker may be Established there already, or may
 * close it for its own: both go on until it says which. KEEPALIVE on the incoming connection, UPDATE on the outgoing one or
 * the end of either says so; KEEPALIVE on the outgoing one does not, it may have been sent before the choice.
 *
 * KEEPALIVE waits for a moment (`keepalivePauseMs`) on a connection of ours, since one of the peer may be under way, and on one that
 * won. FRR (8.4) lets what it has queued for the loser (that it connected, that it ends) hit the winner when OPEN and KEEPALIVE come in
 * one pass of its event loop, and ends an Established session for any new connection where graceful restart is negotiated.
 */
import {
  ceaseSubcode,
  errorCode,
  multiprotocolCapability,
  negotiate,
  openSubcode,
  protocolError,
} from '../wire/index.ts';
import type { OpenMessage, ProtocolError } from '../wire/types.ts';
import { ceaseNotification, type Draft, type InputOf, sentReason } from './draft.ts';
import { roleError } from './role.ts';
import {
  collisionMs,
  establishedConnection,
  keepalivePauseMs,
  localOpen,
  openHoldMs,
  plainOpen,
  stableMs,
} from './state.ts';
import type { Connection, SessionConfig } from './types.ts';

export function tcpConnected(draft: Draft, input: InputOf<'tcpConnected'>): void {
  const { connection: id, direction } = input;
  const established = establishedConnection(draft.state);
  const refuse = (subcode?: number): void => {
    if (subcode) draft.out({ type: 'sendNotification', connection: id, notification: ceaseNotification(subcode) });
    draft.out({ type: 'close', connection: id });
  };
  if (draft.state.dialler === 'stopped') {
    refuse(ceaseSubcode.connectionRejected);
    return;
  }
  if (direction === 'outgoing') {
    if (draft.state.dialler !== 'connecting') {
      refuse();
      return;
    }
    draft.stopTimer('connectRetry');
    draft.set({ dialler: 'off' });
  } else {
    // With graceful restart this may be the peer after a crash that closed nothing; its OPEN will tell. Right after a
    // collision it is a leftover: OPEN on it could make the peer choose it while we are Established on the other.
    const mayBeRestarted = established?.negotiated?.gracefulRestart && draft.state.stable;
    if ((established && !mayBeRestarted) || confirmedConnection(draft)) {
      refuse(ceaseSubcode.connectionCollisionResolution);
      return;
    }
    // The peer has one attempt under way at a time: a second one means that it gave up the first.
    const older = draft.pending('incoming');
    if (older) draft.drop(older, { type: 'tcpClosed', text: 'replaced by a newer connection of the peer' });
  }
  const { plainNext, ...state } = draft.state;
  const plain = plainNext && plainOpen(state.config);
  draft.state = state;
  draft.put({ id, direction, state: 'OpenSent', ...(plain ? { plain: true } : {}) });
  draft.out({ type: 'sendOpen', connection: id, open: plain ?? localOpen(state.config) });
  draft.startTimer('hold', openHoldMs, id);
}

/** What is wrong with the peer's OPEN for this peer; the codec has judged all that needs no configuration. */
export function openError(config: SessionConfig, open: OpenMessage): ProtocolError | undefined {
  if (!isPeerAsn(config, open.asn)) {
    const reason = `peer says AS ${open.asn}, configured is ${config.peerAsn}`;
    return protocolError(errorCode.openMessage, openSubcode.badPeerAs, reason);
  }
  if (open.routerId === config.routerId && open.asn === config.localAsn) {
    const reason = 'peer has our router id within one AS (RFC 6286 2.2): give every node its own';
    return protocolError(errorCode.openMessage, openSubcode.badBgpIdentifier, reason);
  }
  if (!config.families.some((family) => open.families.includes(family))) {
    const data = Uint8Array.from(config.families.flatMap(multiprotocolCapability));
    const reason = `peer offers none of our families (${config.families.join(', ')})`;
    return protocolError(errorCode.openMessage, openSubcode.unsupportedCapability, reason, data);
  }
  return roleError(config, open);
}

function isPeerAsn({ peerAsn, localAsn }: SessionConfig, asn: number): boolean {
  switch (peerAsn) {
    case 'auto':
      return true;
    case 'internal':
      return asn === localAsn;
    case 'external':
      return asn !== localAsn;
    default:
      return typeof peerAsn === 'number' ? asn === peerAsn : peerAsn.includes(asn);
  }
}

/** Whether connections that we made win collisions. */
function outgoingWins(config: SessionConfig, peerRouterId: number, peerAsn: number): boolean {
  if (config.routerId !== peerRouterId) return config.routerId > peerRouterId;
  return config.localAsn > peerAsn;
}

/** Closes the loser of a collision. */
function yieldConnection(draft: Draft, loser: Connection): void {
  const cease = ceaseNotification(ceaseSubcode.connectionCollisionResolution);
  draft.drop(loser, sentReason(cease), cease);
}

/** What becomes of `connection` after its OPEN; closes whichever connection has lost. */
function resolveCollision(draft: Draft, connection: Connection, open: OpenMessage): 'stays' | 'yields' | 'lost' {
  const established = establishedConnection(draft.state);
  if (established) {
    // `tcpConnected` let it get so far.
    draft.drop(established, { type: 'peerRestarted', text: 'peer came back on a new connection (RFC 4724 5)' });
    return 'stays';
  }
  const other = draft.pending(connection.direction === 'incoming' ? 'outgoing' : 'incoming');
  if (!other) return 'stays';
  if ((connection.direction === 'outgoing') === outgoingWins(draft.state.config, open.routerId, open.asn)) {
    // We sent KEEPALIVE on the one that is to lose: the peer says which it is.
    if (other.direction === 'outgoing' && other.state === 'OpenConfirm' && !other.paused) return 'stays';
    yieldConnection(draft, other);
    return 'stays';
  }
  // The other one would win, once its OPEN is there.
  if (other.state === 'OpenConfirm') {
    yieldConnection(draft, connection);
    return 'lost';
  }
  if (other.direction === 'incoming') return 'stays';
  draft.startTimer('hold', collisionMs, other.id);
  return 'yields';
}

/** The one whose KEEPALIVE came while it had to wait. */
function confirmedConnection(draft: Draft): Connection | undefined {
  return draft.state.connections.find((c) => c.confirmed);
}

/** A valid OPEN in OpenSent: RFC 4271 8.2.2, Event 19. */
export function acceptOpen(draft: Draft, connection: Connection, open: OpenMessage): void {
  const before = draft.state;
  const fate = resolveCollision(draft, connection, open);
  if (fate === 'lost') return;
  const won = !establishedConnection(before) && draft.state.connections.length < before.connections.length;
  // An attempt that is given up may have got through to the peer already.
  const yields = fate === 'yields';
  const paused = yields || won || before.dialler === 'connecting' || connection.direction === 'outgoing';
  draft.stopDialler('off');
  const { config } = draft.state;
  const ours = connection.plain ? plainOpen(config)! : localOpen(config);
  const agreed = negotiate(ours, open);
  const wanted = config.keepaliveSec ?? 0;
  const keepaliveSec = wanted > 0 && wanted < agreed.holdTimeSec ? wanted : agreed.keepaliveSec;
  const negotiated = { ...agreed, keepaliveSec };
  const confirmed: Connection = {
    ...connection,
    state: 'OpenConfirm',
    negotiated,
    ...(paused ? { paused } : {}),
    ...(yields ? { yields } : {}),
  };
  draft.put(confirmed);
  // With a hold time of 0 the one for OPENs runs on: who never sends its KEEPALIVE holds no connection for ever.
  draft.restartHold(confirmed);
  if (yields) return;
  if (paused) {
    draft.startTimer('keepalive', keepalivePauseMs, connection.id);
    return;
  }
  draft.out({ type: 'sendKeepalive', connection: connection.id });
  if (negotiated.holdTimeSec > 0) draft.startTimer('keepalive', negotiated.keepaliveSec * 1000, connection.id);
}

/** KEEPALIVE in OpenConfirm: Event 26, unless ours is yet to be sent, or the peer has yet to choose between this connection and its own. */
export function confirm(draft: Draft, connection: Connection): void {
  const rival = chosenByPeer(draft, connection);
  if (!rival && !connection.paused) {
    becomeEstablished(draft, connection);
    return;
  }
  draft.restartHold(connection);
  if (connection.confirmed) return;
  draft.put({ ...connection, confirmed: true });
  if (rival) draft.startTimer('hold', collisionMs, rival.id);
}

/** The peer's own connection, which would win over this one of ours. */
function chosenByPeer(draft: Draft, { direction, negotiated }: Connection): Connection | undefined {
  if (direction === 'incoming' || !negotiated) return undefined;
  const ours = outgoingWins(draft.state.config, negotiated.peerRouterId, negotiated.peerAsn);
  return ours ? undefined : draft.pending('incoming');
}

/** After each step: what waited for one of ours goes on once that is gone, and what was confirmed becomes the session once nothing is in its way. */
export function settleCollision(draft: Draft): void {
  const yielding = draft.state.connections.find((c) => c.yields);
  if (yielding && !draft.pending('outgoing')) {
    const { yields: _, ...goesOn } = yielding;
    draft.put(goesOn);
    draft.startTimer('keepalive', keepalivePauseMs, goesOn.id);
  }
  const connection = confirmedConnection(draft);
  if (connection && !connection.paused && !chosenByPeer(draft, connection)) becomeEstablished(draft, connection);
}

/** The pause before KEEPALIVE is over. */
export function endPause(draft: Draft, { paused: _, ...connection }: Connection): void {
  draft.put(connection);
}

/** The hold timer of the connection that the peer was to choose, or to send OPEN on. Returns whether that was it. */
export function collisionTimedOut(draft: Draft, connection: Connection): boolean {
  const other = draft.state.connections.find((c) => c.yields) ?? confirmedConnection(draft);
  if (!other || other.id === connection.id) return false;
  yieldConnection(draft, connection);
  return true;
}

/** Its rivals are closed. */
export function becomeEstablished(draft: Draft, connection: Connection): void {
  const { confirmed: _, paused: __, ...rest } = connection;
  const { negotiated } = rest;
  if (!negotiated) return;
  for (const other of draft.state.connections) {
    if (other.id !== connection.id) yieldConnection(draft, other);
  }
  draft.put({ ...rest, state: 'Established' });
  if (negotiated.holdTimeSec === 0) draft.stopTimer('hold', connection.id);
  else draft.restartHold(connection);
  draft.set({ stable: false });
  draft.startTimer('stable', stableMs);
  draft.out({ type: 'sessionUp', connection: connection.id, negotiated });
}
