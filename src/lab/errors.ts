/** Expected failures of the lab: printed as they are, exit code 1 (2: wrong input). */
import { PoplinError } from '#kit';

export type LabFailure =
  /** A document says something that cannot be. `problems` are lines for people, each with file and line. */
  | { readonly code: 'BAD_INPUT'; readonly problems: readonly string[] }
  | { readonly code: 'NO_SUCH_LAB'; readonly name: string }
  | { readonly code: 'STATE_DAMAGED'; readonly name: string }
  | { readonly code: 'LAB_EXISTS'; readonly name: string }
  | { readonly code: 'NOT_ROOT' }
  | { readonly code: 'TOOL_MISSING'; readonly tool: string }
  | { readonly code: 'COMMAND_FAILED'; readonly command: string }
  | { readonly code: 'NOT_READY'; readonly what: string };

export class LabError extends PoplinError<LabFailure> {}

export function badInput(problems: readonly string[]): LabError {
  return new LabError(problems.join('\n'), { code: 'BAD_INPUT', problems });
}
