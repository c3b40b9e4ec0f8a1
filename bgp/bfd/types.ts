/** Bidirectional Forwarding Detection (RFC 5880): names, settings and what is told of a session. */

/** RFC 5880 4.1 State; the index is the number on the wire. */
export const bfdStates = ['AdminDown', 'Down', 'Init', 'Up'] as const;
export type BfdState = (typeof bfdStates)[number];

export const stateCode = { adminDown: 0, down: 1, init: 2, up: 3 } as const;

/** RFC 5880 4.1 Diagnostic. */
export const diagnosticCode = {
  none: 0,
  controlDetectionTimeExpired: 1,
  neighborSignaledSessionDown: 3,
  pathDown: 5,
  administrativelyDown: 7,
} as const;

const diagnosticTexts = [
  'No Diagnostic',
  'Control Detection Time Expired',
  'Echo Function Failed',
  'Neighbor Signaled Session Down',
  'Forwarding Plane Reset',
  'Path Down',
  'Concatenated Path Down',
  'Administratively Down',
  'Reverse Concatenated Path Down',
];

/** The RFC's words for a diagnostic code, 0..31. */
export function diagnosticText(code: number): string {
  return diagnosticTexts[code] ?? `Diagnostic ${code}`;
}

/** What a session asks of its peer. */
export interface BfdParameters {
  /** Desired Min TX Interval while Up, microseconds, > 0. */
  readonly minTxUs: number;
  /** Required Min RX Interval, microseconds, > 0 (0 would forbid the peer to send). */
  readonly minRxUs: number;
  /** Detect Mult, 1..255. */
  readonly multiplier: number;
}

/** One session. Plain data: it crosses a thread border. */
export interface BfdSessionConfig extends BfdParameters {
  /** Unique and stable: one for each peer address, local address, interface and port. */
  readonly key: string;
  /** Without a zone. */
  readonly peerAddress: string;
  /** Source of what is sent; absent: the kernel chooses. */
  readonly localAddress?: string;
  /** The link that the peer is on: packets leave and are taken there only. Needed with a link-local address. */
  readonly interface?: string;
  /** RFC 5883: port 4784, and packets from up to `maxHops` hops; otherwise RFC 5881: port 3784 and TTL 255. */
  readonly multihop: boolean;
  /** Of a multihop session, 1..255: what arrives with a TTL below 256 - maxHops is dropped. */
  readonly maxHops: number;
}

/** Plain data: it crosses a thread border. */
export interface BfdSessionStatus {
  readonly key: string;
  readonly state: BfdState;
  /** `Down` until heard of. */
  readonly remoteState: BfdState;
  /** Why our state last changed, and why the peer says that its own did: RFC 5880 4.1 codes. */
  readonly diagnostic: number;
  readonly remoteDiagnostic: number;
  /** The peer's C bit: its BFD goes on when its control plane restarts. */
  readonly remoteControlPlaneIndependent: boolean;
  /** Interval in force between our packets before jitter, microseconds; 0: none are sent. */
  readonly txIntervalUs: number;
  /** Interval agreed for the peer's packets, microseconds; 0 while there is no peer. */
  readonly rxIntervalUs: number;
  /** Silence after which the session is down, microseconds; 0 while there is no peer. */
  readonly detectionTimeUs: number;
  readonly remoteMultiplier: number;
  /** Times that it left Up. */
  readonly flaps: number;
}

/** Why a received packet was dropped: RFC 5880 6.8.6, RFC 5881 5, RFC 5883. */
export const bfdDropReasons = [
  'length',
  'version',
  'multiplier',
  'multipoint',
  'discriminator',
  'state',
  'authentication',
  'hops',
  'unknownSession',
] as const;
export type BfdDropReason = (typeof bfdDropReasons)[number];
