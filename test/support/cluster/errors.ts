/** Expected failures of the test cluster. */
import { PoplinError } from '#kit';

export type ClusterFailure =
  | { readonly code: 'ALREADY_UP'; readonly ownerPid: number }
  | { readonly code: 'NOT_UP' }
  | { readonly code: 'TOOL_MISSING'; readonly tool: string }
  | { readonly code: 'PART_DIED'; readonly part: string; readonly log: string }
  | { readonly code: 'COMMAND_FAILED'; readonly command: string }
  | { readonly code: 'API'; readonly status: number; readonly path: string };

export class ClusterError extends PoplinError<ClusterFailure> {}
