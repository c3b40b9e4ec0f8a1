/**
 * What a speaker is told to be. Plain data (it crosses a thread border by structured clone, so passwords are text here
 * and must never be logged); the whole of it is given on every change and the speaker works out which sessions a
 * change must touch.
 */

export type Family = 'ipv4-unicast' | 'ipv6-unicast';

export interface SpeakerConfig {
  /** 1..4294967295. */
  readonly asn: number;
  /** Dotted quad, not 0.0.0.0. */
  readonly routerId: string;
  readonly listen: readonly { readonly address: string; readonly port: number }[];
  /** Prefixes announced as our own, origin IGP. */
  readonly originate: readonly string[];
  readonly peers: readonly PeerConfig[];
  readonly gracefulRestart: GracefulRestartConfig;
}

/** RFC 4724. `restarting` and `forwardingPreserved` hold for the life of the process and are ignored when changed. */
export interface GracefulRestartConfig {
  /** This process follows an earlier run whose forwarding state may still be in the kernel: R bit on first OPENs. */
  readonly restarting: boolean;
  /** F bit per family: routes of the earlier run are in the kernel. */
  readonly forwardingPreserved: readonly Family[];
  /** Advertised restart time, seconds, 0..4095. */
  readonly restartTimeSec: number;
  /** Selection deferral: routes are held back until each live peer sent End-of-RIB, at most this long. */
  readonly deferralTimeSec: number;
}

export interface PeerConfig {
  /** Unique and stable; what status and logs call the peer. */
  readonly name: string;
  readonly address: string;
  /** Remote port to dial. */
  readonly port: number;
  readonly asn: number;
  /** Source address of the session (needed for peers on loopbacks); absent: the kernel chooses. */
  readonly localAddress?: string;
  readonly families: readonly Family[];
  /** Seconds, 0 or >= 3. */
  readonly holdTimeSec: number;
  /** TCP-MD5 (RFC 2385), at most 80 bytes. */
  readonly password?: string;
  /** Never dials. */
  readonly passive: boolean;
  readonly connectRetrySec: number;
  /** Restart time told to this peer instead of the speaker's, seconds, 0..4095. */
  readonly restartTimeSec?: number;
  readonly import: 'accept' | 'reject';
  /** `originated`: only what this speaker originates (agents are never transit); `accept`: everything best. */
  readonly export: 'accept' | 'reject' | 'originated';
  /**
   * Our address announced as next hop for each family. Absent: the session's local address where it is of that family;
   * a family without one is not announced on this session.
   */
  readonly nextHop4?: string;
  readonly nextHop6?: string;
}
