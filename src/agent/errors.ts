import { PoplinError } from '#kit';

export type AgentFailure =
  | { readonly code: 'LOCKED'; readonly lock: string; readonly holderPid: number }
  | { readonly code: 'DIRECTORY'; readonly path: string };

export class AgentError extends PoplinError<AgentFailure> {}
