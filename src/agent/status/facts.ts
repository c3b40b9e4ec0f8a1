/** What this node's parts say of themselves at one moment: the input of everything that is written about the node. Plain data. */
import type { SpeakerConfig, SpeakerStatus } from '#bgp';
import type { DatastoreStatus } from '#datastore';
import type { PolicyDataplaneStatus } from '#felix';
import type { Cidr, IpAddress } from '#kit';
import type { HealthReport } from '#obs';
import type { Issue } from '../bgp/issue.ts';
import type { Revisions } from './in-force.ts';

export interface NodeFacts {
  readonly nodeName: string;
  readonly version: string;
  /** Version of Node.js. */
  readonly nodeVersion: string;
  readonly ready: HealthReport;
  readonly datastore: DatastoreStatus;
  /** Absent while no speaker runs. */
  readonly speaker?: SpeakerStatus;
  readonly bgp: {
    readonly config?: SpeakerConfig;
    readonly issues: readonly Issue[];
    /** Sessions, by name, that are configured and kept down, with the reason: a missing Secret. */
    readonly heldDown: ReadonlyMap<string, string>;
    /** Why no speaker runs, although there is a configuration. */
    readonly startFailure?: string;
    /** When the speaker was last given another configuration, milliseconds since 1970. */
    readonly configuredAtMs?: number;
  };
  readonly routes: RouteFacts;
  readonly policy: PolicyDataplaneStatus;
  readonly pods: PodFacts;
  /** The Node object is known. */
  readonly nodeKnown: boolean;
  readonly podCIDRs: readonly Cidr[];
  readonly addresses: AddressFacts;
  readonly inForce: Revisions;
  /** Another one when changes came into force, and not only bookmarks. */
  readonly changesInForce: string;
}

export interface RouteFacts {
  readonly installed: { readonly ipv4: number; readonly ipv6: number };
  readonly pending: number;
  readonly unresolved: number;
  /** Refused by the kernel. */
  readonly refused: number;
  /** Of an earlier run, not confirmed yet. */
  readonly stale: number;
  /** Routes of ours that others removed, since the start. */
  readonly repairs: number;
  readonly error?: string;
}

export interface PodFacts {
  /** Wired on this node. */
  readonly wired: number;
  /** Why no pod can be added now. */
  readonly notServing?: string;
  readonly ranges: readonly { readonly cidr: Cidr; readonly used: number; readonly size: number }[];
}

export interface AddressFacts {
  readonly ipv4?: IpAddress;
  readonly ipv6?: IpAddress;
  /** Where they come from, e.g. `InternalIP`. */
  readonly source?: string;
  readonly rejected: readonly RejectedAddress[];
}
export interface RejectedAddress {
  readonly address: IpAddress;
  readonly interface?: string;
  readonly reason: string;
}
