/**
 * What `poplin preflight` wants to know of a cluster before Poplin is installed in it, read from its API server. Only GETs; what cannot
 * be read is among the facts as well.
 */
import { decodeObject, type KubeClient, type KubeResponse, statusMessage } from '#datastore';
import { type Cidr, toCidr } from '#kit';
import type { IPPoolObject } from '#model';

/** Resource names of the kinds of Calico's that Poplin reads, as deploy/crds defines them. */
export const calicoResources = [
  'bgpconfigurations',
  'bgppeers',
  'bgpfilters',
  'ippools',
  'caliconodestatuses',
  'felixconfigurations',
  'networkpolicies',
  'globalnetworkpolicies',
  'stagednetworkpolicies',
  'stagedglobalnetworkpolicies',
  'stagedkubernetesnetworkpolicies',
  'tiers',
  'networksets',
  'globalnetworksets',
  'hostendpoints',
] as const;
export type CalicoResource = (typeof calicoResources)[number];

export interface DaemonSetFacts {
  readonly namespace: string;
  readonly name: string;
  readonly images: readonly string[];
  /** It bears the label of our manifests. */
  readonly ours: boolean;
}
export interface NodeFacts {
  readonly name: string;
  readonly podCIDRs: readonly string[];
  readonly ready: boolean;
  readonly operatingSystem: string;
}

export interface PreflightFacts {
  readonly server: string;
  /** E.g. `v1.36.3`. */
  readonly version: string;
  /** Resources that projectcalico.org/v3 serves; undefined: it is not served. */
  readonly servedV3?: readonly string[];
  /** The group's APIService, where it is another server that answers (Calico's aggregated API server). */
  readonly aggregated?: { readonly available: boolean; readonly message: string };
  /** Definitions of projectcalico.org kinds; `ours` came with a Poplin manifest. */
  readonly definitions: readonly { readonly resource: CalicoResource; readonly ours: boolean }[];
  /** Objects of crd.projectcalico.org/v1, by resource; none without the group. */
  readonly stored: readonly { readonly resource: CalicoResource; readonly count: number }[];
  readonly daemonSets: readonly DaemonSetFacts[];
  /** As kube-proxy's ConfigMap says, e.g. `iptables`; undefined where there is none or it does not say. */
  readonly kubeProxyMode?: string;
  readonly nodes: readonly NodeFacts[];
  readonly pools: readonly IPPoolObject[];
  readonly serviceRanges: readonly Cidr[];
  /** Requests that were refused or failed. */
  readonly unread: readonly { readonly path: string; readonly why: string }[];
}

const partOfLabel = 'app.kubernetes.io/part-of';
const pageObjectsMax = 500;
/** Beyond, a cluster is not counted to its end. */
const pagesMax = 100;
const group = '/apis/projectcalico.org/v3';

interface ObjectMetadata {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
}
interface Item {
  readonly metadata: ObjectMetadata;
}

/** @throws KubeError when the API server cannot be reached or the credentials be used. */
export async function preflightFacts(client: KubeClient): Promise<PreflightFacts> {
  const reader = new ApiReader(client);
  const version = ((await reader.get('/version')) as { gitVersion?: string } | undefined)?.gitVersion ?? '';
  const servedV3 = await served(reader, group);
  const aggregated = await aggregation(reader);
  const definitions = await calicoDefinitions(reader);
  const stored = await storedObjects(reader);
  const daemonSets = await listDaemonSets(reader);
  const kubeProxyMode = await proxyMode(reader);
  const nodes = await listNodes(reader);
  const pools = servedV3?.includes('ippools') ? await listPools(reader) : [];
  const serviceRanges = await listServiceRanges(reader);
  return {
    server: client.server,
    version,
    ...(servedV3 ? { servedV3 } : {}),
    ...(aggregated ? { aggregated } : {}),
    definitions,
    stored,
    daemonSets,
    ...(kubeProxyMode === undefined ? {} : { kubeProxyMode }),
    nodes,
    pools,
    serviceRanges,
    unread: reader.unread,
  };
}

class ApiReader {
  readonly #client: KubeClient;
  readonly unread: { readonly path: string; readonly why: string }[] = [];

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** Undefined: not there, or it could not be read, which is then in `unread`. */
  async get(path: string, query?: Readonly<Record<string, string | number>>): Promise<unknown> {
    const response: KubeResponse = await this.#client.request({ method: 'GET', path, ...(query ? { query } : {}) });
    if (response.status === 200) return response.body;
    if (response.status !== 404) this.unread.push({ path, why: statusMessage(response) });
    return undefined;
  }

  /** Every object, page by page. */
  async list<T extends Item>(path: string): Promise<readonly T[]> {
    const items: T[] = [];
    let next = '';
    for (let page = 0; page < pagesMax; page++) {
      const query = { limit: pageObjectsMax, ...(next === '' ? {} : { continue: next }) };
      const body = (await this.get(path, query)) as
        | { readonly items?: readonly T[]; readonly metadata?: { readonly continue?: string } }
        | undefined;
      items.push(...(body?.items ?? []));
      next = body?.metadata?.continue ?? '';
      if (next === '') break;
    }
    return items;
  }
}

async function served(reader: ApiReader, path: string): Promise<readonly string[] | undefined> {
  const body = (await reader.get(path)) as { readonly resources?: readonly { readonly name: string }[] } | undefined;
  return body?.resources?.map(({ name }) => name).filter((name) => !name.includes('/'));
}

async function aggregation(reader: ApiReader): Promise<PreflightFacts['aggregated']> {
  const service = (await reader.get('/apis/apiregistration.k8s.io/v1/apiservices/v3.projectcalico.org')) as
    | {
        readonly spec?: { readonly service?: unknown };
        readonly status?: { readonly conditions?: readonly { type: string; status: string; message?: string }[] };
      }
    | undefined;
  // For definitions the API server makes one of its own, without a service.
  if (!service?.spec?.service) return undefined;
  const condition = service.status?.conditions?.find(({ type }) => type === 'Available');
  return { available: condition?.status === 'True', message: condition?.message ?? '' };
}

async function calicoDefinitions(reader: ApiReader): Promise<PreflightFacts['definitions']> {
  const found: { resource: CalicoResource; ours: boolean }[] = [];
  for (const resource of calicoResources) {
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${resource}.projectcalico.org`;
    const definition = (await reader.get(path)) as Item | undefined;
    if (definition) found.push({ resource, ours: isOurs(definition) });
  }
  return found;
}

function isOurs({ metadata }: Item): boolean {
  return metadata.labels?.[partOfLabel] === 'poplin';
}

async function storedObjects(reader: ApiReader): Promise<PreflightFacts['stored']> {
  const path = '/apis/crd.projectcalico.org/v1';
  const resources = (await served(reader, path)) ?? [];
  const found: { resource: CalicoResource; count: number }[] = [];
  for (const resource of calicoResources.filter((name) => resources.includes(name))) {
    const body = (await reader.get(`${path}/${resource}`, { limit: 1 })) as
      | { readonly items?: readonly unknown[]; readonly metadata?: { readonly remainingItemCount?: number } }
      | undefined;
    const count = (body?.items?.length ?? 0) + (body?.metadata?.remainingItemCount ?? 0);
    if (count > 0) found.push({ resource, count });
  }
  return found;
}

interface DaemonSet extends Item {
  readonly spec?: {
    readonly template?: { readonly spec?: { readonly containers?: readonly { readonly image?: string }[] } };
  };
}

async function listDaemonSets(reader: ApiReader): Promise<readonly DaemonSetFacts[]> {
  const sets = await reader.list<DaemonSet>('/apis/apps/v1/daemonsets');
  return sets.map((set) => ({
    namespace: set.metadata.namespace ?? '',
    name: set.metadata.name,
    images: (set.spec?.template?.spec?.containers ?? []).flatMap(({ image }) => image ?? []),
    ours: isOurs(set),
  }));
}

async function proxyMode(reader: ApiReader): Promise<string | undefined> {
  const map = (await reader.get('/api/v1/namespaces/kube-system/configmaps/kube-proxy')) as
    | { readonly data?: Readonly<Record<string, string>> }
    | undefined;
  return /^mode:\s*["']?([a-z]+)/m.exec(map?.data?.['config.conf'] ?? '')?.[1];
}

interface Node extends Item {
  readonly spec?: { readonly podCIDRs?: readonly string[] };
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly nodeInfo?: { readonly operatingSystem?: string };
  };
}

async function listNodes(reader: ApiReader): Promise<readonly NodeFacts[]> {
  const nodes = await reader.list<Node>('/api/v1/nodes');
  return nodes.map(({ metadata, spec, status }) => ({
    name: metadata.name,
    podCIDRs: spec?.podCIDRs ?? [],
    ready: status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') ?? false,
    operatingSystem: status?.nodeInfo?.operatingSystem || 'linux',
  }));
}

async function listPools(reader: ApiReader): Promise<readonly IPPoolObject[]> {
  const items = await reader.list<Item>(`${group}/ippools`);
  return items.flatMap((item) => {
    // Entries of a list do not repeat their kind.
    const { typed } = decodeObject('IPPool', { apiVersion: 'projectcalico.org/v3', kind: 'IPPool', ...item }, 'api');
    return typed?.kind === 'IPPool' ? [typed.object] : [];
  });
}

async function listServiceRanges(reader: ApiReader): Promise<readonly Cidr[]> {
  const ranges = await reader.list<Item & { readonly spec?: { readonly cidrs?: readonly string[] } }>(
    '/apis/networking.k8s.io/v1/servicecidrs',
  );
  return ranges.flatMap(({ spec }) => (spec?.cidrs ?? []).flatMap((text) => toCidr(text) ?? []));
}
