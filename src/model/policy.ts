/**
 * The one rule form. The policy engine makes it from every policy kind; the kernel renderer, the explainer and the
 * simulator read it. Everything is plain data, ids are readable text (drivers make kernel names from them).
 */
import type { Cidr, IpAddress, IpFamily } from '#kit';
import type { IcmpMatch } from './calico-policy.ts';

/** Readable id of a set of addresses, equal for equal selectors, e.g. `pods:ns=…;app == 'web'`. Any length. */
export type SetId = string;
/** Readable id of a policy, e.g. `NetworkPolicy:default/deny-all`. */
export type PolicyId = string;
/** A domain name in lower case, without the last dot; one whole label may be `*`, for one label or more: `*.example.com`. */
export type DomainPattern = string;
/** The pod's key `namespace/name` for workload endpoints, `HostEndpoint:name` for host endpoints. */
export type EndpointId = string;

/**
 * `ip`: members are addresses. `net`: members are prefixes.
 * `ip,port`: members are `address,protocol:port` with protocol in lower case, e.g. `10.1.0.3,tcp:80`.
 * A set holds members of both families; drivers split it.
 */
export type SetType = 'ip' | 'net' | 'ip,port';

export interface PortRange {
  readonly first: number;
  /** Inclusive, >= first. */
  readonly last: number;
}

/** Where a packet comes from or goes to. `except` cuts prefixes out of `cidr` for this rule only; it denies nothing. */
export type PeerMatch =
  | { readonly type: 'set'; readonly set: SetId }
  | { readonly type: 'cidr'; readonly cidr: Cidr; readonly except: readonly Cidr[] };

/** What else a rule asks of an end of the packet; with `not` it must not be so. */
export type RuleCondition = {
  readonly side: 'source' | 'destination';
  readonly not: boolean;
} & (
  | { readonly type: 'address'; readonly set: SetId }
  /** Address, protocol and port of that side are in an `ip,port` set. */
  | { readonly type: 'namedPorts'; readonly set: SetId }
  /** Any of these (needs `protocol`). */
  | { readonly type: 'ports'; readonly ports: readonly PortRange[] }
);

export interface PolicyRule {
  readonly action: 'allow' | 'deny' | 'pass' | 'log';
  /** Absent: both families (a cidr peer narrows by itself). */
  readonly family?: IpFamily;
  /** IP protocol number (6, 17, 132, 1, 58); absent: every protocol. */
  readonly protocol?: number;
  readonly source?: PeerMatch;
  readonly destination?: PeerMatch;
  /** Any of these (needs `protocol`); absent: every port. Sorted, disjoint, any number: renderers split. */
  readonly destinationPorts?: readonly PortRange[];
  /** Destination address, protocol and port are a member of this `ip,port` set. */
  readonly destinationNamedPorts?: SetId;
  /** Any but this protocol; never with `protocol`. */
  readonly notProtocol?: number;
  /** Need protocol 1 or 58. */
  readonly icmp?: IcmpMatch;
  readonly notIcmp?: IcmpMatch;
  /** All of these as well. */
  readonly conditions?: readonly RuleCondition[];
}

/** A policy as programmed once and shared by all endpoints it selects. First match decides; no match goes on. */
export interface PolicyProgram {
  readonly ingress: readonly PolicyRule[];
  readonly egress: readonly PolicyRule[];
}

/** One tier of one direction of one endpoint: policies in order, then what happens to what none of them matched. */
export interface TierProgram {
  readonly tier: string;
  readonly policies: readonly PolicyId[];
  readonly endOfTier: 'deny' | 'pass';
}

/** What applies to one local endpoint. No tier in a direction: not isolated there, everything is allowed (but see `host`). */
export interface EndpointProgram {
  readonly ingress: readonly TierProgram[];
  readonly egress: readonly TierProgram[];
  /** Of a host endpoint: the two above are about what ends or begins at the node, except between it and its own pods. */
  readonly host?: HostProgram;
  /** What would apply were the staged policies in force: of a pod the directions that one of them is about, of a host endpoint all. */
  readonly staged?: {
    readonly ingress?: readonly TierProgram[];
    readonly egress?: readonly TierProgram[];
    readonly host?: Pick<HostProgram, 'forward' | 'preDNAT' | 'untracked'>;
  };
}

export interface HostProgram {
  /** As the HostEndpoint says. */
  readonly interfaceName?: string;
  readonly expectedIPs: readonly IpAddress[];
  /** Of what leaves all tiers of `ingress` or `egress` undecided. */
  readonly otherwise: 'allow' | 'deny';
  /** What the node forwards, pods' traffic too: in by the endpoint, out by it. What leaves all tiers undecided is allowed. */
  readonly forward: HostTraffic;
  /** Before destinations are translated; what it allows is asked of no other. Undecided: the others are asked. No tier ends in deny. */
  readonly preDNAT: readonly TierProgram[];
  /** Of every packet, without conntrack; otherwise as `preDNAT`. */
  readonly untracked: HostTraffic;
}

export type HostTraffic = Pick<EndpointProgram, 'ingress' | 'egress'>;

/**
 * What the policy engine tells the dataplane, in dependency order: sets before policies that name them before endpoints
 * that name those; removals the other way round. Applying a batch in order never leaves a dangling name.
 */
export type PolicyUpdate =
  | {
      readonly type: 'set';
      readonly id: SetId;
      readonly setType: SetType;
      readonly members: readonly string[];
      /** The addresses of these, as DNS answers come: whoever reads those says the members, each for its time. */
      readonly domains?: readonly DomainPattern[];
      /** Only staged policies name it: nothing in force needs it. A set that comes to be needed, or is not any more, is told whole again. */
      readonly staged?: true;
    }
  | {
      readonly type: 'setDelta';
      readonly id: SetId;
      readonly added: readonly string[];
      readonly removed: readonly string[];
    }
  | { readonly type: 'setRemove'; readonly id: SetId }
  | {
      readonly type: 'policy';
      readonly id: PolicyId;
      readonly program: PolicyProgram;
      /** It is never in force: only `staged` of endpoints names it. */
      readonly staged?: true;
    }
  | { readonly type: 'policyRemove'; readonly id: PolicyId }
  | { readonly type: 'endpoint'; readonly id: EndpointId; readonly program: EndpointProgram }
  | { readonly type: 'endpointRemove'; readonly id: EndpointId };

/** A pod of this node as CNI wired it (or is about to): known from IPAM at once, before any status says so. */
export interface WorkloadEndpoint {
  readonly id: EndpointId;
  /** Host side of the veth; begins with the interface prefix. */
  readonly interfaceName: string;
  readonly addresses: readonly IpAddress[];
}
