/** Whether an established flow may go on: what its first packet would meet if it came now. */
import type { IpAddress } from '#kit';
import type { EndpointId, Protocol } from '#model';
import { evaluate, type Packet } from '../explain/evaluate.ts';
import type { PolicyState } from '../explain/policy-state.ts';
import { protocolNumbers, protocols } from '../rules/ports.ts';

/** Both addresses are of one family. */
export interface EstablishedFlow {
  /** As it was before any source NAT. */
  readonly source: IpAddress;
  /** As it is behind any destination NAT. */
  readonly destination: IpAddress;
  /** The node itself began it: to its own pods that is always allowed. */
  readonly fromHost: boolean;
  /** IP protocol number. */
  readonly protocol: number;
  /** 0 for protocols without ports. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Of ICMP and ICMPv6. */
  readonly icmp?: { readonly type: number; readonly code: number };
}

/** @param endpointAt the local endpoint that has an address. One without a program is denied everything, as in the kernel. */
export function flowAllowed(
  state: PolicyState,
  flow: EstablishedFlow,
  endpointAt: (address: IpAddress) => EndpointId | undefined,
): boolean {
  const packet: Packet = {
    fromAddress: flow.source,
    toAddress: flow.destination,
    protocol: protocolNamed(flow.protocol),
    port: flow.destinationPort,
    fromPort: flow.sourcePort,
    established: true,
    ...(flow.icmp && { icmp: flow.icmp }),
  };
  const from = endpointAt(flow.source);
  if (from !== undefined && evaluate(state, { ...packet, endpoint: from, direction: 'egress' }).verdict === 'deny')
    return false;
  // A pod that is its own peer got there by way of a service, and is judged like any other.
  const to = flow.fromHost ? undefined : endpointAt(flow.destination);
  return to === undefined || evaluate(state, { ...packet, endpoint: to, direction: 'ingress' }).verdict === 'allow';
}

function protocolNamed(number: number): Protocol | number {
  return protocols.find((name) => protocolNumbers[name] === number) ?? number;
}
