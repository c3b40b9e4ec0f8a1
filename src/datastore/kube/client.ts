/**
 * The API server as the rest of the agent sees it: one connection for everything, the datastore's lists and watches and the status
 * writers' requests alike. `connection.ts` makes the real one.
 */
import { PoplinError } from '#kit';

export interface KubeRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Absolute, e.g. `/api/v1/nodes/n1/status`; parts are encoded already. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Of `body`; default application/json. PATCH: `application/merge-patch+json`, `application/apply-patch+yaml` and so on. */
  readonly contentType?: string;
  /** Default 30 s. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface KubeResponse {
  /** HTTP status. 429 and 503 with Retry-After are returned, not retried. */
  readonly status: number;
  /** Parsed JSON, or the text where the answer is none (`/readyz`). A Status object for errors. */
  readonly body: unknown;
  readonly retryAfterSec?: number;
}

export type KubeFailure =
  /** Nothing answers: refused, reset, timed out, wrong certificate, name not found. */
  | { readonly code: 'UNREACHABLE'; readonly server: string }
  /** kubeconfig, token file or service account cannot be used: nothing was sent. */
  | { readonly code: 'CREDENTIALS'; readonly source: string }
  | { readonly code: 'CLOSED' };

export class KubeError extends PoplinError<KubeFailure> {}

export interface KubeClient {
  /** E.g. `https://10.0.0.1:6443`. */
  readonly server: string;
  /** Resolves with every HTTP status. @throws KubeError when there is no answer. */
  request(request: KubeRequest): Promise<KubeResponse>;
}

/** `message` of a Status object, or something as good, for people. */
export function statusMessage({ status, body }: KubeResponse): string {
  const message = typeof body === 'object' && body !== null ? (body as { message?: unknown }).message : body;
  return typeof message === 'string' && message !== '' ? `${status}: ${message}` : `HTTP ${status}`;
}
