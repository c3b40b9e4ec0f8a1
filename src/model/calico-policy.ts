/**
 * projectcalico.org/v3: NetworkPolicy and GlobalNetworkPolicy as one form, Tier, NetworkSet and GlobalNetworkSet. Selectors are text
 * in Calico's language that parses; those of namespaces and service accounts are about these objects' labels.
 */
import type { Cidr, IpFamily } from '#kit';
import type { ObjectMeta } from './objects.ts';
import type { PortRange } from './policy.ts';

/** A range of numbers, or the name of a port that the pod at this end declares. */
export type CalicoPort = PortRange | { readonly name: string };

/** One end of a rule: all that is said must hold. What is left out says nothing. */
export interface CalicoEntity {
  /** In any of them. */
  readonly nets?: readonly Cidr[];
  readonly notNets?: readonly Cidr[];
  /** Pods and network sets. */
  readonly selector?: string;
  /** Whoever it does not select, addresses outside of the cluster too. */
  readonly notSelector?: string;
  readonly namespaceSelector?: string;
  readonly serviceAccounts?: {
    /** Any of them; empty: whatever the name. */
    readonly names: readonly string[];
    readonly selector?: string;
  };
  /**
   * The endpoints of a service: of a destination their addresses and ports, with nothing else beside it; of a source their addresses, with
   * at most ports beside it.
   */
  readonly services?: ServiceName;
  readonly ports?: readonly CalicoPort[];
  readonly notPorts?: readonly CalicoPort[];
}

export interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

/** 0..254 and 0..255; no code: any. */
export interface IcmpMatch {
  readonly type: number;
  readonly code?: number;
}

export interface CalicoRule {
  readonly action: 'Allow' | 'Deny' | 'Log' | 'Pass';
  readonly ipVersion?: IpFamily;
  /** IP protocol, 1..255. */
  readonly protocol?: number;
  readonly notProtocol?: number;
  readonly icmp?: IcmpMatch;
  readonly notICMP?: IcmpMatch;
  readonly source: CalicoEntity;
  readonly destination: CalicoEntity;
  /** Something of it could not be read: Allow and Log are about nothing, Deny and Pass deny everything. */
  readonly unknown?: true;
}

export interface CalicoPolicyObject {
  /** Without a namespace: of all of them. */
  readonly metadata: ObjectMeta;
  readonly tier: string;
  /** Lower first; absent: behind all that have one. */
  readonly order?: number;
  readonly selector: string;
  /** Of a global one. */
  readonly namespaceSelector?: string;
  readonly serviceAccountSelector?: string;
  readonly types: readonly ('Ingress' | 'Egress')[];
  /** First match decides, but for Log; no match goes on to the next policy of the tier. */
  readonly ingress: readonly CalicoRule[];
  readonly egress: readonly CalicoRule[];
}

export interface TierObject {
  readonly metadata: ObjectMeta;
  /** Lower first; absent: behind all that have one. */
  readonly order?: number;
  /** Of what its policies select and do not decide. */
  readonly defaultAction: 'Deny' | 'Pass';
}

/** With a namespace a NetworkSet, without a GlobalNetworkSet. */
export interface NetworkSetObject {
  readonly metadata: ObjectMeta;
  readonly nets: readonly Cidr[];
}

export interface ServiceAccountObject {
  readonly metadata: ObjectMeta;
}
