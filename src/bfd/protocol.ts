/** What crosses between whoever owns the process of BFD and the process: as JSON. */
import type { BfdDropReason, BfdSessionConfig, BfdSessionStatus } from '#bgp';
import type { LogLine } from '#kit';

/** How well it keeps time. Counts are since it started; what is the longest or the latest, since it was asked last. */
export interface BfdTiming {
  /** SCHED_RR was granted. */
  readonly realtime: boolean;
  /** Upper bounds of the buckets below, milliseconds; the last bucket is without bound. */
  readonly edgesMs: readonly number[];
  /** Periodic packets by how long after their time they were sent. */
  readonly lateness: readonly number[];
  readonly latestMs: number;
  /** Between a packet of a session that said Up and the next: as long as the peer heard nothing of it. */
  readonly gaps: readonly number[];
  readonly longestGapMs: number;
  /** The longest that it was at work without a pause, its collections of garbage included. */
  readonly longestTurnMs: number;
  readonly collections: number;
  readonly longestCollectionMs: number;
  /** CPU time since it started, milliseconds. */
  readonly cpuMs: number;
  readonly sent: number;
  readonly received: number;
  /** Packets that the kernel refused to send. */
  readonly sendFailures: number;
  readonly drops: Readonly<Record<BfdDropReason, number>>;
}

/** Whether peers are told AdminDown, once, or packets just end, as they do when the process is killed. */
export type BfdStop = 'adminDown' | 'silent';

export type ToBfd =
  | { readonly type: 'configure'; readonly sessions: readonly BfdSessionConfig[] }
  | { readonly type: 'timing'; readonly id: number }
  | { readonly type: 'stop'; readonly how: BfdStop };

export type FromBfd =
  | { readonly type: 'sessions'; readonly statuses: readonly BfdSessionStatus[] }
  | { readonly type: 'timing'; readonly id: number; readonly timing: BfdTiming }
  | ({ readonly type: 'log' } & LogLine);
