/** What commands are given instead of reaching for the process, and how their failures become messages and exit codes. */
import { ApiClientError } from '#api';
import { ConfigError } from '#config';
import { errorText, PoplinError } from '#kit';
import type { Environment } from './connection.ts';
import { exitCode } from './exit-codes.ts';
import type { Terminal } from './output.ts';

export interface CliContext {
  readonly terminal: Terminal;
  readonly env: Environment;
  readonly now: () => number;
  /** Runs a command's body; its result or its failure becomes the exit code. Unexpected errors pass through. */
  act(body: () => Promise<number>): Promise<void>;
}

export function createContext(
  options: Omit<CliContext, 'act'> & { readonly setExitCode: (code: number) => void },
): CliContext {
  return {
    ...options,
    async act(body) {
      try {
        options.setExitCode(await body());
      } catch (error) {
        const code = codeOf(error);
        if (code === undefined) throw error;
        options.terminal.err(`poplin: ${messageOf(error)}\n`);
        options.setExitCode(code);
      }
    },
  };
}

/** Failures that are no faults of ours; undefined for those that are. */
function codeOf(error: unknown): number | undefined {
  if (error instanceof ApiClientError) {
    const { failure } = error;
    if (failure.code === 'AGENT_UNREACHABLE') return exitCode.agentUnreachable;
    return failure.error === 'BAD_REQUEST' ? exitCode.usage : exitCode.negative;
  }
  if (error instanceof ConfigError) return exitCode.usage;
  if (error instanceof PoplinError) {
    if (error.code === 'LOCKED') return exitCode.locked;
    return error.name === 'SpeakerFileError' || error.code === 'USAGE' ? exitCode.usage : exitCode.negative;
  }
  // A file of the user's that is not there.
  const { syscall, code } = error as NodeJS.ErrnoException;
  return syscall === 'open' && code === 'ENOENT' ? exitCode.usage : undefined;
}

function messageOf(error: unknown): string {
  if (error instanceof ConfigError)
    return `configuration:\n${error.failure.problems.map((p) => `  ${p}\n`).join('')}`.trimEnd();
  return errorText(error);
}
