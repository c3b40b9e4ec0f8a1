/**
 * policy.networking.k8s.io: ClusterNetworkPolicy (v1alpha2) and what it was before, AdminNetworkPolicy and
 * BaselineAdminNetworkPolicy (v1alpha1), as one form. For all namespaces, in a tier ahead of or behind NetworkPolicy.
 */
import type { Cidr } from '#kit';
import type { LabelSelector, ObjectMeta, Protocol } from './objects.ts';
import type { DomainPattern } from './policy.ts';

/** Pods by their own labels in namespaces by theirs; never those of the host's network. */
export interface ClusterPodSelector {
  readonly namespaceSelector: LabelSelector;
  readonly podSelector: LabelSelector;
}

export type ClusterPolicyPeer =
  | ({ readonly type: 'pods' } & ClusterPodSelector)
  /** Any address of any of the nodes. */
  | { readonly type: 'nodes'; readonly selector: LabelSelector }
  /** Pods' addresses too. */
  | { readonly type: 'networks'; readonly networks: readonly Cidr[] }
  /** `*.example.com` for what is below it, else the name itself. */
  | { readonly type: 'domainNames'; readonly names: readonly DomainPattern[] }
  /** What it says is not known here, as of a newer API: Accept with it accepts nothing, Deny and Pass deny everything. */
  | { readonly type: 'unknown' };

export type ClusterPolicyPort =
  | { readonly type: 'numbers'; readonly protocol: Protocol; readonly first: number; readonly last: number }
  /** Of the destination pod, with the protocol that it declares. */
  | { readonly type: 'name'; readonly name: string }
  /** As of peers. */
  | { readonly type: 'unknown' };

export interface ClusterPolicyRule {
  readonly action: 'Accept' | 'Deny' | 'Pass';
  /** Never empty. */
  readonly peers: readonly ClusterPolicyPeer[];
  /** Empty means every port of every protocol. */
  readonly ports: readonly ClusterPolicyPort[];
}

export interface ClusterPolicyObject {
  readonly metadata: ObjectMeta;
  readonly tier: 'Admin' | 'Baseline';
  /** 0..1000, lower first; equal ones by name. */
  readonly priority: number;
  readonly subject: ClusterPodSelector;
  /** First match decides; no match goes on to the next policy. */
  readonly ingress: readonly ClusterPolicyRule[];
  readonly egress: readonly ClusterPolicyRule[];
  /** Its subject could never be read: until it can, what it denies or passes is denied to all whom it may be about. */
  readonly standIn?: true;
}
