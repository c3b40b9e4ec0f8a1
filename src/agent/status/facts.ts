/** What this node's parts say of themselves at one moment: the input of everything that is written about the node. Plain data. */
import type { SpeakerConfig, SpeakerStatus } from '#bgp';
import type { DatastoreStatus } from '#datastore';
import type { PolicyDataplaneStatus } from '#felix';
import type { Cidr, IpAddress, IpFamily } from '#kit';
import type { Kind } from '#model';
import type { HealthReport } from '#obs';
import type { Revisions } from './in-force.ts';

export interface NodeFacts {
  readonly nodeName: string;
  readonly version: string;
  /** RFC 3339. */
  readonly startedAt: string;
  readonly ready: HealthReport;
  readonly datastore: DatastoreStatus;
  /** Absent while no speaker runs. */
  readonly speaker?: SpeakerStatus;
  readonly bgp: {
    readonly config?: SpeakerConfig;
    readonly problems: readonly ObjectProblem[];
    /** Of the last configuration that was handed to the speaker, RFC 3339. */
    readonly configuredAt?: string;
  };
  readonly routes: RouteFacts;
  readonly policy: PolicyDataplaneStatus;
  readonly pods: PodFacts;
  /** The Node object is known. */
  readonly nodeKnown: boolean;
  readonly podCIDRs: readonly Cidr[];
  readonly addresses: AddressFacts;
  readonly inForce: Revisions;
}

/** Something that keeps an object, or a part of it, from being used on this node. */
export interface ObjectProblem {
  /** Absent: of the node itself. */
  readonly object?: { readonly kind: Kind; readonly name: string };
  /** E.g. `spec.password.secretKeyRef`. */
  readonly field?: string;
  /** CamelCase, e.g. `SecretMissing`. */
  readonly reason: string;
  /** Value and remedy; without the object's name. */
  readonly message: string;
}

export interface RouteFacts {
  readonly installed: { readonly ipv4: number; readonly ipv6: number };
  readonly pending: number;
  readonly unresolved: number;
  /** Refused by the kernel. */
  readonly refused: number;
  /** Of an earlier run, not confirmed yet. */
  readonly stale: number;
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
  readonly chosen: readonly ChosenAddress[];
  readonly rejected: readonly RejectedAddress[];
}
export interface ChosenAddress {
  readonly family: IpFamily;
  readonly address: IpAddress;
  /** Where it comes from, e.g. `InternalIP`, `annotation`, `option`, `route to the API server`. */
  readonly source: string;
  readonly interface?: string;
}
export interface RejectedAddress {
  readonly address: IpAddress;
  readonly interface?: string;
  readonly reason: string;
}

/** `BGPPeer tor-1`, or `Node n1` for what belongs to the node itself. */
export function objectText(problem: ObjectProblem, nodeName: string): string {
  return problem.object ? `${problem.object.kind} ${problem.object.name}` : `Node ${nodeName}`;
}
