/** Errors of the API: `{"error":{"code","message"}}` with the status that belongs to the code. */
import { PoplinError } from '#kit';

export const apiErrorStatus = {
  /** A parameter is wrong; the message names it. */
  BAD_REQUEST: 400,
  /** No such path. */
  NOT_FOUND: 404,
  /** No such pod on this node. */
  ENDPOINT_NOT_FOUND: 404,
  /** A fault of the agent; its log has more. */
  INTERNAL: 500,
} as const;

export type ApiErrorCode = keyof typeof apiErrorStatus;

export interface ApiErrorBody {
  readonly error: { readonly code: ApiErrorCode; readonly message: string };
}

export class ApiError extends PoplinError<{ readonly code: ApiErrorCode }> {}
