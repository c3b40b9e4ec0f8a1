/**
 * Which BFD sessions the peers want, and what becomes of a peer whose session falls (RFC 5882 4, 10.2).
 *
 * BFD gates nothing: BGP comes up without it, as a peer may not speak it (4.1). One session serves all BGP peers at an address (2).
 *
 * BFD begins with the first BGP session of a peer. While this speaker follows an earlier run the peer knows nothing of that before, and would
 * take a packet that says Down for a failure (4.3.2.2); and FRR makes its BFD session anew when BGP is Established, which ends
 * the BGP session if BFD was up by then. A peer that waits for BFD before it comes up (strict mode) gets it after a while.
 */
import { type Clock, splitZone } from '#kit';
import {
  type BfdSessionConfig,
  type BfdSessionStatus,
  type BfdState,
  diagnosticCode,
  diagnosticText,
} from '../bfd/index.ts';
import type { BfdConfig, PeerConfig } from './config.ts';

/** Where BFD runs. News come by `Speaker.bfdChanged`. */
export interface BfdPort {
  /** Brings sessions in line; called on each change. Those that are gone say AdminDown before they end. */
  configure(sessions: readonly BfdSessionConfig[]): void;
}

/** BFD of one peer, for status. Intervals in milliseconds. */
export interface PeerBfdStatus {
  readonly state: BfdState;
  readonly remoteState: BfdState;
  /** RFC 5880 4.1, in the RFC's words. */
  readonly diagnostic: string;
  readonly remoteDiagnostic: string;
  /** In force, as negotiated; 0: nothing is sent, or there is no peer. */
  readonly txIntervalMs: number;
  readonly rxIntervalMs: number;
  readonly detectionTimeMs: number;
  /** C bit of the peer: its BFD outlives a restart of its control plane. */
  readonly remoteControlPlaneIndependent: boolean;
  /** Times that the session left Up. */
  readonly flaps: number;
}

export interface BfdDown {
  /** Why, for people. */
  readonly text: string;
  /** No restart of the peer's control plane explains it: nothing is forwarded over this path. */
  readonly forwardingLost: boolean;
}

const defaultMultihopHops = 255;
/** BFD begins so long after it was configured where no BGP session comes up. */
const patienceMs = 15_000;
const usPerMs = 1000;

/** The session that a peer asks for; undefined: none. */
export function bfdSession(peer: PeerConfig): BfdSessionConfig | undefined {
  const { bfd } = peer;
  if (!bfd || peer.heldDown !== undefined) return undefined;
  const { address, zone } = splitZone(peer.address);
  const multihop = bfd.multihop ?? false;
  const localAddress = peer.localAddress === undefined ? undefined : splitZone(peer.localAddress).address;
  return {
    key: [multihop ? 'multihop' : 'link', address, zone ?? '', localAddress ?? ''].join(' '),
    peerAddress: address,
    ...(localAddress === undefined ? {} : { localAddress }),
    ...(zone === undefined ? {} : { interface: zone }),
    multihop,
    maxHops: multihop ? (peer.ttlSecurityHops ?? defaultMultihopHops) : 1,
    minTxUs: bfd.minTxMs * usPerMs,
    minRxUs: bfd.minRxMs * usPerMs,
    multiplier: bfd.multiplier,
  };
}

/** From the fall of a BFD session to a peer's BGP that has taken note of it. */
const fallNotedMs = 200;

/**
 * Milliseconds from the end of a process to when the peer's BFD has noticed it for certain: our multiplier, of intervals that are the longer of
 * ours and what the peer takes (RFC 5880 6.8.4), which is not known here; most sides of a session are set alike. 0: no BFD.
 */
export function peerNoticesAfterMs({ bfd }: PeerConfig): number {
  return bfd ? bfd.multiplier * Math.max(bfd.minTxMs, bfd.minRxMs) + fallNotedMs : 0;
}

/** The demands of two peers on one session: the quicker of each, and the packets that either would take. */
function joined(a: BfdSessionConfig, b: BfdSessionConfig): BfdSessionConfig {
  return {
    ...a,
    maxHops: Math.max(a.maxHops, b.maxHops),
    minTxUs: Math.min(a.minTxUs, b.minTxUs),
    minRxUs: Math.min(a.minRxUs, b.minRxUs),
    multiplier: Math.min(a.multiplier, b.multiplier),
  };
}

interface Watched {
  readonly config: PeerConfig;
  /** It had a session with this process. */
  readonly wasEstablished: boolean;
}

export class BfdMonitor {
  readonly #port: BfdPort | undefined;
  readonly #clock: Clock;
  /** Calls `configure` with the peers of that time. */
  readonly #again: () => void;
  readonly #statuses = new Map<string, BfdSessionStatus>();
  /** Sessions that wait for BGP, and since when. */
  readonly #waitingSinceMs = new Map<string, number>();
  readonly #begun = new Set<string>();
  #cancelTimer: (() => void) | undefined;
  #told = '[]';

  constructor(port: BfdPort | undefined, clock: Clock, again: () => void) {
    this.#port = port;
    this.#clock = clock;
    this.#again = again;
  }

  /** @param restarting this process follows an earlier run, and its peers may not know yet: no patience runs out. */
  configure(peers: Iterable<Watched>, restarting: boolean): void {
    const sessions = new Map<string, BfdSessionConfig>();
    const wantedKeys = new Set<string>();
    for (const { config, wasEstablished } of peers) {
      const wanted = bfdSession(config);
      if (!wanted) continue;
      wantedKeys.add(wanted.key);
      if (!this.#mayBegin(wanted.key, wasEstablished, restarting)) continue;
      const other = sessions.get(wanted.key);
      sessions.set(wanted.key, other ? joined(other, wanted) : wanted);
    }
    for (const known of [this.#statuses, this.#waitingSinceMs, this.#begun]) {
      for (const key of known.keys()) if (!wantedKeys.has(key)) known.delete(key);
    }
    this.#wakeForWaiting(restarting);
    const list = [...sessions.values()];
    const text = JSON.stringify(list);
    if (text === this.#told) return;
    this.#told = text;
    this.#port?.configure(list);
  }

  stop(): void {
    this.#cancelTimer?.();
  }

  #mayBegin(key: string, wasEstablished: boolean, restarting: boolean): boolean {
    if (this.#begun.has(key)) return true;
    const now = this.#clock.nowMs();
    const since = this.#waitingSinceMs.get(key) ?? now;
    this.#waitingSinceMs.set(key, since);
    if (!wasEstablished && (restarting || now - since < patienceMs)) return false;
    this.#waitingSinceMs.delete(key);
    this.#begun.add(key);
    return true;
  }

  #wakeForWaiting(restarting: boolean): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (restarting || this.#waitingSinceMs.size === 0) return;
    const first = Math.min(...this.#waitingSinceMs.values());
    const delayMs = Math.max(1, first + patienceMs - this.#clock.nowMs());
    this.#cancelTimer = this.#clock.schedule(delayMs, this.#again);
  }

  /**
   * Takes up news of a session.
   *
   * @returns what befell the peers of that session; undefined when they have nothing to do.
   */
  changed(status: BfdSessionStatus): BfdDown | undefined {
    const before = this.#statuses.get(status.key);
    this.#statuses.set(status.key, status);
    if (before?.state !== 'Up' || status.state !== 'Down') return undefined;
    // The peer's operator took BFD away: that says nothing about the path (RFC 5882 3.2, 4.2).
    if (status.remoteState === 'AdminDown') return undefined;
    return { text: downText(status), forwardingLost: forwardingLost(status) };
  }

  statusOf(peer: PeerConfig): PeerBfdStatus | undefined {
    const session = bfdSession(peer);
    const status = session && this.#statuses.get(session.key);
    if (!session || !status) return undefined;
    return {
      state: status.state,
      remoteState: status.remoteState,
      diagnostic: diagnosticText(status.diagnostic),
      remoteDiagnostic: diagnosticText(status.remoteDiagnostic),
      txIntervalMs: status.txIntervalUs / usPerMs,
      rxIntervalMs: status.rxIntervalUs / usPerMs,
      detectionTimeMs: status.detectionTimeUs / usPerMs,
      remoteControlPlaneIndependent: status.remoteControlPlaneIndependent,
      flaps: status.flaps,
    };
  }
}

function downText(status: BfdSessionStatus): string {
  if (status.diagnostic !== diagnosticCode.neighborSignaledSessionDown) return diagnosticText(status.diagnostic);
  return `${diagnosticText(status.diagnostic)}: ${diagnosticText(status.remoteDiagnostic)}`;
}

/**
 * RFC 5882 4.3.1: a BFD that does not share fate with its control plane fails with the forwarding plane only. And who says that it no
 * longer hears us was not restarted: it remembers that it heard us.
 */
function forwardingLost(status: BfdSessionStatus): boolean {
  const { neighborSignaledSessionDown, controlDetectionTimeExpired } = diagnosticCode;
  const unheard =
    status.diagnostic === neighborSignaledSessionDown && status.remoteDiagnostic === controlDetectionTimeExpired;
  return status.remoteControlPlaneIndependent || unheard;
}

/** Whether the session of a peer that is Established may end as by a restart of the peer. */
export function countsAsRestart(config: BfdConfig | undefined, down: BfdDown): boolean {
  return config?.graceful === true && !down.forwardingLost;
}
