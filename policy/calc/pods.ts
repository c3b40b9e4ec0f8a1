/**
 * What counts of a pod for policy, of a node, and of a host endpoint.
 *
 * Not at all (neither subject nor peer, in no set): pods of the host's network, whose address is the node's, and completed pods
 * (Succeeded, Failed), whose address is free for others. Terminating ones still count. A pod of this node has its address from
 * the moment CNI wired it, whatever its status says yet.
 */
import type { Cidr, IpAddress } from '#kit';
import type { ContainerPort, HostEndpointObject, Labels, NetworkSetObject, NodeObject, PodObject } from '#model';
import { nodesPlace } from './pod-matcher.ts';

export interface EffectivePod {
  readonly key: string;
  readonly namespace: string;
  readonly labels: Labels;
  /** Distinct; empty while nobody has said. */
  readonly addresses: readonly IpAddress[];
  readonly ports: readonly ContainerPort[];
  /** Of a pod. */
  readonly serviceAccount?: string;
  /** Of a network set. */
  readonly nets?: readonly Cidr[];
  /** It is a host endpoint. */
  readonly host?: true;
}

/** `wired` are the addresses of the pod's local endpoint, if it has one; undefined when the pod does not count. */
export function effectivePod(
  key: string,
  pod: PodObject | undefined,
  wired: readonly IpAddress[] | undefined,
): EffectivePod | undefined {
  if (!pod || pod.hostNetwork || pod.phase === 'Succeeded' || pod.phase === 'Failed') return undefined;
  const addresses = wired ? [...new Set([...wired, ...pod.podIPs])] : pod.podIPs;
  const { metadata, ports, serviceAccountName: serviceAccount } = pod;
  return { key, namespace: metadata.namespace, labels: metadata.labels, addresses, ports, serviceAccount };
}

/** A node as rules' sets see it: who has labels and addresses, no port names, and stands in no namespace. */
export function nodeInSets(key: string, { metadata, internalIPs, otherIPs }: NodeObject): EffectivePod {
  const addresses = otherIPs ? [...new Set([...internalIPs, ...otherIPs])] : internalIPs;
  return { key, namespace: nodesPlace, labels: metadata.labels, addresses, ports: [] };
}

/** A network set among those that Calico's selectors select; a global one stands in no namespace. */
export function networkSetItem(key: string, { metadata, nets }: NetworkSetObject): EffectivePod {
  return { key, namespace: metadata.namespace, labels: metadata.labels, addresses: [], ports: [], nets };
}

/** A host endpoint among those that Calico's selectors select; it stands in no namespace. */
export function hostEndpointItem(key: string, { metadata, expectedIPs, ports }: HostEndpointObject): EffectivePod {
  return { key, namespace: '', labels: metadata.labels, addresses: expectedIPs, ports, host: true };
}
