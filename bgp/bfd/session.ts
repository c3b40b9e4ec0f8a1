/**
 * The state of one BFD session and what changes it (RFC 5880 6.8), as pure functions. Timers are not inputs to be armed but values to be
 * asked for: `transmitIntervalUs` and `detectionTimeUs` of whatever the state now is.
 *
 * Asynchronous mode only: we never ask for demand mode and never send echo packets, but honour a peer that does ask for demand mode. The C bit
 * is never set: this BFD ends with the process that it runs in, and says so (RFC 5882 4.3.2), so that peers may keep routes over
 * a restart of that process.
 */
import type { ControlPacket } from './packet.ts';
import { type BfdParameters, diagnosticCode, stateCode } from './types.ts';

const { adminDown, down, init, up } = stateCode;

/** Least interval between our packets while not Up (RFC 5880 6.8.3). */
export const slowTxUs = 1_000_000;
/** bfd.RemoteMinRxInterval of a peer not heard of (RFC 5880 6.8.1). */
const unheardMinRxUs = 1;

export interface BfdSession {
  readonly parameters: BfdParameters;
  /** `stateCode`. */
  readonly state: number;
  readonly diagnostic: number;
  readonly localDiscriminator: number;
  /** 0: not known, or not heard of for a detection time. */
  readonly remoteDiscriminator: number;
  readonly remoteState: number;
  readonly remoteDiagnostic: number;
  readonly remoteMinTxUs: number;
  readonly remoteMinRxUs: number;
  readonly remoteMultiplier: number;
  readonly remoteDemand: boolean;
  readonly remoteControlPlaneIndependent: boolean;
  /** Desired Min TX by which we send: a longer one that is not acknowledged yet is not in use (6.8.3). */
  readonly txUs: number;
  /** Required Min RX by which we wait: a shorter one that is not acknowledged yet is not in use (6.8.3). */
  readonly rxUs: number;
  /** A Poll Sequence runs (6.5): `due` until a packet with P went out. */
  readonly poll: 'none' | 'due' | 'sent';
  /** Parameters changed after that packet: another sequence follows this one. */
  readonly pollAgain: boolean;
}

export type BfdEvent =
  /** A packet that is for this session and passed every check. Read during the call only. */
  | { readonly type: 'packet'; readonly packet: Readonly<ControlPacket> }
  /** Nothing came for `detectionTimeUs`. */
  | { readonly type: 'detectionExpired' }
  /** A packet with P went out. */
  | { readonly type: 'pollSent' }
  | { readonly type: 'configure'; readonly parameters: BfdParameters }
  | { readonly type: 'disable' }
  | { readonly type: 'enable' };

export interface BfdStep {
  readonly session: BfdSession;
  /** Send now: nothing, what changed, or the answer to a Poll (F set, and what changed with it). */
  readonly send: 'nothing' | Exclude<PacketKind, 'periodic'>;
}

/** @param localDiscriminator not 0 and unique among the sessions of this system (6.8.1). */
export function initialSession(parameters: BfdParameters, localDiscriminator: number): BfdSession {
  return {
    parameters,
    state: down,
    diagnostic: diagnosticCode.none,
    localDiscriminator,
    remoteDiscriminator: 0,
    remoteState: down,
    remoteDiagnostic: diagnosticCode.none,
    remoteMinTxUs: 0,
    remoteMinRxUs: unheardMinRxUs,
    remoteMultiplier: 0,
    remoteDemand: false,
    remoteControlPlaneIndependent: false,
    txUs: Math.max(slowTxUs, parameters.minTxUs),
    rxUs: parameters.minRxUs,
    poll: 'none',
    pollAgain: false,
  };
}

/** bfd.DesiredMinTxInterval: what our packets say. */
export function desiredMinTxUs({ state, parameters }: BfdSession): number {
  return state === up ? parameters.minTxUs : Math.max(slowTxUs, parameters.minTxUs);
}

/** Interval between periodic packets before jitter (6.8.2, 6.8.7); 0: none may be sent. */
export function transmitIntervalUs(session: BfdSession): number {
  if (session.remoteMinRxUs === 0) return 0;
  const demanded = session.remoteDemand && session.state === up && session.remoteState === up;
  if (demanded && session.poll === 'none') return 0;
  return Math.max(session.txUs, session.remoteMinRxUs);
}

/** Interval at which the peer is bound to send (6.8.4); 0: there is no peer. */
export function receiveIntervalUs(session: BfdSession): number {
  return session.remoteDiscriminator === 0 ? 0 : Math.max(session.rxUs, session.remoteMinTxUs);
}

/** bfd detection time (6.8.4); 0: there is nothing to wait for. */
export function detectionTimeUs(session: BfdSession): number {
  return session.remoteMultiplier * receiveIntervalUs(session);
}

/** What a packet is sent for. P goes into periodic ones only (6.5), F into answers only; never both. */
export type PacketKind = 'periodic' | 'change' | 'final';

/** Fills in what a packet of this session says. */
export function fillPacket(session: BfdSession, kind: PacketKind, into: ControlPacket): void {
  into.diagnostic = session.diagnostic;
  into.state = session.state;
  into.poll = kind === 'periodic' && session.poll !== 'none';
  into.final = kind === 'final';
  into.controlPlaneIndependent = false;
  into.demand = false;
  into.detectMult = session.parameters.multiplier;
  into.myDiscriminator = session.localDiscriminator;
  into.yourDiscriminator = session.remoteDiscriminator;
  into.desiredMinTxUs = desiredMinTxUs(session);
  into.requiredMinRxUs = session.parameters.minRxUs;
  into.requiredMinEchoRxUs = 0;
}

/** Whether `packet` tells nothing new to a session that is Up at both ends: the usual case, in which `step` changes nothing. */
export function isRepetition(session: BfdSession, packet: Readonly<ControlPacket>): boolean {
  return (
    packet.state === up &&
    session.state === up &&
    session.remoteState === up &&
    !packet.poll &&
    !packet.final &&
    packet.myDiscriminator === session.remoteDiscriminator &&
    packet.desiredMinTxUs === session.remoteMinTxUs &&
    packet.requiredMinRxUs === session.remoteMinRxUs &&
    packet.detectMult === session.remoteMultiplier &&
    packet.demand === session.remoteDemand &&
    packet.diagnostic === session.remoteDiagnostic &&
    packet.controlPlaneIndependent === session.remoteControlPlaneIndependent
  );
}

export function stepBfd(session: BfdSession, event: BfdEvent): BfdStep {
  switch (event.type) {
    case 'packet':
      return packetReceived(session, event.packet);
    case 'detectionExpired':
      return detectionExpired(session);
    case 'pollSent':
      return { session: session.poll === 'due' ? { ...session, poll: 'sent' } : session, send: 'nothing' };
    case 'configure':
      return configured(session, event.parameters);
    case 'disable':
      return changed(session, enter(session, adminDown, diagnosticCode.administrativelyDown));
    case 'enable':
      return session.state === adminDown
        ? changed(session, enter(session, down, diagnosticCode.none))
        : { session, send: 'nothing' };
  }
}

function changed(before: BfdSession, session: BfdSession): BfdStep {
  return { session, send: session.state === before.state ? 'nothing' : 'change' };
}

/** RFC 5880 6.8.6, from the choice of the session on. */
function packetReceived(before: BfdSession, packet: Readonly<ControlPacket>): BfdStep {
  let session: BfdSession = {
    ...before,
    remoteDiscriminator: packet.myDiscriminator,
    remoteState: packet.state,
    remoteDiagnostic: packet.diagnostic,
    remoteDemand: packet.demand,
    remoteMinTxUs: packet.desiredMinTxUs,
    remoteMinRxUs: packet.requiredMinRxUs,
    remoteMultiplier: packet.detectMult,
    remoteControlPlaneIndependent: packet.controlPlaneIndependent,
  };
  if (packet.final && session.poll === 'sent') session = pollEnded(session);
  if (session.state === adminDown) return { session, send: 'nothing' };
  session = afterRemoteState(session, packet.state);
  if (packet.poll) return { session, send: 'final' };
  return changed(before, session);
}

/** The state machine of RFC 5880 6.2 and 6.8.6. */
function afterRemoteState(session: BfdSession, remote: number): BfdSession {
  switch (session.state) {
    case down:
      if (remote === down) return enter(session, init, diagnosticCode.none);
      if (remote === init) return enter(session, up, diagnosticCode.none);
      return session;
    case init:
      if (remote === adminDown) return enter(session, down, diagnosticCode.neighborSignaledSessionDown);
      if (remote === init || remote === up) return enter(session, up, diagnosticCode.none);
      return session;
    default:
      if (remote === adminDown || remote === down) {
        return enter(session, down, diagnosticCode.neighborSignaledSessionDown);
      }
      return session;
  }
}

function detectionExpired(before: BfdSession): BfdStep {
  // Forgotten with it: an interval of 0 that a peer asked for which is gone would silence us for ever.
  const alone: BfdSession = {
    ...before,
    remoteDiscriminator: 0,
    remoteState: down,
    remoteMinRxUs: unheardMinRxUs,
    remoteDemand: false,
    poll: 'none',
    pollAgain: false,
  };
  const falls = before.state === init || before.state === up;
  return changed(before, falls ? enter(alone, down, diagnosticCode.controlDetectionTimeExpired) : alone);
}

/** Changes the state, and with it Desired Min TX: at least a second unless Up (6.8.3). */
function enter(session: BfdSession, state: number, diagnostic: number): BfdSession {
  if (session.state === state) return session;
  const next: BfdSession = { ...session, state, diagnostic };
  if (state === adminDown) return { ...next, txUs: desiredMinTxUs(next), poll: 'none', pollAgain: false };
  // A shorter interval may be used at once, and outside of Up a longer one too. RequiredMinRx likewise.
  const rxUs = state === up ? session.rxUs : session.parameters.minRxUs;
  const entered = { ...next, txUs: desiredMinTxUs(next), rxUs };
  return desiredMinTxUs(next) === desiredMinTxUs(session) ? entered : startPoll(entered);
}

/** RFC 5880 6.8.3. */
function configured(session: BfdSession, parameters: BfdParameters): BfdStep {
  const next: BfdSession = { ...session, parameters };
  const sameTx = desiredMinTxUs(next) === desiredMinTxUs(session);
  const sameRx = parameters.minRxUs === session.parameters.minRxUs;
  if (sameTx && sameRx) return { session: next, send: 'nothing' };
  if (session.state !== up) {
    const moved = { ...next, txUs: desiredMinTxUs(next), rxUs: parameters.minRxUs };
    return { session: session.state === adminDown ? moved : startPoll(moved), send: 'nothing' };
  }
  const careful: BfdSession = {
    ...next,
    txUs: Math.min(session.txUs, parameters.minTxUs),
    rxUs: Math.max(session.rxUs, parameters.minRxUs),
  };
  return { session: startPoll(careful), send: 'nothing' };
}

/** Nobody to ask: who comes later learns the values from the first packet. */
function startPoll(session: BfdSession): BfdSession {
  if (session.remoteDiscriminator === 0) return session;
  return session.poll === 'sent' ? { ...session, pollAgain: true } : { ...session, poll: 'due' };
}

/** What was asked is acknowledged, unless it changed since: then it is asked again, and nothing is taken into use yet. */
function pollEnded(session: BfdSession): BfdSession {
  if (session.pollAgain) return { ...session, poll: 'due', pollAgain: false };
  return { ...session, poll: 'none', txUs: desiredMinTxUs(session), rxUs: session.parameters.minRxUs };
}
