/** The API server for a run that a person waits for: what may help again is tried again, what will not ends the run with words. */
import { type KubeClient, KubeError, type KubeRequest, type KubeResponse, statusMessage } from '#datastore';
import { PoplinError } from '#kit';

export type UninstallFailure =
  | { readonly code: 'FORBIDDEN'; readonly request: string }
  | { readonly code: 'API'; readonly request: string };

export class UninstallError extends PoplinError<UninstallFailure> {}

export interface KubeItem {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
}

export interface ClusterApiDeps {
  readonly client: KubeClient;
  readonly pause: (ms: number) => Promise<void>;
  readonly nowMs: () => number;
}

const pageObjectsMax = 500;
const attemptsMax = 6;
const retryMsMax = 8_000;
const POLL_MS = 1_000;

export class ClusterApi {
  readonly #deps: ClusterApiDeps;

  constructor(deps: ClusterApiDeps) {
    this.#deps = deps;
  }

  get server(): string {
    return this.#deps.client.server;
  }

  /** Undefined: it is not there, nor perhaps its kind. @throws UninstallError */
  async get<T extends KubeItem>(path: string): Promise<T | undefined> {
    const { status, body } = await this.#send({ method: 'GET', path }, [404]);
    return status === 404 ? undefined : (body as T);
  }

  /** What `project` keeps of every object, page by page. Undefined: the kind is not served. @throws UninstallError */
  async list<T, R>(
    path: string,
    project: (item: T) => R | undefined,
    query: Readonly<Record<string, string>> = {},
  ): Promise<R[] | undefined> {
    let kept: R[] = [];
    let next = '';
    let limit = pageObjectsMax;
    for (;;) {
      const page = { ...query, ...(limit > 0 ? { limit } : {}), ...(next === '' ? {} : { continue: next }) };
      const { status, body } = await this.#send({ method: 'GET', path, query: page }, [404, 410]);
      if (status === 404) return undefined;
      if (status === 410) {
        // Changed too much while we paged: once more, in one piece.
        [kept, next, limit] = [[], '', 0];
        continue;
      }
      const list = body as { readonly items?: readonly T[] | null; readonly metadata?: { readonly continue?: string } };
      for (const item of list.items ?? []) {
        const found = project(item);
        if (found !== undefined) kept.push(found);
      }
      next = list.metadata?.continue ?? '';
      if (next === '') return kept;
    }
  }

  /** False: it exists already. @throws UninstallError */
  async create(collection: string, body: object): Promise<boolean> {
    return (await this.#send({ method: 'POST', path: collection, body }, [409])).status !== 409;
  }

  /** @throws UninstallError */
  async replace(path: string, body: object): Promise<void> {
    await this.#send({ method: 'PUT', path, body }, []);
  }

  /** False: it is not there. @throws UninstallError */
  async patch(path: string, contentType: string, body: unknown): Promise<boolean> {
    return (await this.#send({ method: 'PATCH', path, contentType, body }, [404])).status !== 404;
  }

  /** A JSON patch that tests what it replaces. @throws UninstallError */
  async patchIfSame(path: string, body: readonly object[]): Promise<'done' | 'gone' | 'changed'> {
    const contentType = 'application/json-patch+json';
    const { status } = await this.#send({ method: 'PATCH', path, contentType, body }, [404, 409, 422]);
    return status === 404 ? 'gone' : status < 300 ? 'done' : 'changed';
  }

  /** Its dependants follow. False: it was not there. @throws UninstallError */
  async delete(path: string, options: { readonly gracePeriodSeconds?: number } = {}): Promise<boolean> {
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background', ...options };
    return (await this.#send({ method: 'DELETE', path, body }, [404])).status !== 404;
  }

  /** Text of a log; empty where it cannot be had: the API server asks the kubelet, who may not answer. @throws UninstallError */
  async text(path: string, query: Readonly<Record<string, string | number>>): Promise<string> {
    const { status, body } = await this.#send({ method: 'GET', path, query }, [400, 404, 500, 502, 503, 504]);
    if (status !== 200) return '';
    return typeof body === 'string' ? body : JSON.stringify(body);
  }

  /** Asks once a second until `probe` answers something. Undefined after `timeoutMs`. */
  async until<T>(timeoutMs: number, probe: () => Promise<T | undefined>): Promise<T | undefined> {
    const end = this.#deps.nowMs() + timeoutMs;
    for (;;) {
      const found = await probe();
      if (found !== undefined) return found;
      if (this.#deps.nowMs() >= end) return undefined;
      await this.#deps.pause(POLL_MS);
    }
  }

  /** An answer of 2xx, or one of `expected`. */
  async #send(request: KubeRequest, expected: readonly number[]): Promise<KubeResponse> {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#try(request);
      if ('status' in answer) {
        if ((answer.status >= 200 && answer.status < 300) || expected.includes(answer.status)) return answer;
      }
      const why = 'status' in answer ? statusMessage(answer) : answer.unreachable;
      const said = `${request.method} ${request.path}`;
      if ('status' in answer && (answer.status === 401 || answer.status === 403)) {
        const remedy = 'apply uninstall.yaml, which brings the rights, or take the kubeconfig of an administrator';
        throw new UninstallError(`${said}: ${why}; ${remedy}`, { code: 'FORBIDDEN', request: said });
      }
      const passes = !('status' in answer) || answer.status === 429 || answer.status >= 500;
      if (!passes || attempt === attemptsMax) {
        const remedy = 'what was done so far is kept; run it again';
        throw new UninstallError(`${said}: ${why}; ${remedy}`, { code: 'API', request: said });
      }
      const wait = 'status' in answer && answer.retryAfterSec !== undefined ? answer.retryAfterSec * 1000 : 0;
      await this.#deps.pause(Math.max(wait, Math.min(retryMsMax, 1_000 * 2 ** (attempt - 1))));
    }
  }

  async #try(request: KubeRequest): Promise<KubeResponse | { readonly unreachable: string }> {
    try {
      return await this.#deps.client.request(request);
    } catch (error) {
      if (!(error instanceof KubeError) || error.failure.code !== 'UNREACHABLE') throw error;
      return { unreachable: error.message };
    }
  }
}
