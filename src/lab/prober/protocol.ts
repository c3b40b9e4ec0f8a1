/** What is said on the prober's unix socket: one JSON object a line, answered in order of completion by `id`. */

/** SCTP is INIT and INIT-ACK only. */
export type ProbeProtocol = 'TCP' | 'UDP' | 'SCTP';

/** Something with a network namespace: a pod, a node (`node:NAME`) or a host (`ext:NAME`). */
export interface Target {
  readonly id: string;
  /** Path of its network namespace. */
  readonly netns: string;
  readonly addresses: readonly string[];
  readonly ports: readonly { readonly protocol: ProbeProtocol; readonly port: number }[];
}

export interface ProbeRequest {
  readonly from: string;
  readonly to: string;
  readonly protocol: ProbeProtocol;
  readonly port: number;
  readonly address: string;
  /** Source address, where the source has several of a family. */
  readonly source?: string;
  /** Whose answers count, where several may give one (the pods behind a service); absent: `to` alone. */
  readonly answeredBy?: readonly string[];
}

/** A connection that stays open and exchanges something every 100 ms (SCTP: the same INIT). */
export interface FlowRequest extends ProbeRequest {
  /** Unique among open flows. */
  readonly flow: string;
  /** New connections without pause instead, each from a port of its own. */
  readonly retry: boolean;
}

export interface FlowReport {
  /** Answers so far; with `retry` connections that were made. */
  readonly answers: number;
  /** Why it ended, when it did. */
  readonly ended?: string;
}

export interface ProbeOutcome {
  readonly verdict: 'allow' | 'deny';
  /** Why not: `timeout`, `refused` (somebody answered that nobody listens), `unreachable`, or `answered by ID` when it was another target. */
  readonly reason?: string;
}

export interface StreamRequest {
  /** Unique among running streams. */
  readonly stream: string;
  readonly from: string;
  readonly to: string;
  readonly address: string;
  /** A UDP port that `to` serves: the stream passes the same policy as everything else. */
  readonly port: number;
  readonly packetsPerSec: number;
  /** Source ports in turn, so that equal-cost paths are all in use. */
  readonly flows: number;
}

export interface StreamReport {
  readonly sent: number;
  readonly received: number;
  readonly lost: number;
  readonly duplicates: number;
  /** Longest time without an arriving packet in any one flow beyond its own interval, ms; 0 when nothing was lost. */
  readonly longestOutageMs: number;
}

export type ProberRequest =
  /** Serve and probe exactly these from now on. */
  | { readonly op: 'sync'; readonly targets: readonly Target[] }
  | { readonly op: 'probe'; readonly probes: readonly ProbeRequest[] }
  | { readonly op: 'streamStart'; readonly streams: readonly StreamRequest[] }
  /** How a running stream stands; packets of the last moments count as lost only when later ones arrived. */
  | { readonly op: 'streamStop'; readonly streams: readonly string[] }
  | { readonly op: 'flowOpen'; readonly flows: readonly FlowRequest[] }
  | { readonly op: 'flowStatus'; readonly flow: string }
  | { readonly op: 'flowClose'; readonly flow: string }
  | { readonly op: 'status' };

export interface ProberResults {
  readonly sync: { readonly serving: number; readonly problems: readonly string[] };
  readonly probe: { readonly outcomes: readonly ProbeOutcome[]; readonly elapsedMs: number };
  readonly flowOpen: Record<string, never>;
  readonly flowStatus: FlowReport;
  readonly flowClose: Record<string, never>;
  readonly streamStart: Record<string, never>;
  readonly streamStop: { readonly reports: readonly StreamReport[] };
  readonly status: {
    readonly pid: number;
    readonly targets: number;
    readonly sockets: number;
    readonly streams: number;
  };
}

export type ProberAnswer = { readonly id: number } & (
  | { readonly result: ProberResults[keyof ProberResults] }
  | { readonly error: string }
);
