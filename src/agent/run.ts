/** `poplin agent`: one agent as a process, from signals to exit code. */
import type { LoadedConfig } from '#config';
import { createAgent } from './agent.ts';
import { checkFolders } from './folders.ts';
import { takeNode } from './node-lock.ts';

/** A stop that hangs must not keep the supervisor from starting the next run. */
const STOP_WAIT_MS = 10_000;
const FAILED_START_MS = 100;

/**
 * Runs until SIGTERM or SIGINT (peers keep our routes: a restart) or SIGQUIT (drain: peers drop them). Any error that
 * nobody expected ends the process: the kernel goes on forwarding, and the supervisor starts it again.
 *
 * @throws AgentError LOCKED when another agent runs here, DIRECTORY when a folder is of no use.
 */
export async function runAgent(loaded: LoadedConfig): Promise<void> {
  checkFolders(loaded.config);
  const release = await takeNode(loaded.config);
  const agent = createAgent(loaded);
  const stopped = new Promise<void>((resolve, reject) => {
    let stopping = false;
    const stop = (mode: 'graceful' | 'drain'): void => {
      if (stopping) return;
      stopping = true;
      setTimeout(() => process.exit(1), STOP_WAIT_MS).unref();
      agent.stop(mode).then(resolve, reject);
    };
    process.on('SIGTERM', () => stop('graceful'));
    process.on('SIGINT', () => stop('graceful'));
    process.on('SIGQUIT', () => stop('drain'));
  });
  try {
    await agent.start();
  } catch (error) {
    // What did start would keep the process alive for ever, half an agent: the supervisor must see it end, once the failure is told.
    setTimeout(() => process.exit(), FAILED_START_MS).unref();
    throw error;
  }
  await stopped;
  release();
}
