/** One request to the API server with its outcome sorted into what a writer has to do next. Never rejects. */
import { type KubeClient, KubeError, type KubeRequest, statusMessage } from '#datastore';

export type ApiFailureKind =
  /** 404 that names an object: it is not there. */
  | 'notFound'
  /** 404 for the path: the kind, or its status, is not served. */
  | 'kindAbsent'
  | 'forbidden'
  /** 409: exists already, or was changed meanwhile. */
  | 'conflict'
  /** 400, 422: the same again will not help. */
  | 'refused'
  /** 429, 5xx, no answer: the same again may help. */
  | 'failed';

export interface ApiFailure {
  readonly ok: false;
  readonly kind: ApiFailureKind;
  /** For people. */
  readonly message: string;
  /** Retry-After. */
  readonly waitMs?: number;
}
export type ApiOutcome = { readonly ok: true; readonly body: unknown } | ApiFailure;

export async function callApi(client: KubeClient, request: KubeRequest): Promise<ApiOutcome> {
  try {
    const response = await client.request(request);
    const { status, body, retryAfterSec } = response;
    if (status >= 200 && status < 300) return { ok: true, body };
    const message = `${request.method} ${request.path}: ${statusMessage(response)}`;
    const wait = retryAfterSec === undefined ? {} : { waitMs: retryAfterSec * 1000 };
    return { ok: false, kind: kindOf(status, body), message, ...wait };
  } catch (error) {
    if (!(error instanceof KubeError)) throw error;
    return { ok: false, kind: 'failed', message: error.message };
  }
}

function kindOf(status: number, body: unknown): ApiFailureKind {
  switch (status) {
    case 404:
      // The server answers paths that it does not serve with plain text, objects that are not there with a Status that names them.
      return nameInDetails(body) ? 'notFound' : 'kindAbsent';
    case 401:
    case 403:
      return 'forbidden';
    case 409:
      return 'conflict';
    case 400:
    case 405:
    case 415:
    case 422:
      return 'refused';
    default:
      return 'failed';
  }
}

function nameInDetails(body: unknown): boolean {
  const details = (body as { readonly details?: { readonly name?: unknown } } | null)?.details;
  return typeof details?.name === 'string' && details.name !== '';
}

/** `parts` joined into an absolute path, each encoded. */
export function apiPath(base: string, ...parts: readonly string[]): string {
  return [base, ...parts.map(encodeURIComponent)].join('/');
}

/** Replaces the whole status in one message, whatever stood there and whoever wrote it; no resourceVersion needed. */
export function replaceStatus(objectPath: string, status: unknown): KubeRequest {
  return {
    method: 'PATCH',
    path: `${objectPath}/status`,
    contentType: 'application/json-patch+json',
    body: [{ op: 'add', path: '/status', value: status }],
  };
}
