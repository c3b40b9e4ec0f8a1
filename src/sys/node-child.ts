import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Descriptor of the channel in a {@link NodeChild}: readable with a message, and when its parent is gone. */
export const channelFd = 3;

export interface NodeChild {
  /** As JSON, in order. One that a child does not take because it has ended is dropped. */
  send(message: object): void;
  /** How it ended. @throws Error when it could not be started. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

/**
 * A module run by this Node in a process of its own. It has our environment and stderr, and talks by `process.send` and `process.on('message')`;
 * it is to end when it is disconnected, which it is however its parent goes, and not for a signal that a terminal or a service manager
 * sends to all.
 *
 * @param options of Node and V8: ours are not handed on.
 */
export function startNodeChild(
  module: URL,
  options: readonly string[],
  onMessage: (message: unknown) => void,
): NodeChild {
  const child = fork(fileURLToPath(module), [], {
    execArgv: [...options],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  child.on('message', onMessage);
  return {
    send: (message) => void child.send(message, () => undefined),
    ended: new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve({ code, signal }));
    }),
  };
}
