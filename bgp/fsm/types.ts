/**
 * The session state machine of one peer (RFC 4271 8) as data. `step(state, input, random)` is a pure function; the driver
 * owns sockets, timers and the clock.
 *
 * A peer has up to two connections that are not yet established (one each way, RFC 4271 6.8) and one that is. The driver
 * gives every TCP connection a number of its own when it is there (`tcpConnected`); an attempt has none, and at most one
 * is under way.
 */
import type { Family, PeerAsn } from '../speaker/config.ts';
import type { AddPathCapability, Negotiated, Notification, OpenMessage, ProtocolError } from '../wire/types.ts';

/** Names of RFC 4271 8.2.2, as shown to people. */
export type SessionStateName = 'Idle' | 'Connect' | 'Active' | 'OpenSent' | 'OpenConfirm' | 'Established';

export type Direction = 'outgoing' | 'incoming';

/** What OPEN tells people: draft-walton-bgp-hostname-capability, draft-ietf-idr-software-version. */
export interface OpenTexts {
  readonly hostName?: { readonly host: string; readonly domain: string };
  readonly softwareVersion?: string;
}

/** Settings of a peer; changing them means `manualStop`, a new state by `initialState`, `manualStart`. */
export interface SessionConfig {
  readonly localAsn: number;
  readonly peerAsn: PeerAsn;
  /** Unsigned 32 bit, not 0. */
  readonly routerId: number;
  readonly families: readonly Family[];
  /** 0 or >= 3. */
  readonly holdTimeSec: number;
  /** Less than the negotiated hold time, else a third of that is taken. */
  readonly keepaliveSec?: number;
  /** Between attempts while nothing answers. */
  readonly connectRetrySec: number;
  /** Never dials. */
  readonly passive: boolean;
  /** What we are to the peer: a value of `bgpRole` (RFC 9234 4); external peers only. */
  readonly role?: number;
  /** A peer that says no role is refused. */
  readonly strictRole?: boolean;
  /** For the peer's operator, in OPEN; replaced on the fly with `setTexts`. */
  readonly texts?: OpenTexts;
  /** RFC 8654 is offered. */
  readonly extendedMessages?: boolean;
  /** RFC 7911 capability of our OPEN; absent: not offered. */
  readonly addPath?: readonly AddPathCapability[];
  /** Capabilities 5 (RFC 8950) and 77 (draft-ietf-idr-linklocal-capability). */
  readonly extendedNextHop?: boolean;
  readonly linkLocalNextHop?: boolean;
  /** Capability of our OPEN; absent: not offered. Replaced on the fly with `setGracefulRestart` (R only until End-of-RIB went out). */
  readonly gracefulRestart?: {
    readonly restarting: boolean;
    /** N: NOTIFICATIONs other than Hard Reset keep routes (RFC 8538). */
    readonly notification?: boolean;
    readonly restartTimeSec: number;
    readonly families: readonly { readonly family: Family; readonly forwarding: boolean }[];
    /** RFC 9494, for all of `families`; absent: not offered. */
    readonly longLivedStaleTimeSec?: number;
  };
}

/** One TCP connection of the peer. */
export interface Connection {
  readonly id: number;
  readonly direction: Direction;
  readonly state: 'OpenSent' | 'OpenConfirm' | 'Established';
  /** In OpenConfirm: our KEEPALIVE is yet to be sent, by the keepalive timer. */
  readonly paused?: true;
  /** In OpenConfirm and `paused`, without that timer: one of ours would win, if the peer sends OPEN on it. */
  readonly yields?: true;
  /** In OpenConfirm: the peer's KEEPALIVE came, but `paused`, or the peer has yet to choose between this connection and its own. */
  readonly confirmed?: true;
  /** Our OPEN on it had no capabilities. */
  readonly plain?: true;
  /** From OpenConfirm on. */
  readonly negotiated?: Negotiated;
}

/** The dialling side: stopped by the operator, waiting after an error, dialling, waiting between attempts, or not needed. */
export type DiallerPhase = 'stopped' | 'idleHold' | 'connecting' | 'waiting' | 'off';

export interface SessionState {
  readonly config: SessionConfig;
  readonly dialler: DiallerPhase;
  /**
   * At most one of each direction that is not Established. Beside an Established one there may be one incoming in OpenSent:
   * where graceful restart is negotiated and the session is `stable` it may turn out to be the restarted peer.
   */
  readonly connections: readonly Connection[];
  /** The session has been Established for `stableMs`: errors before are forgotten. */
  readonly stable: boolean;
  /** The peer refused OPEN for its capabilities: the next one has none (RFC 5492 3). Once; then it is tried in full again. */
  readonly plainNext?: true;
  /** Wait before the next attempt after an error; doubles. */
  readonly idleHoldMs: number;
  /** RFC 4271 8.1.1 ConnectRetryCounter. */
  readonly connectRetryCounter: number;
  /** Last reason why a session or an attempt failed, for status. */
  readonly lastDown?: SessionDownReason;
}

/**
 * `connectRetry`, `idleHold` and `stable` belong to the peer; `hold` and `keepalive` to a connection. RFC 9687's send hold
 * timer is the driver's (it knows what TCP has taken) and comes in as `sendHold`.
 */
export type SessionTimer = 'connectRetry' | 'idleHold' | 'stable' | 'hold' | 'keepalive';

export type SessionInput =
  | { readonly type: 'manualStart' }
  /**
   * Sends Cease with `subcode` (RFC 4486) and `text` (RFC 9003) or `data`, or nothing when `silent` (graceful restart). `hard`: the
   * routes of both sides go, where otherwise they would stay (RFC 8538).
   */
  | {
      readonly type: 'manualStop';
      readonly subcode: number;
      readonly text?: string;
      readonly data?: Uint8Array;
      readonly silent?: boolean;
      readonly hard?: boolean;
    }
  /** BFD says that the path is gone: ends what is Established with Cease/10 (RFC 9384), or silently as by a restart of the peer. */
  | { readonly type: 'bfdDown'; readonly text: string; readonly restart: boolean }
  | { readonly type: 'timer'; readonly timer: 'connectRetry' | 'idleHold' | 'stable' }
  | { readonly type: 'timer'; readonly timer: 'hold' | 'keepalive' | 'sendHold'; readonly connection: number }
  | { readonly type: 'tcpConnected'; readonly connection: number; readonly direction: Direction }
  /** The attempt that `dial` asked for failed. */
  | { readonly type: 'tcpFailed'; readonly reason: string }
  | { readonly type: 'tcpClosed'; readonly connection: number }
  | { readonly type: 'open'; readonly connection: number; readonly open: OpenMessage }
  | { readonly type: 'keepalive' | 'update' | 'routeRefresh'; readonly connection: number }
  | { readonly type: 'notification'; readonly connection: number; readonly notification: Notification }
  /** The codec found a fatal error (framing, OPEN, UPDATE reset) on a connection. */
  | { readonly type: 'messageError'; readonly connection: number; readonly error: ProtocolError };

export type SessionDownReason =
  /** `notification`: what was sent, unless that was nothing. */
  | { readonly type: 'stopped'; readonly notification?: Notification; readonly text: string }
  | { readonly type: 'notificationSent'; readonly notification: Notification; readonly text: string }
  | { readonly type: 'notificationReceived'; readonly notification: Notification; readonly text: string }
  /** Closed without an answer (RFC 4271 6.4). */
  | { readonly type: 'malformedNotification'; readonly text: string }
  | { readonly type: 'tcpClosed'; readonly text: string }
  /** BFD fell, and that counts as a restart of the peer (RFC 5882 4.3.2). */
  | { readonly type: 'bfdDown'; readonly text: string }
  | { readonly type: 'tcpFailed'; readonly text: string }
  /** The peer sent OPEN on a new connection while Established, and graceful restart is negotiated (RFC 4724 5). */
  | { readonly type: 'peerRestarted'; readonly text: string };

/** In order. `close` after a `sendNotification` of the same connection closes once that is written. */
export type SessionOutput =
  | { readonly type: 'dial' }
  /** Give up the attempt under way; nothing of it may be reported afterwards. */
  | { readonly type: 'abortDial' }
  | { readonly type: 'close'; readonly connection: number }
  | { readonly type: 'sendOpen'; readonly connection: number; readonly open: OpenMessage }
  | { readonly type: 'sendKeepalive'; readonly connection: number }
  | { readonly type: 'sendNotification'; readonly connection: number; readonly notification: Notification }
  /** Starts, or starts again, the timer. `connection` with `hold` and `keepalive` only. */
  | {
      readonly type: 'startTimer';
      readonly timer: SessionTimer;
      readonly connection?: number;
      readonly delayMs: number;
    }
  /** Timers of a connection stop by themselves with its `close`. */
  | { readonly type: 'stopTimer'; readonly timer: SessionTimer; readonly connection?: number }
  | { readonly type: 'sessionUp'; readonly connection: number; readonly negotiated: Negotiated }
  /**
   * `gracefulRestartPreserve`: keep the peer's routes of the families in `negotiated.gracefulRestart` as stale for its
   * restart time (RFC 4724 4.2, RFC 8538 4), then those of `negotiated.longLived` for their times (RFC 9494 4.2);
   * otherwise, and for other families, drop them.
   */
  | {
      readonly type: 'sessionDown';
      readonly connection: number;
      readonly negotiated: Negotiated;
      readonly reason: SessionDownReason;
      readonly gracefulRestartPreserve: boolean;
    }
  | { readonly type: 'deliverUpdate'; readonly connection: number }
  | { readonly type: 'deliverRouteRefresh'; readonly connection: number };

export interface StepResult {
  readonly state: SessionState;
  readonly outputs: readonly SessionOutput[];
}

/*
 * Functions (all exported by index.ts):
 *
 * initialState(config: SessionConfig): SessionState                    stopped; nothing happens before manualStart
 * step(state: SessionState, input: SessionInput, random: () => number): StepResult
 * stateName(state: SessionState): SessionStateName                     the furthest of dialler and connections
 * establishedConnection(state: SessionState): Connection | undefined
 * setGracefulRestart(state, gracefulRestart): SessionState             from the next OPEN on
 *
 * Hot path: while `establishedConnection(state)?.id` is the connection a message came on, the driver may take an UPDATE or
 * KEEPALIVE without calling `step` if it restarts the hold timer itself (for example by noting the time and checking it
 * lazily when the timer fires).
 */
