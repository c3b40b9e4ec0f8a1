/** Connections as the policies in force on this node see them: what is asked of the agent's own state, of pods that run here. */
import type { ExplainedConnectionView, PolicyCounterView, PolicyExplainQuery, PolicyExplainView } from '#api';
import type { PolicyDataplane } from '#felix';
import { familyOf, type IpAddress, toIpAddress } from '#kit';
import { type CrossedHost, connectionEnds, type Explanation, isFromOwnNode, type SimulatedEnd } from '#policy';
import type { ModelStore } from './model-store.ts';
import type { PolicyPipeline } from './policy-pipeline.ts';

export interface ExplainDeps {
  readonly model: ModelStore;
  readonly policy: Pick<PolicyPipeline, 'endpoint' | 'explain'>;
  readonly dataplane: Pick<PolicyDataplane, 'counters'>;
  readonly nodeName: string;
  /** The host endpoint of this node by whose interface packets to an address leave. */
  readonly hostTowards: (address: IpAddress) => CrossedHost | undefined;
}

/** `elsewhere`: a pod of the pod network whose own policies another node holds. */
interface End extends SimulatedEnd {
  readonly elsewhere?: string;
}

/** @returns a problem where an end is not known, or the two have no family in common. */
export async function explainHere(
  deps: ExplainDeps,
  query: PolicyExplainQuery,
): Promise<PolicyExplainView | { readonly problem: string }> {
  const { protocol, port, staged = false } = query;
  const [from, to] = [endOf(deps, query.from), endOf(deps, query.to)];
  for (const end of [from, to]) if ('problem' in end) return end;
  const [source, target] = [from as End, to as End];
  const connections = ([4, 6] as const).flatMap((family): ExplainedConnectionView[] => {
    const of = (end: End): IpAddress | undefined => end.addresses.find((address) => familyOf(address) === family);
    const [fromAddress, toAddress] = [of(source), of(target)];
    if (fromAddress === undefined || toAddress === undefined) return [];
    const fromOwnNode = isFromOwnNode(source, target);
    const ends = connectionEnds(
      withHost(deps, source, toAddress),
      withHost(deps, target, fromAddress),
      fromAddress,
      toAddress,
    );
    const explain = (staged: boolean): Explanation =>
      fromOwnNode
        ? { verdict: 'allow', toItself: false, directions: [] }
        : deps.policy.explain({ ...ends, protocol, port }, staged);
    return [
      {
        from: { id: source.id, address: fromAddress },
        to: { id: target.id, address: toAddress },
        port: { protocol, port },
        family: family === 4 ? 'ipv4' : 'ipv6',
        fromOwnNode,
        explanation: explain(staged),
        ...(staged ? { staged: { inForce: explain(false).verdict } } : {}),
        unknown: [source, target].flatMap(({ elsewhere }, side) =>
          elsewhere === undefined ? [] : [`${side === 0 ? 'Egress' : 'Ingress'} of ${elsewhere}`],
        ),
      },
    ];
  });
  if (connections.length === 0) return { problem: `${source.id} and ${target.id} have no addresses of one family` };
  return { connections, counters: staged ? [] : await countersOf(deps, [source, target]) };
}

/** What comes from an address is taken to come in where packets to it leave. */
function withHost({ nodeName, hostTowards }: ExplainDeps, end: End, peer: IpAddress): End {
  const host = end.node === nodeName ? hostTowards(peer) : undefined;
  return host ? { ...end, host } : end;
}

async function countersOf(deps: ExplainDeps, ends: readonly End[]): Promise<PolicyCounterView[]> {
  const ids = new Set(ends.flatMap(({ endpoint }) => endpoint ?? []));
  const found = await Promise.all(
    [...ids].map(async (endpoint) =>
      ((await deps.dataplane.counters(endpoint)) ?? []).map((counter) => ({ endpoint, ...counter })),
    ),
  );
  return found.flat();
}

function endOf(deps: ExplainDeps, text: string): End | { readonly problem: string } {
  const address = toIpAddress(text);
  if (address) return ownerOf(deps, address) ?? { id: `ext:${address}`, addresses: [address], ports: [] };
  if (text.startsWith('node:')) {
    const name = text.slice('node:'.length);
    const node = deps.model.get('Node', name);
    if (!node) return { problem: `there is no node ${name}` };
    return { id: text, node: name, addresses: [...node.internalIPs, ...(node.otherIPs ?? [])], ports: [] };
  }
  return podEnd(deps, text) ?? { problem: `there is no pod ${text}: write NAMESPACE/POD, node:NAME or an address` };
}

function ownerOf(deps: ExplainDeps, address: IpAddress): End | undefined {
  const node = deps.model.find('Node', ({ internalIPs }) => internalIPs.includes(address));
  if (node) return { id: `node:${node.metadata.name}`, node: node.metadata.name, addresses: [address], ports: [] };
  const pod = deps.model.find('Pod', ({ podIPs, phase }) => {
    return podIPs.includes(address) && phase !== 'Succeeded' && phase !== 'Failed';
  });
  return pod && podEnd(deps, `${pod.metadata.namespace}/${pod.metadata.name}`);
}

function podEnd(deps: ExplainDeps, key: string): End | undefined {
  const pod = deps.model.get('Pod', key);
  if (!pod) return undefined;
  const here = deps.policy.endpoint(key);
  const wired = here && here.addresses.length > 0 ? here.addresses : pod.podIPs;
  const end = { id: key, node: pod.nodeName, addresses: wired, ports: [] };
  if (pod.hostNetwork) return end;
  if (here) return { ...end, endpoint: key };
  const where = pod.nodeName === '' ? 'no node yet' : `node ${pod.nodeName}: ask the agent there`;
  return { ...end, elsewhere: `${key}: decided on ${where}, or compute it from the API server with --live` };
}
