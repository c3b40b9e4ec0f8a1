/** Both ends of a connection, and the host endpoints between them. */
import type { IpAddress } from '#kit';
import type { EndpointId } from '#model';
import { evaluate, type Packet, type Verdict } from './evaluate.ts';
import { type CrossedHost, evaluateHost, type HostQuery } from './host.ts';
import type { PolicyState } from './policy-state.ts';

/** One end of a connection: a local endpoint has an id, anything else only an address. */
export interface ConnectionEnd {
  readonly address: IpAddress;
  readonly endpoint?: EndpointId;
  /** Of the node that the end stands on, or is, where the connection leaves it. */
  readonly host?: CrossedHost;
}

export interface ConnectionVerdict {
  readonly verdict: 'allow' | 'deny';
  /** Absent where that end is no endpoint, or where the pod talks to itself. */
  readonly egress?: Verdict;
  readonly ingress?: Verdict;
  /** Of the host endpoints on the way. */
  readonly hostEgress?: Verdict;
  readonly hostIngress?: Verdict;
}

export interface Connection {
  readonly from: ConnectionEnd;
  readonly to: ConnectionEnd;
  readonly protocol: Packet['protocol'];
  readonly port: number;
}

/**
 * Both directions of a connection: egress of the source and ingress of the destination must allow it. A pod always reaches
 * itself at its own address: such packets never leave it.
 */
export function evaluateConnection(state: PolicyState, connection: Connection): ConnectionVerdict {
  const { from, to, protocol, port } = connection;
  if (from.endpoint !== undefined && from.endpoint === to.endpoint) return { verdict: 'allow' };
  const packet: Packet = { fromAddress: from.address, toAddress: to.address, protocol, port };
  const egress = from.endpoint && evaluate(state, { ...packet, endpoint: from.endpoint, direction: 'egress' });
  const ingress = to.endpoint && evaluate(state, { ...packet, endpoint: to.endpoint, direction: 'ingress' });
  const [hostEgress, hostIngress] = hostQueries(connection).map((query) => query && evaluateHost(state, query));
  const all = { egress, hostEgress, hostIngress, ingress };
  const denied = Object.values(all).some((verdict) => verdict && verdict.verdict === 'deny');
  return {
    verdict: denied ? 'deny' : 'allow',
    ...(egress && { egress }),
    ...(hostEgress && { hostEgress }),
    ...(hostIngress && { hostIngress }),
    ...(ingress && { ingress }),
  };
}

/** Of the source's node and of the destination's, where the connection passes a host endpoint there. */
export function hostQueries({
  from,
  to,
  protocol,
  port,
}: Connection): readonly [HostQuery | undefined, HostQuery | undefined] {
  const packet: Packet = { fromAddress: from.address, toAddress: to.address, protocol, port };
  const query = ({ host, endpoint }: ConnectionEnd, direction: HostQuery['direction']): HostQuery | undefined =>
    host && { ...packet, host, direction, forwarded: endpoint !== undefined };
  return [query(from, 'egress'), query(to, 'ingress')];
}
