/** What an uninstall would take away, read from the API server: nothing is changed here. */
import { cidrContains, toCidr, toIpAddress } from '#kit';
import type { PodSpec } from './cleanup-pod.ts';
import type { ClusterApi, KubeItem } from './cluster-api.ts';
import {
  daemonSetPlace,
  definitions,
  namespacePlace,
  type ObjectPlace,
  PART_OF,
  PART_OF_LABEL,
  policyCollections,
  smallPlaces,
} from './installation.ts';
import { type Conditioned, hasOurConditions } from './withdraw.ts';

export interface PlannedNode {
  readonly name: string;
  /** Why its kubelet does not answer; absent: it does, whether or not it calls itself ready. */
  readonly unreachable?: string;
  /** NetworkUnavailable stands there as the agent has left it. */
  readonly hasOurCondition: boolean;
}

export interface PlannedPod {
  readonly node: string;
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly string[];
}

export interface PlannedDefinition {
  readonly place: ObjectPlace;
  readonly objects: number;
  /** Of the objects that stay: those with a status of ours. */
  readonly withStatus: readonly string[];
}

export interface UninstallPlan {
  readonly server: string;
  readonly namespace: string;
  readonly daemonSet?: { readonly uid: string; readonly pod: PodSpec };
  readonly nodes: readonly PlannedNode[];
  /** Their network is Poplin's, as far as their addresses tell. */
  readonly pods: readonly PlannedPod[];
  /** In the order of removal, but for the DaemonSet, which goes first, and definitions, which go last but for the namespace. */
  readonly objects: readonly ObjectPlace[];
  readonly removedDefinitions: readonly PlannedDefinition[];
  /** They stay, with what is in them. */
  readonly keptDefinitions: readonly PlannedDefinition[];
  /** Paths of objects of the Network Policy API with conditions of ours: they stay, without these. */
  readonly policiesWithConditions: readonly string[];
  /** Definitions of our names that somebody else installed. */
  readonly foreignDefinitions: readonly string[];
  /** Ours, and removed with everything in it. */
  readonly removesNamespace: boolean;
}

export interface PlanOptions {
  readonly namespace: string;
  /** Definitions of the operator's configuration go as well. */
  readonly crds: boolean;
}

/** Nothing of an installation is in the API; its nodes are another question. */
export function isEmpty(plan: UninstallPlan): boolean {
  return !plan.daemonSet && plan.objects.length === 0 && plan.removedDefinitions.length === 0 && !plan.removesNamespace;
}

/** @throws UninstallError */
export async function makePlan(api: ClusterApi, options: PlanOptions): Promise<UninstallPlan> {
  const { namespace } = options;
  const daemonSet = await api.get<KubeItem & { readonly spec: { readonly template: { readonly spec: PodSpec } } }>(
    daemonSetPlace(namespace).path,
  );
  const objects: ObjectPlace[] = [];
  for (const place of smallPlaces(namespace)) if (await api.get(place.path)) objects.push(place);
  const own = await api.get(namespacePlace(namespace).path);
  const nodes = (await api.list('/api/v1/nodes', readNode)) ?? [];
  return {
    server: api.server,
    namespace,
    ...(daemonSet ? { daemonSet: { uid: daemonSet.metadata.uid ?? '', pod: daemonSet.spec.template.spec } } : {}),
    nodes: nodes.map(({ podCIDRs: _, ...node }) => node),
    pods: await podsOf(api, nodes),
    objects,
    ...(await planDefinitions(api, options.crds)),
    policiesWithConditions: await conditionedPolicies(api),
    removesNamespace: own !== undefined && isOurs(own),
  };
}

function isOurs(item: KubeItem): boolean {
  return item.metadata.labels?.[PART_OF_LABEL] === PART_OF;
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

interface Node extends KubeItem {
  readonly spec?: { readonly podCIDRs?: readonly string[] };
  readonly status?: { readonly conditions?: readonly Condition[] };
}

/** Agents run on Linux. */
function readNode({
  metadata,
  spec,
  status,
}: Node): (PlannedNode & { readonly podCIDRs: readonly string[] }) | undefined {
  if ((metadata.labels?.['kubernetes.io/os'] ?? 'linux') !== 'linux') return undefined;
  const condition = (type: string): Condition | undefined => status?.conditions?.find((each) => each.type === type);
  const ready = condition('Ready');
  // False: its kubelet answers, and misses the network perhaps, which pods of the host network do without.
  const silent = ready === undefined || ready.status === 'Unknown';
  return {
    name: metadata.name,
    ...(silent ? { unreachable: ready?.message ?? ready?.reason ?? 'its kubelet has not said that it runs' } : {}),
    hasOurCondition: condition('NetworkUnavailable')?.reason === 'PoplinIsUp',
    podCIDRs: spec?.podCIDRs ?? [],
  };
}

interface Pod extends KubeItem {
  readonly spec: { readonly nodeName?: string; readonly hostNetwork?: boolean };
  readonly status?: { readonly phase?: string; readonly podIPs?: readonly { readonly ip: string }[] };
}

async function podsOf(
  api: ClusterApi,
  nodes: readonly { readonly name: string; readonly podCIDRs: readonly string[] }[],
): Promise<readonly PlannedPod[]> {
  const cidrs = new Map(nodes.map(({ name, podCIDRs }) => [name, podCIDRs.flatMap((text) => toCidr(text) ?? [])]));
  const pods = await api.list('/api/v1/pods', ({ metadata, spec, status }: Pod): PlannedPod | undefined => {
    const node = spec.nodeName ?? '';
    const ended = status?.phase === 'Succeeded' || status?.phase === 'Failed';
    if (spec.hostNetwork || ended || node === '') return undefined;
    const addresses = (status?.podIPs ?? []).map(({ ip }) => ip);
    const own = cidrs.get(node) ?? [];
    const known = addresses.flatMap((ip) => toIpAddress(ip) ?? []);
    const isOurs = known.some((address) => own.some((cidr) => cidrContains(cidr, address)));
    return isOurs ? { node, namespace: metadata.namespace ?? '', name: metadata.name, addresses } : undefined;
  });
  return (pods ?? []).sort((a, b) =>
    compare(`${a.node} ${a.namespace} ${a.name}`, `${b.node} ${b.namespace} ${b.name}`),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Of a kind whose objects stand in namespaces, `collection` is that of all of them. */
function pathIn(collection: string, { namespace, name }: KubeItem['metadata']): string {
  const slash = collection.lastIndexOf('/');
  const within =
    namespace === undefined
      ? collection
      : `${collection.slice(0, slash)}/namespaces/${encodeURIComponent(namespace)}${collection.slice(slash)}`;
  return `${within}/${encodeURIComponent(name)}`;
}

async function conditionedPolicies(api: ClusterApi): Promise<readonly string[]> {
  const paths: string[] = [];
  for (const collection of policyCollections) {
    const found = await api.list(collection, (item: Conditioned) =>
      hasOurConditions(item) ? pathIn(collection, item.metadata) : undefined,
    );
    paths.push(...(found ?? []));
  }
  return paths;
}

async function planDefinitions(
  api: ClusterApi,
  crds: boolean,
): Promise<Pick<UninstallPlan, 'removedDefinitions' | 'keptDefinitions' | 'foreignDefinitions'>> {
  const removed: PlannedDefinition[] = [];
  const kept: PlannedDefinition[] = [];
  const foreign: string[] = [];
  for (const definition of definitions) {
    const found = await api.get(definition.path);
    if (!found) continue;
    if (!isOurs(found)) {
      foreign.push(definition.name);
      continue;
    }
    const { holdsConfiguration, collection, ...place } = definition;
    const objects =
      (await api.list(collection, ({ metadata, status }: KubeItem & { readonly status?: object }) => ({
        path: pathIn(collection, metadata),
        hasStatus: status !== undefined && Object.keys(status).length > 0,
      }))) ?? [];
    const goes = crds || !holdsConfiguration;
    const withStatus = goes ? [] : objects.filter(({ hasStatus }) => hasStatus).map(({ path }) => path);
    (goes ? removed : kept).push({ place, objects: objects.length, withStatus });
  }
  return { removedDefinitions: removed, keptDefinitions: kept, foreignDefinitions: foreign };
}
