/** Recorded flows against a cluster: what policy says of each now, and before and after a change. */
import { familyOf, type IpAddress } from '#kit';
import type { Protocol } from '#model';
import type { ConnectionVerdict } from '../explain/connection.ts';
import type { Verdict } from '../explain/evaluate.ts';
import { connectionVerdict, type SimulatedCluster, type SimulatedEnd } from './cluster.ts';
import { addressOfEnd } from './verdict-table.ts';

/** What is needed of a flow. Names win over addresses: a pod may have another address by now. */
export interface RecordedFlow {
  /** `namespace/pod`; absent for addresses outside. */
  readonly from?: string;
  readonly to?: string;
  readonly fromAddress?: IpAddress;
  readonly toAddress?: IpAddress;
  readonly protocol: Protocol;
  /** Destination port. */
  readonly port: number;
  /** How often it was seen; default 1. */
  readonly count?: number;
}

export interface FlowEnds {
  readonly from: SimulatedEnd;
  readonly to: SimulatedEnd;
  readonly fromAddress: IpAddress;
  readonly toAddress: IpAddress;
}

export interface FlowLookup {
  /** Undefined: an end is not known, or the ends share no family. */
  ends(flow: RecordedFlow): FlowEnds | undefined;
}

/** Finds the ends of flows among pods and nodes; what is none of them is outside. */
export function flowLookup({ pods, nodes }: SimulatedCluster): FlowLookup {
  const byId = new Map([...pods, ...nodes].map((end) => [end.id, end]));
  const byAddress = new Map<IpAddress, SimulatedEnd>();
  // A node's address is that of its own pods as well: the node stands for them.
  for (const end of [...pods, ...nodes]) for (const address of end.addresses) byAddress.set(address, end);
  const find = (id: string | undefined, address: IpAddress | undefined): SimulatedEnd | undefined => {
    const named = id === undefined ? undefined : byId.get(id);
    if (named) return named;
    if (address === undefined) return undefined;
    return byAddress.get(address) ?? { id: `ext:${address}`, addresses: [address], ports: [] };
  };
  return {
    ends({ from, to, fromAddress, toAddress }) {
      const source = find(from, fromAddress);
      const target = find(to, toAddress);
      if (!source || !target) return undefined;
      const family = familyOf(toAddress ?? fromAddress ?? target.addresses[0] ?? source.addresses[0]!);
      const addresses = [addressOfEnd(source, family), addressOfEnd(target, family)] as const;
      if (addresses[0] === undefined || addresses[1] === undefined) return undefined;
      return { from: source, to: target, fromAddress: addresses[0], toAddress: addresses[1] };
    },
  };
}

export function flowVerdict(cluster: SimulatedCluster, ends: FlowEnds, flow: RecordedFlow): ConnectionVerdict {
  const { from, to, fromAddress, toAddress } = ends;
  const { protocol, port } = flow;
  return connectionVerdict(cluster.state, from, to, { fromAddress, toAddress, protocol, port });
}

export interface FlowChange {
  readonly from: string;
  readonly to: string;
  readonly protocol: Protocol;
  readonly port: number;
  readonly before: 'allow' | 'deny';
  readonly after: 'allow' | 'deny';
  /** Flows that were recorded of it. */
  readonly count: number;
  /** What decides after the change: the direction that denies, or both. */
  readonly decided: readonly Verdict[];
}

export interface FlowDiff {
  /** Each pair, protocol and port once, the most frequent first. */
  readonly changes: readonly FlowChange[];
  readonly flows: { readonly changed: number; readonly unchanged: number; readonly unknown: number };
}

/** Which of the recorded flows a change of objects allows or forbids. Memory: one entry for each pair, protocol and port that changes. */
export function diffFlows(before: SimulatedCluster, after: SimulatedCluster, flows: Iterable<RecordedFlow>): FlowDiff {
  const lookups = [flowLookup(before), flowLookup(after)] as const;
  const changes = new Map<string, FlowChange>();
  const totals = { changed: 0, unchanged: 0, unknown: 0 };
  for (const flow of flows) {
    const count = flow.count ?? 1;
    const [old, now] = [lookups[0].ends(flow), lookups[1].ends(flow)];
    if (!old || !now) {
      totals.unknown += count;
      continue;
    }
    const [was, is] = [flowVerdict(before, old, flow), flowVerdict(after, now, flow)];
    if (was.verdict === is.verdict) {
      totals.unchanged += count;
      continue;
    }
    totals.changed += count;
    const { protocol, port } = flow;
    const key = `${now.from.id} ${now.to.id} ${protocol} ${port}`;
    const known = changes.get(key);
    const verdicts = [is.egress, is.hostEgress, is.hostIngress, is.ingress].filter((one) => one !== undefined);
    const denied = verdicts.filter(({ verdict }) => verdict === 'deny');
    const decided = denied.length > 0 ? denied : verdicts;
    const [from, to] = [now.from.id, now.to.id];
    const entry = { from, to, protocol, port, before: was.verdict, after: is.verdict, decided };
    changes.set(key, { ...entry, count: (known?.count ?? 0) + count });
  }
  return { changes: [...changes.values()].sort((a, b) => b.count - a.count), flows: totals };
}
