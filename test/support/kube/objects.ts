/** Kubernetes objects by apiVersion, kind and name, as a person would handle them with kubectl, a millisecond each. */
import { type HttpsClient, HttpsError } from './https.ts';

export type JsonObject = { readonly [key: string]: unknown };

/** What names an object; also a whole object. */
export interface ObjectName {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

export interface KubeObject extends ObjectName {
  readonly metadata: ObjectName['metadata'] & {
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly generation?: number;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

export interface WriteOptions {
  /** As whom; default the administrator. */
  readonly token?: string;
  /** E.g. `status`. */
  readonly subresource?: string;
}

interface Resource {
  readonly name: string;
  readonly namespaced: boolean;
}

/** Field manager of what tests apply. */
const fieldManager = 'poplin-test';

export class Objects {
  readonly #https: HttpsClient;
  readonly #token: string;
  /** apiVersion -> kind -> resource, as discovery said. */
  readonly #resources = new Map<string, Map<string, Resource>>();

  constructor(https: HttpsClient, token: string) {
    this.#https = https;
    this.#token = token;
  }

  async #resource({ apiVersion, kind }: Pick<ObjectName, 'apiVersion' | 'kind'>): Promise<Resource> {
    const known = this.#resources.get(apiVersion)?.get(kind);
    if (known) return known;
    const path = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const { resources } = (await this.#https.must({ path, token: this.#token })) as unknown as {
      resources: readonly (Resource & { kind: string })[];
    };
    const found = new Map(resources.filter(({ name }) => !name.includes('/')).map((one) => [one.kind, one]));
    this.#resources.set(apiVersion, found);
    const resource = found.get(kind);
    if (!resource) throw new Error(`the API server serves no kind ${kind} in ${apiVersion}`);
    return resource;
  }

  /** Path of a kind's objects, or with `name` of one. */
  async path(
    object: Pick<ObjectName, 'apiVersion' | 'kind'> & { readonly metadata?: { name?: string; namespace?: string } },
    subresource?: string,
  ): Promise<string> {
    const { name, namespaced } = await this.#resource(object);
    const { apiVersion, metadata } = object;
    const group = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const scope = namespaced && metadata?.namespace !== undefined ? `/namespaces/${metadata.namespace}` : '';
    const parts = [group + scope, name, metadata?.name, subresource].filter((part) => part !== undefined);
    return parts.join('/');
  }

  #token_(options: WriteOptions | undefined): string {
    return options?.token ?? this.#token;
  }

  /** Server-side apply, one after the other, taking over fields of others. */
  async apply(objects: KubeObject | readonly KubeObject[], options?: WriteOptions): Promise<KubeObject[]> {
    const results: KubeObject[] = [];
    for (const object of Array.isArray(objects) ? (objects as readonly KubeObject[]) : [objects as KubeObject]) {
      const path = await this.path(object, options?.subresource);
      results.push(
        (await this.#https.must({
          method: 'PATCH',
          path: `${path}?fieldManager=${fieldManager}&force=true`,
          body: object,
          contentType: 'application/apply-patch+yaml',
          token: this.#token_(options),
        })) as KubeObject,
      );
    }
    return results;
  }

  async create(object: KubeObject, options?: WriteOptions): Promise<KubeObject> {
    const { apiVersion, kind, metadata } = object;
    const namespace = metadata.namespace === undefined ? {} : { namespace: metadata.namespace };
    const path = await this.path({ apiVersion, kind, metadata: namespace });
    return (await this.#https.must({ method: 'POST', path, body: object, token: this.#token_(options) })) as KubeObject;
  }

  /** PUT: with `metadata.resourceVersion` only over that version. */
  async replace(object: KubeObject, options?: WriteOptions): Promise<KubeObject> {
    const path = await this.path(object, options?.subresource);
    return (await this.#https.must({ method: 'PUT', path, body: object, token: this.#token_(options) })) as KubeObject;
  }

  /** JSON merge patch: null deletes a field. */
  async patch(object: ObjectName, patch: JsonObject, options?: WriteOptions): Promise<KubeObject> {
    return (await this.#https.must({
      method: 'PATCH',
      path: await this.path(object, options?.subresource),
      body: patch,
      contentType: 'application/merge-patch+json',
      token: this.#token_(options),
    })) as KubeObject;
  }

  /** Undefined when there is none. */
  async get(object: ObjectName, options?: WriteOptions): Promise<KubeObject | undefined> {
    const request = { path: await this.path(object), token: this.#token_(options) };
    const answer = await this.#https.request(request);
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw new HttpsError(request, answer);
    return answer.body as KubeObject;
  }

  async list(kind: {
    readonly apiVersion: string;
    readonly kind: string;
    readonly namespace?: string;
  }): Promise<KubeObject[]> {
    const namespace = kind.namespace === undefined ? {} : { namespace: kind.namespace };
    const path = await this.path({ ...kind, metadata: namespace });
    return (await this.#https.must({ path, token: this.#token }))['items'] as KubeObject[];
  }

  /** At once, without grace; no error when it is gone already. A Namespace goes without its content, for nobody here empties it. */
  async delete(object: ObjectName, options?: WriteOptions): Promise<void> {
    const request = {
      method: 'DELETE',
      path: `${await this.path(object)}?gracePeriodSeconds=0&propagationPolicy=Background`,
      token: this.#token_(options),
    };
    const answer = await this.#https.request(request);
    if (answer.status === 404) return;
    if (answer.status > 299) throw new HttpsError(request, answer);
    if (object.kind === 'Namespace' && object.apiVersion === 'v1') await this.#finalize(object.metadata.name);
  }

  /** The namespace controller's part; 409 where one runs and was faster. */
  async #finalize(name: string): Promise<void> {
    const request = {
      method: 'PUT',
      path: `/api/v1/namespaces/${name}/finalize`,
      body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name }, spec: { finalizers: [] } },
      token: this.#token,
    };
    const answer = await this.#https.request(request);
    if (![200, 404, 409].includes(answer.status)) throw new HttpsError(request, answer);
  }
}
