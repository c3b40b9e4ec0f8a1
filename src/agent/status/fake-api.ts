/** An API server in memory for the tests of this folder: objects by path, the few verbs that status writers use, failures on demand. */
import { type KubeClient, KubeError, type KubeRequest, type KubeResponse } from '#datastore';

type Json = Record<string, unknown>;

export interface FakeApi extends KubeClient {
  /** Every request, in order. */
  readonly requests: KubeRequest[];
  /** By path without query. */
  readonly objects: Map<string, Json>;
  /** Looked at first; undefined: the usual answer. Throwing means that nothing answers. */
  intercept: ((request: KubeRequest) => KubeResponse | undefined) | undefined;
  /** Of writes only, as `METHOD path`. */
  writes(): string[];
}

/** `collections`: the paths of kinds that are served, e.g. `/api/v1/nodes`; `withStatus` have the status subresource (default all). */
export function fakeApi(
  collections: readonly string[],
  options: { readonly withoutStatus?: readonly string[] } = {},
): FakeApi {
  const objects = new Map<string, Json>();
  const requests: KubeRequest[] = [];
  let revision = 100;
  const store = (path: string, object: Json): Json => {
    const metadata = { ...(object['metadata'] as Json), resourceVersion: String(++revision) };
    const stored = { ...object, metadata };
    objects.set(path, stored);
    return stored;
  };
  const answer = (request: KubeRequest): KubeResponse => {
    const { method } = request;
    const subresource = /\/status$/.test(request.path);
    const path = request.path.replace(/\/status$/, '');
    const collection = collections.find((each) => path === each || path.startsWith(`${each}/`));
    const hidden = subresource && options.withoutStatus?.includes(collection ?? '');
    if (!collection || hidden) return { status: 404, body: '404 page not found\n' };
    if (path === collection) {
      if (method === 'GET') {
        const items = [...objects].filter(([key]) => key.startsWith(`${path}/`)).map(([, object]) => object);
        return { status: 200, body: { metadata: { resourceVersion: String(revision) }, items } };
      }
      const object = request.body as Json;
      const { name } = object['metadata'] as { readonly name: string };
      if (objects.has(`${path}/${name}`)) return failure(409, 'AlreadyExists', name);
      return {
        status: 201,
        body: store(`${path}/${name}`, {
          ...object,
          metadata: { uid: `uid-${++revision}`, ...(object['metadata'] as Json) },
        }),
      };
    }
    const name = path.slice(path.lastIndexOf('/') + 1);
    const found = objects.get(path);
    if (!found) return failure(404, 'NotFound', name);
    if (method === 'GET') return { status: 200, body: found };
    if (method === 'DELETE') {
      objects.delete(path);
      return { status: 200, body: {} };
    }
    if (method === 'PUT') {
      const sent = (request.body as { metadata: { resourceVersion?: string } }).metadata.resourceVersion;
      const now = (found['metadata'] as { resourceVersion: string }).resourceVersion;
      if (sent !== undefined && sent !== now) return failure(409, 'Conflict', name);
      return { status: 200, body: store(path, request.body as Json) };
    }
    const changed = patched(found, request);
    return changed ? { status: 200, body: store(path, changed) } : failure(422, 'Invalid', name);
  };
  const api: FakeApi = {
    server: 'https://fake:6443',
    requests,
    objects,
    intercept: undefined,
    writes: () => requests.filter(({ method }) => method !== 'GET').map(({ method, path }) => `${method} ${path}`),
    request: async (request) => {
      requests.push(request);
      return api.intercept?.(request) ?? answer(request);
    },
  };
  return api;
}

export function failure(status: number, reason: string, name?: string): KubeResponse {
  return {
    status,
    body: { kind: 'Status', reason, message: `${name ?? ''} ${reason}`, ...(name ? { details: { name } } : {}) },
  };
}

export function unreachable(): never {
  throw new KubeError('https://fake:6443: connection refused', { code: 'UNREACHABLE', server: 'https://fake:6443' });
}

/** Undefined: a test of a JSON patch failed. */
function patched(object: Json, { contentType, body }: KubeRequest): Json | undefined {
  switch (contentType) {
    case 'application/json-patch+json': {
      const operations = body as readonly { readonly op: string; readonly path: string; readonly value: unknown }[];
      let out = object;
      for (const { op, path, value } of operations) {
        if (op === 'test' && path === '/metadata/resourceVersion') {
          if ((object['metadata'] as Json)['resourceVersion'] !== value) return undefined;
        } else if (op === 'add' && path === '/status') out = { ...out, status: value };
        else throw new Error(`fake: ${op} ${path}`);
      }
      return out;
    }
    case 'application/merge-patch+json':
      return merged(object, body as Json);
    case 'application/strategic-merge-patch+json': {
      // Only what is used: conditions merge by type.
      const before = ((object['status'] as Json | undefined)?.['conditions'] ?? []) as readonly {
        readonly type: string;
      }[];
      const sent = (body as { status: { conditions: readonly { readonly type: string }[] } }).status.conditions;
      const others = before.filter(({ type }) => !sent.some((each) => each.type === type));
      return { ...object, status: { ...(object['status'] as Json), conditions: [...others, ...sent] } };
    }
    default:
      throw new Error(`fake: PATCH with ${contentType}`);
  }
}

function merged(object: Json, patch: Json): Json {
  const out = { ...object };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete out[key];
    else if (typeof value === 'object' && !Array.isArray(value))
      out[key] = merged((out[key] ?? {}) as Json, value as Json);
    else out[key] = value;
  }
  return out;
}
