/** One connection as the policies in force on a node see it, with what the kernel's rules counted. */

export interface PolicyExplainQuery {
  /** `namespace/name` of a pod, `node:NAME`, or an address. */
  readonly from: string;
  readonly to: string;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  /** 1..65535. */
  readonly port: number;
  /** As it would be were the staged policies in force; the kernel has no counters of that. */
  readonly staged?: boolean;
}

export interface PolicyExplainView {
  /** One for each family that both ends have. */
  readonly connections: readonly ExplainedConnectionView[];
  /** Of the ends that are pods of this node. */
  readonly counters: readonly PolicyCounterView[];
}

export interface ExplainedConnectionView {
  readonly from: { readonly id: string; readonly address: string };
  readonly to: { readonly id: string; readonly address: string };
  readonly port: { readonly protocol: 'TCP' | 'UDP' | 'SCTP'; readonly port: number };
  readonly family: 'ipv4' | 'ipv6';
  /** From the node to a pod of its own: policy is not asked. */
  readonly fromOwnNode: boolean;
  readonly explanation: ExplanationView;
  /** Ends whose part is decided elsewhere, each with where to ask; empty: nothing is missing. */
  readonly unknown: readonly string[];
  /** The explanation is of what would be were the staged policies in force; this is what is. */
  readonly staged?: { readonly inForce: 'allow' | 'deny' };
}

export interface ExplanationView {
  readonly verdict: 'allow' | 'deny';
  readonly toItself: boolean;
  /** In the order in which a packet meets them. */
  readonly directions: readonly {
    readonly endpoint: string;
    readonly direction: 'ingress' | 'egress';
    readonly tiers: readonly {
      readonly tier: string;
      /** Of a host endpoint. */
      readonly traffic?: 'forward' | 'preDNAT' | 'untracked';
      readonly policies: readonly {
        readonly policy: string;
        /** Up to the one that decided. */
        readonly rules: readonly {
          readonly rule: number;
          readonly action: 'allow' | 'deny' | 'pass' | 'log';
          readonly text: string;
          readonly matched: boolean;
          /** It matched since this domain name has the address, for so many seconds more. */
          readonly learnt?: { readonly name: string; readonly leftSec: number };
        }[];
      }[];
      readonly outcome: 'allow' | 'deny' | 'pass';
      readonly byEndOfTier: boolean;
    }[];
    readonly verdict: {
      readonly verdict: 'allow' | 'deny';
      readonly by: 'rule' | 'endOfTier' | 'notIsolated' | 'unknownEndpoint' | 'failsafe' | 'profile';
      readonly tier?: string;
      readonly policy?: string;
      readonly rule?: number;
    };
  }[];
}

/** A rule in the kernel, since it was last written. */
export interface PolicyCounterView {
  readonly endpoint: string;
  readonly family: 4 | 6;
  readonly direction: 'ingress' | 'egress';
  readonly chain: string;
  /** A policy's rule, for all pods of the node that have the policy. */
  readonly policy?: string;
  readonly rule?: number;
  /** What this tier left over and denied, for this pod alone. */
  readonly endOfTier?: string;
  readonly packets: number;
  readonly bytes: number;
}
