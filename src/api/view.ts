/**
 * What the agent tells about itself: plain JSON data, in the words that the CLI prints. The agent implements `AgentView`;
 * the API serves it; nothing of it can change anything. The stand-alone speaker implements `SpeakerView`, which can.
 */
import type { Cidr, IpAddress, IpFamily } from '#kit';
import type { HealthReport } from '#obs';
import type { PolicyExplainQuery, PolicyExplainView } from './explain-view.ts';
import type { FlowCountView, FlowsQuery, FlowsView } from './flows-view.ts';

/** ISO 8601, UTC. */
export type Timestamp = string;

export interface HealthView {
  alive(): HealthReport;
  ready(): HealthReport;
  metrics(): Promise<{ readonly contentType: string; readonly body: string }>;
}

export interface BgpView {
  bgpPeers(): readonly BgpPeerView[] | Promise<readonly BgpPeerView[]>;
  /** @throws RangeError when the cursor is none. */
  bgpRoutes(query: BgpRoutesQuery): BgpRoutesView | Promise<BgpRoutesView>;
}

/** The stand-alone speaker, which takes orders too. */
export interface SpeakerView extends BgpView, HealthView {
  /** The speaker's own words. */
  bgpStatus(): object;
  /** What a reload would do. @throws ApiError BAD_REQUEST for a file that is none. */
  plan(): ChangePlanView;
  /** Reads the file again and puts it in force. @throws ApiError BAD_REQUEST; then everything stays as it is. */
  reload(): ChangePlanView;
  /** @throws RangeError when no peer is called so. */
  resetPeer(name: string, text: string): void;
  /** The tables as MRT into a file of this machine. @throws ApiError BAD_REQUEST when it cannot be written. */
  dumpTable(file: string): Promise<TableDumpView>;
}

export interface TableDumpView {
  readonly prefixes: number;
  readonly paths: number;
}

/** What a change of configuration does to sessions. */
export interface ChangePlanView {
  readonly peers: readonly {
    readonly peer: string;
    readonly change: 'added' | 'removed' | 'reset' | 'live';
    readonly because?: readonly string[];
  }[];
  readonly unchangedPeers: number;
  readonly originate: { readonly added: readonly string[]; readonly removed: readonly string[] };
  readonly listen: { readonly added: readonly string[]; readonly removed: readonly string[] };
  /** Of the speaker as a whole: `multipath.max: 64 -> 8`. */
  readonly settings: readonly string[];
}

export interface AgentView extends BgpView, HealthView {
  status(): AgentStatus | Promise<AgentStatus>;
  /** Undefined when no such pod is wired on this node. */
  policyEndpoint(pod: { readonly namespace: string; readonly name: string }): PolicyEndpointView | undefined;
  policyExplain(query: PolicyExplainQuery): Promise<PolicyExplainView | { readonly problem: string }>;
  datastore(): DatastoreView;
  config(): readonly ConfigValueView[];
  flows(query: FlowsQuery): Promise<FlowsView>;
  flowCounts(): readonly FlowCountView[];
}

/** What a person wants to know first at 3 am. */
export interface AgentStatus {
  readonly version: string;
  readonly node: string;
  readonly pid: number;
  readonly startedAt: Timestamp;
  readonly uptimeSec: number;
  readonly ready: HealthReport;
  readonly datastore: {
    readonly location: string;
    readonly inSync: boolean;
    readonly waitingFor: readonly string[];
    readonly faults: number;
    /** By kind. */
    readonly objects: Readonly<Record<string, number>>;
    readonly lastUpdate?: Timestamp;
  };
  readonly bgp: {
    readonly asn?: number;
    readonly routerId?: string;
    readonly peersEstablished: number;
    readonly peersConfigured: number;
    readonly originated: readonly string[];
    /** Prefixes with a best path from a peer. */
    readonly learned: FamilyCounts;
    /** Routes of an earlier run are kept until these peers sent End-of-RIB. */
    readonly waitingForEndOfRib: readonly string[];
  };
  readonly routes: ApplyStatus & {
    /** In the kernel, ours. */
    readonly programmed: FamilyCounts;
    /** Learned, but no next hop resolves. */
    readonly unresolved: number;
    /** Of an earlier run, not yet confirmed. */
    readonly stale: number;
  };
  readonly policy: ApplyStatus & {
    /** Pods wired on this node. */
    readonly endpoints: number;
    /** Programmed on this node. */
    readonly policies: number;
    readonly sets: number;
    readonly backend: string;
  };
  readonly cni: {
    /** Not served: why. */
    readonly notServing?: string;
    readonly pods: number;
    /** Per family prefix of the node: how many addresses are taken, of how many. */
    readonly addresses: readonly { readonly cidr: string; readonly used: number; readonly size: number }[];
  };
  /** Everything that a person should look at, in plain words. */
  readonly problems: readonly string[];
}

export interface FamilyCounts {
  readonly ipv4: number;
  readonly ipv6: number;
}

/** One dataplane's apply loop. */
export interface ApplyStatus {
  /** Changes not yet in the kernel. */
  readonly pending: number;
  readonly lastApply?: Timestamp;
  readonly lastApplyMs?: number;
  /** The last apply failed; it is tried again. */
  readonly error?: { readonly message: string; readonly since?: Timestamp };
}

export interface BgpPeerView {
  /** `mesh/NODE` or `peer/BGPPEER`. */
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly asn: number;
  /** RFC 4271 8.2.2: Idle, Connect, Active, OpenSent, OpenConfirm, Established. */
  readonly state: string;
  /** Since when in this state. */
  readonly since?: Timestamp;
  readonly localAddress?: string;
  readonly peerRouterId?: string;
  /** Of an unnumbered peer. */
  readonly interface?: string;
  /** Of a peer that came from a range. */
  readonly range?: string;
  /** Negotiated, seconds. */
  readonly holdTimeSec?: number;
  readonly families: readonly BgpPeerFamilyView[];
  /** Of all types, over all sessions. */
  readonly messages: BgpCountView;
  readonly updates: BgpCountView;
  readonly notifications: BgpCountView;
  /** UPDATEs treated as withdraw or with attributes discarded (RFC 7606). */
  readonly updateErrors: number;
  /** Written and not yet taken by TCP. */
  readonly queuedBytes: number;
  /** Negotiated graceful restart (RFC 4724). */
  readonly gracefulRestart: boolean;
  /** Its routes are kept while it restarts. */
  readonly restarting: boolean;
  /** Why the session last went down or does not come up. */
  readonly lastError?: string;
  /** Seconds until a peer with too many prefixes may come back. */
  readonly restartInSec?: number;
  readonly timesEstablished: number;
  /** Of a peer with BFD, RFC 5880 4.1: AdminDown, Down, Init, Up. */
  readonly bfd?: string;
}

/** Prefixes (with ADD-PATH: paths), in the words of openconfig-bgp. */
export interface BgpPeerFamilyView {
  readonly family: string;
  /** After import policy: what the post-policy Adj-RIB-In holds. */
  readonly received: number;
  /** Before it; absent: what it rejects is not kept (`adjRibIn`). */
  readonly receivedPrePolicy?: number;
  readonly sent: number;
  /** Of those received: kept while the peer restarts. */
  readonly stale: number;
  /** The peer's End-of-RIB came in. */
  readonly endOfRib: boolean;
}

export interface BgpCountView {
  readonly received: number;
  readonly sent: number;
}

export interface BgpRoutesQuery {
  /** This prefix and all inside it. */
  readonly within?: Cidr;
  /** The most specific prefix that holds this address: where a packet to it goes. */
  readonly covers?: IpAddress;
  readonly family?: IpFamily;
  /** Only paths of this peer (name). */
  readonly peer?: string;
  /** Also what import policy rejects, of peers whose routes are kept as received; attributes as received instead of as used. */
  readonly received?: boolean;
  /** What is announced to this peer (name), attributes as it is told them. */
  readonly sentTo?: string;
  /** What is announced of exactly this prefix (or the longest one that holds the address), to every peer. */
  readonly sent?: boolean;
  readonly limit: number;
  /** `next` of the answer before. */
  readonly cursor?: string;
}

export interface BgpRoutesView {
  readonly routes: readonly BgpRouteView[];
  /** There are more: give this as `cursor`. */
  readonly next?: string;
}

export interface BgpRouteView {
  readonly prefix: string;
  /** `originated` by this node or `learned` from peers. */
  readonly source: 'originated' | 'learned';
  readonly paths: readonly BgpPathView[];
}

export interface BgpPathView {
  /** Name of the peer; absent for our own. */
  readonly peer?: string;
  /** Chosen, alone or as one of several equal ones. */
  readonly best: boolean;
  /** One of several equal ones, and not the first of them, which alone is told to peers without ADD-PATH. */
  readonly multipath?: true;
  readonly nextHop: string;
  /** Where packets go: the next hop resolved through the kernel's table. Empty: it does not resolve. Absent: nothing is installed. */
  readonly resolved?: readonly {
    readonly gateway?: string;
    readonly device: string;
    /** Share of the traffic, 1..256; absent: all are equal. */
    readonly weight?: number;
  }[];
  /** Packets to the prefix are dropped (RFC 7999). */
  readonly blackhole?: true;
  readonly origin: 'IGP' | 'EGP' | 'incomplete';
  /** AS numbers with a space between, sets in braces; empty from inside the AS. */
  readonly asPath: string;
  readonly localPref?: number;
  readonly med?: number;
  readonly communities?: readonly string[];
  readonly largeCommunities?: readonly string[];
  /** `rt:64512:7`, `soo:10.0.0.1:7`; others as 16 hexadecimal digits. */
  readonly extendedCommunities?: readonly string[];
  /** RFC 7911. */
  readonly pathId?: number;
  /** Kept from a peer that restarts. */
  readonly stale: boolean;
  /** The step of the decision (RFC 4271 9.1.2.2) that left the best path alone, or at which another one lost. */
  readonly reason?: string;
  /** The peer that is told so, where `sent` is asked. */
  readonly sentTo?: string;
  /** Not used: by import policy, as a loop or leak, or by which rule of which filter. */
  readonly rejected?: { readonly by: string; readonly filter?: string; readonly term?: number };
}

export interface PolicyEndpointView {
  /** `namespace/name` */
  readonly pod: string;
  readonly interfaceName: string;
  readonly addresses: readonly string[];
  /** The program below is in the kernel. */
  readonly applied: boolean;
  readonly ingress: PolicyDirectionView;
  readonly egress: PolicyDirectionView;
}

export interface PolicyDirectionView {
  /** What no rule allows is denied; otherwise what none denies is allowed. */
  readonly isolated: boolean;
  /** In the order in which they are asked; empty: no policy selects the pod in this direction. */
  readonly tiers: readonly {
    readonly tier: string;
    /** What becomes of what none of its policies decides; behind the last tier that is allowed. */
    readonly endOfTier: 'deny' | 'pass';
    readonly policies: readonly {
      readonly id: string;
      /** In order, in plain words, e.g. `allow TCP 80,443 from pods:...`. */
      readonly rules: readonly string[];
    }[];
  }[];
}

/** The datastore's status, as src/datastore defines it. */
export interface DatastoreView {
  readonly source: string;
  readonly location: string;
  readonly inSync: boolean;
  readonly waitingFor: readonly string[];
  readonly objects: Readonly<Record<string, number>>;
  readonly faults: readonly {
    readonly file?: string;
    readonly line?: number;
    readonly column?: number;
    readonly object?: string;
    readonly field?: string;
    readonly message: string;
    readonly effect: string;
    readonly blocking: boolean;
    readonly since: Timestamp;
  }[];
  readonly faultsTotal: number;
  readonly notUsed: readonly {
    readonly file?: string;
    readonly line?: number;
    readonly object: string;
    readonly field: string;
    readonly message: string;
  }[];
  readonly notUsedTotal: number;
  readonly ignored: readonly { readonly apiVersion: string; readonly kind: string; readonly count: number }[];
  readonly lastUpdate?: Timestamp;
  readonly kinds?: Readonly<
    Record<
      string,
      {
        readonly state: string;
        readonly apiVersions: readonly string[];
        readonly resourceVersion?: string;
        readonly reason?: string;
      }
    >
  >;
  readonly stale?: { readonly reason: string; readonly since: Timestamp };
}

export interface ConfigValueView {
  readonly name: string;
  readonly value: string | number | boolean;
  readonly source: string;
}
