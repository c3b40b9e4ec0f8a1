/** What an answer of the API server, or an event of a watch, means for who lists and watches. Pure. */
import { type KubeResponse, statusMessage } from './client.ts';
import type { Resource } from './resources.ts';

const throttlePauseMinMs = 100;
const throttlePauseMaxMs = 60_000;

export type Outcome =
  /** As it should: the server ended the watch, or the list is complete. */
  | { readonly type: 'ended' }
  | { readonly type: 'expired' }
  /** The list asked for a resourceVersion that the server does not have. */
  | { readonly type: 'ahead' }
  | { readonly type: 'noWatchList' }
  | { readonly type: 'absent' }
  | { readonly type: 'forbidden'; readonly reason: string }
  | { readonly type: 'throttled'; readonly waitMs: number; readonly reason: string }
  | { readonly type: 'broken'; readonly reason: string; readonly unreachable: boolean };

/** What an answer other than 200 means. */
export function outcomeOfRefusal(
  response: KubeResponse,
  resource: Resource,
  { verb, watchList }: { readonly verb: 'list' | 'watch'; readonly watchList: boolean },
): Outcome {
  const { status, retryAfterSec } = response;
  const reason = statusMessage(response);
  if (isTooLarge(response.body)) return { type: 'ahead' };
  if (status === 404) return { type: 'absent' };
  if (status === 403) {
    const group = resource.apiVersion.includes('/') ? resource.apiVersion.split('/')[0] : '""';
    const remedy = `grant the verbs list and watch on ${resource.name} (API group ${group}) to the agent's role`;
    return { type: 'forbidden', reason: `${reason}; ${remedy}` };
  }
  if (status === 410) return { type: 'expired' };
  // 400 and 422 are how servers say that they do not know, or have switched off, the parameters of WatchList.
  if (watchList && (status === 400 || status === 422)) return { type: 'noWatchList' };
  if ((status === 429 || status === 503) && retryAfterSec !== undefined) {
    const waitMs = Math.min(throttlePauseMaxMs, Math.max(throttlePauseMinMs, retryAfterSec * 1000));
    return { type: 'throttled', waitMs, reason };
  }
  return { type: 'broken', reason: `${verb} ${resource.path}: ${reason}`, unreachable: false };
}

/** `status` is the object of an event of type ERROR. */
export function outcomeOfErrorEvent(status: unknown): Outcome {
  const { code, reason } = status as { code?: number; reason?: string };
  if (isTooLarge(status)) return { type: 'ahead' };
  if (code === 410 || reason === 'Expired' || reason === 'Gone') return { type: 'expired' };
  const text = statusMessage({ status: code ?? 500, body: status });
  return { type: 'broken', reason: `the watch ended with an error: ${text}`, unreachable: false };
}

function isTooLarge(body: unknown): boolean {
  const { details } = (body ?? {}) as { details?: { causes?: readonly { reason?: string }[] } };
  return details?.causes?.some(({ reason }) => reason === 'ResourceVersionTooLarge') ?? false;
}
