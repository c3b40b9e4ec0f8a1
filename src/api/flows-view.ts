/** Flows that policy denied, and allowed ones when asked for: what `poplin flows` prints, one JSON object a line with `-o json`. */
import type { Timestamp } from './view.ts';

/** `dropped`: not by policy, by what holds for every pod (addresses of its own, valid connections, guarded ports). */
export type FlowVerdict = 'denied' | 'allowed' | 'dropped';

export interface FlowsQuery {
  /** Only flows behind this one: `next` of the answer before. */
  readonly after: number;
  /** The newest so many of what is behind it. */
  readonly limit: number;
  readonly verdict?: FlowVerdict;
  /** Of which one end is this pod, `namespace/name`, or a pod of this namespace. */
  readonly pod?: string;
  readonly namespace?: string;
  /** Only those on which the staged policies would decide otherwise. */
  readonly staged?: boolean;
  /** Waits so many seconds for the first one. */
  readonly waitSec: number;
}

export interface FlowsView {
  /** Oldest first. */
  readonly flows: readonly FlowView[];
  /** Give it as `after`. */
  readonly next: number;
  /** Flows behind `after` that are not kept any more. */
  readonly missed: number;
  readonly log: FlowLogView;
}

export interface FlowLogView {
  readonly verdicts: 'off' | 'denied' | 'all';
  /** Packets a second that each rule tells of at most. */
  readonly ratePerSec: number;
  /** Packets that the kernel logged and the agent did not get in time. */
  readonly lost: number;
  /** Why flows are not seen, or not all of them. */
  readonly problem?: string;
}

/** Packets of one flow under one rule within some seconds. */
export interface FlowView {
  /** Grows; begins again with the agent. */
  readonly sequence: number;
  /** Of the first packet, and of the last one as far as it is known by now. */
  readonly time: Timestamp;
  readonly lastTime: Timestamp;
  /** That were told of: over the rate the kernel keeps silent. */
  readonly packets: number;
  /** That saw it. */
  readonly node: string;
  readonly verdict: FlowVerdict;
  /** Which side's policy decided: the destination's ingress or the source's egress. Of `dropped`: whether it came from a pod of the node. */
  readonly direction: 'ingress' | 'egress';
  readonly source: FlowEndView;
  readonly destination: FlowEndView;
  /** `TCP`, `UDP`, `SCTP`, `ICMP`, `ICMPv6`, or a number. */
  readonly protocol: string;
  readonly icmp?: { readonly type: number; readonly code: number };
  /** A host endpoint of the node decided, no policy of a pod. */
  readonly host?: true;
  readonly by: FlowDeciderView;
  /** Where staged policies have a say: what it would have been were they in force. */
  readonly staged?: FlowStagedView;
}

export interface FlowStagedView {
  readonly verdict: 'denied' | 'allowed';
  readonly by: FlowDeciderView;
}

export interface FlowEndView {
  readonly address: string;
  /** Of protocols that have ports, where the packet shows them. */
  readonly port?: number;
  /** `namespace/name` of the pod that has the address. */
  readonly pod?: string;
  /** The node whose own address it is. */
  readonly node?: string;
}

export type FlowDeciderView =
  | {
      readonly type: 'rule';
      /** `NetworkPolicy:shop/api` */
      readonly policy: string;
      /** As `poplin policy show` counts, from 1; 0: the policy cannot be expressed and denies everything. */
      readonly rule: number;
      /** In words. */
      readonly text?: string;
    }
  /** None of the tier's policies that select the pod allowed it. */
  | { readonly type: 'endOfTier'; readonly tier: string; readonly policies: readonly string[] }
  /** No policy decided: it is allowed, or, by a host endpoint, what its profiles say. */
  | { readonly type: 'none' }
  | {
      readonly type: 'dataplane';
      readonly reason: string;
      /** By whose interface it came in, whatever its source says. */
      readonly pod?: string;
    };

/** Since the agent started. */
export interface FlowCountView {
  readonly verdict: FlowVerdict;
  readonly direction: 'ingress' | 'egress';
  /** Of the pod whose policy decided; empty of host endpoints. */
  readonly namespace: string;
  /** Empty at the end of a tier. */
  readonly policy: string;
  /** `end of tier` there; the reason of what was dropped. */
  readonly rule: string;
  readonly tier: string;
  /** Not what happened: what would have were the staged policies in force. */
  readonly staged?: true;
  readonly packets: number;
}
