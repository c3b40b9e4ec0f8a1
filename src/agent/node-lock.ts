/** One agent on a node: whoever has its directories, and its network namespace. */
import fs from 'node:fs';
import type { AgentConfig } from '#config';
import { errorText } from '#kit';
import { acquireLock } from '#sys';
import { AgentError } from './errors.ts';
import { claimNamespace } from './namespace-lock.ts';
import { agentPaths } from './system.ts';

/** @throws AgentError LOCKED when another agent runs with the same run directory. */
export function takeLock(config: AgentConfig): () => void {
  for (const directory of [config.runDir, config.stateDir]) {
    try {
      fs.mkdirSync(directory, { recursive: true, mode: 0o755 });
    } catch (error) {
      const text = `${directory} cannot be made: ${errorText(error)}; give another with --run-dir or --state-dir`;
      throw new AgentError(text, { code: 'DIRECTORY', path: directory }, { cause: error });
    }
  }
  const { lock } = agentPaths(config);
  const taken = acquireLock(lock);
  if (taken.held) return () => taken.release();
  const { holderPid } = taken;
  const text = `another poplin agent runs here: process ${holderPid} holds ${lock}; stop it first, or give this one directories of its own`;
  throw new AgentError(text, { code: 'LOCKED', lock, holderPid });
}

/**
 * As `takeLock`, and the network namespace with it: agents with directories of their own would fight over one kernel.
 *
 * @throws AgentError LOCKED
 */
export async function takeNode(config: AgentConfig): Promise<() => void> {
  const release = takeLock(config);
  try {
    const claim = await claimNamespace({ pid: process.pid, runDir: config.runDir });
    if (claim.held) {
      return () => {
        claim.release();
        release();
      };
    }
    const { pid, runDir } = claim.holder;
    const who = pid > 0 ? `process ${pid} with run directory ${runDir}` : 'a process that does not say which';
    throw new AgentError(`another poplin agent runs in this network namespace: ${who}; stop it first`, {
      code: 'LOCKED',
      lock: '@poplin-agent',
      holderPid: pid,
    });
  } catch (error) {
    release();
    throw error;
  }
}
