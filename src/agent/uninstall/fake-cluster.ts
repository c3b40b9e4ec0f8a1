/** A cluster in memory for the tests of this folder: an API server, and what kubelets and controllers do when something is deleted or bound. */
import { type KubeClient, KubeError, type KubeRequest, type KubeResponse } from '#datastore';

export interface FakeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** What `poplin cleanup` does on a node: an exit code with a termination message, or nothing for ever. */
export type NodeBehaviour = (node: FakeNode) => { readonly exitCode: number; readonly message: string } | 'hangs';

export interface FakeNode {
  readonly name: string;
  /** What an agent left there. */
  traces: number;
  behaviour: NodeBehaviour;
}

const collections =
  /\/(nodes|pods|poplinnodes|bgp[a-z]+|ippools|caliconodestatuses|felixconfigurations|[a-z]*networkpolicies|tiers|[a-z]*networksets)$/;

export class ProcessKilled extends Error {}

export function cleans(node: FakeNode): { readonly exitCode: number; readonly message: string } {
  const removed = { interfaces: node.traces, chains: node.traces * 10 };
  node.traces = 0;
  return { exitCode: 0, message: JSON.stringify({ removed, restored: [], left: [], notes: [] }) };
}

export class FakeCluster implements KubeClient {
  readonly server = 'https://fake:6443';
  readonly objects = new Map<string, FakeObject>();
  readonly nodes = new Map<string, FakeNode>();
  readonly requests: string[] = [];
  /** The process of the uninstall dies before this request; counted from 1. */
  killBefore = Number.POSITIVE_INFINITY;
  /** Answered instead of the usual, once. */
  intercept: ((request: KubeRequest) => KubeResponse | 'unreachable' | undefined) | undefined;
  #now = 0;
  #uids = 0;

  readonly deps = {
    client: this as KubeClient,
    say: (_line: string): void => undefined,
    pause: async (ms: number): Promise<void> => {
      this.#now += ms;
    },
    nowMs: (): number => this.#now,
  };

  put(path: string, object: FakeObject): void {
    const [, namespace] = /\/namespaces\/([^/]+)\/./.exec(path) ?? [];
    const metadata = { uid: `uid-${++this.#uids}`, ...(namespace ? { namespace } : {}), ...object.metadata };
    this.objects.set(path, { ...object, metadata });
  }

  async request(request: KubeRequest): Promise<KubeResponse> {
    this.requests.push(`${request.method} ${request.path}`);
    if (this.requests.length >= this.killBefore) throw new ProcessKilled();
    const instead = this.intercept?.(request);
    if (instead === 'unreachable')
      throw new KubeError('fake: connection refused', { code: 'UNREACHABLE', server: this.server });
    return instead ?? this.#answer(request);
  }

  #answer({ method, path, query, body }: KubeRequest): KubeResponse {
    if (path.endsWith('/log')) return { status: 200, body: 'a line of the log\n' };
    if (path.endsWith('/status')) return this.#patchStatus(path.replace(/\/status$/, ''), body);
    const found = this.objects.get(path);
    if (method === 'POST') return this.#create(path, body as FakeObject);
    if (method === 'GET' && collections.test(path)) return this.#list(path, query?.['labelSelector']);
    if (!found) return { status: 404, body: { message: `${path} not found` } };
    switch (method) {
      case 'GET':
        return { status: 200, body: found };
      case 'PUT':
        this.put(path, body as FakeObject);
        return { status: 200, body: {} };
      case 'DELETE':
        this.#delete(path);
        return { status: 200, body: {} };
      default:
        throw new Error(`fake: ${method} ${path}`);
    }
  }

  #isServed(path: string): boolean {
    const [, group, plural] = /^\/apis\/((?:projectcalico|poplin)\.[^/]+)\/[^/]+\/([a-z]+)$/.exec(path) ?? [];
    return !group || this.objects.has(`/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${plural}.${group}`);
  }

  #list(collection: string, selector: unknown): KubeResponse {
    if (!this.#isServed(collection)) return { status: 404, body: '404 page not found\n' };
    const resource = collection.slice(collection.lastIndexOf('/') + 1);
    const labels = String(selector ?? '')
      .split(',')
      .filter((text) => text !== '')
      .map((text) => text.split('='));
    const items = [...this.objects]
      .filter(([path]) => {
        const parent = path.slice(0, path.lastIndexOf('/'));
        const everywhere = parent.replace(/\/namespaces\/[^/]+(?=\/)/, '');
        return parent === collection || (everywhere === collection && parent.endsWith(`/${resource}`));
      })
      .map(([, object]) => object)
      .filter(({ metadata }) => labels.every(([key, value]) => metadata.labels?.[key!] === value));
    return { status: 200, body: { metadata: {}, items } };
  }

  #create(collection: string, object: FakeObject): KubeResponse {
    const path = `${collection}/${object.metadata.name}`;
    if (this.objects.has(path)) return { status: 409, body: { message: 'exists' } };
    const namespace = /^\/api\/v1\/namespaces\/[^/]+(?=\/)/.exec(path)?.[0];
    if (namespace && !this.objects.has(namespace)) return { status: 404, body: { message: `${namespace} not found` } };
    this.put(path, object);
    if (collection.endsWith('/pods')) this.#runPod(path, object);
    return { status: 201, body: {} };
  }

  /** A kubelet, in no time. */
  #runPod(path: string, pod: FakeObject): void {
    const node = this.nodes.get((pod['spec'] as { nodeName: string }).nodeName)!;
    const result = node.behaviour(node);
    if (result === 'hangs') return;
    const phase = result.exitCode === 0 ? 'Succeeded' : 'Failed';
    this.put(path, { ...pod, status: { phase, containerStatuses: [{ state: { terminated: result } }] } });
  }

  #delete(path: string): void {
    this.objects.delete(path);
    // Controllers: pods follow their DaemonSet, objects their definition, everything its namespace.
    if (path.includes('/daemonsets/')) {
      for (const [key, { metadata }] of this.objects)
        if (metadata.labels?.['app.kubernetes.io/name'] === 'poplin' && key.includes('/pods/'))
          this.objects.delete(key);
    }
    const [, plural, group] = /customresourcedefinitions\/([a-z]+)\.(.+)$/.exec(path) ?? [];
    for (const key of this.objects.keys()) {
      if (key.startsWith(`${path}/`) || key.includes(`/namespaces/${path.slice(path.lastIndexOf('/') + 1)}/`)) {
        if (path.startsWith('/api/v1/namespaces/') && path.split('/').length === 5) this.objects.delete(key);
      }
      if (plural && key.startsWith(`/apis/${group}/`) && key.includes(`/${plural}/`)) this.objects.delete(key);
    }
  }

  #patchStatus(path: string, body: unknown): KubeResponse {
    const object = this.objects.get(path);
    if (!object) return { status: 404, body: '' };
    if (Array.isArray(body)) {
      const [test, replace] = body as readonly { readonly op: string; readonly value?: unknown }[];
      if (test?.op === 'test') {
        const { conditions: now } = object['status'] as { readonly conditions: unknown };
        if (JSON.stringify(now) !== JSON.stringify(test.value)) return { status: 422, body: { message: 'changed' } };
        this.objects.set(path, { ...object, status: { conditions: replace?.value } });
        return { status: 200, body: {} };
      }
      const { status: _, ...rest } = object;
      this.objects.set(path, rest);
      return { status: 200, body: {} };
    }
    const gone = (body as { status: { conditions: { type: string; $patch: string }[] } }).status.conditions;
    const status = object['status'] as { conditions: { type: string }[] };
    const conditions = status.conditions.filter(({ type }) => !gone.some((each) => each.type === type));
    this.objects.set(path, { ...object, status: { ...status, conditions } });
    return { status: 200, body: {} };
  }
}
