/**
 * Which agent a command asks: --socket, else POPLIN_API_SOCKET, else api.sock in POPLIN_RUN_DIR or the default folder; where no
 * agent has one, that of a stand-alone speaker.
 */
import fs from 'node:fs';
import type { Command } from 'commander';
import { type ApiClient, createApiClient } from '#api';
import { agentOptions, envOf } from '#config';
import { type OutputFormat, withOutput } from './output.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface AskOptions {
  readonly socket?: string;
  readonly output: OutputFormat;
}

/** Options of every command that asks the agent. */
export function asking(command: Command): Command {
  return withOutput(command).option(
    '--socket <path>',
    `the agent's socket (default: $${envOf('apiSocket')}, or ${socketPath({}, {})})`,
  );
}

export function socketPath(options: { readonly socket?: string }, env: Environment): string {
  const named = options.socket ?? env[envOf('apiSocket')];
  if (named) return named;
  const agents = `${runDirOf(env)}/api.sock`;
  return !fs.existsSync(agents) && fs.existsSync(speakerSocketPath(env)) ? speakerSocketPath(env) : agents;
}

/** Of the stand-alone speaker. */
export function speakerSocketPath(env: Environment): string {
  return `${runDirOf(env)}/speaker.sock`;
}

function runDirOf(env: Environment): string {
  return env[envOf('runDir')] || agentOptions.runDir.default;
}

export function connect(options: { readonly socket?: string }, env: Environment): ApiClient {
  return createApiClient({ socketPath: socketPath(options, env) });
}
