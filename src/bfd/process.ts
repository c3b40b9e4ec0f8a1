/**
 * The owner's side of the process of BFD. The owner is the speaker's thread, so that news of a session that fell goes to where routes are
 * dropped without passing main. The process starts with the first session that is wanted: who uses no BFD has none of it. It shares the
 * owner's fate: it ends when the owner is gone however it went, and the owner does not survive it.
 *
 * Why no thread: all threads of a process share V8's queue of work for its helper threads, and locks of its compilers. One that has no real-time
 * scheduling, put aside by the scheduler of a busy machine while it holds such a lock or is awaited by a collection of garbage, keeps a
 * thread that has it waiting (345 ms seen, detection time being 150 ms).
 */
import type { BfdPort, BfdSessionConfig, BfdSessionStatus } from '#bgp';
import type { Logger } from '#kit';
import { startNodeChild } from '#sys';
import type { BfdStop, BfdTiming, FromBfd, ToBfd } from './protocol.ts';

/** V8 compiles and collects in the thread that needs it, and nowhere else. MiB: enough for as many sessions as may be. */
const options = ['--single-threaded', '--v8-pool-size=1', '--max-old-space-size=64'];

export interface BfdProcess extends BfdPort {
  /** Resolves when the process is gone. */
  stop(how: BfdStop): Promise<void>;
  /** How well it keeps time; undefined when it does not run. */
  timing(): Promise<BfdTiming | undefined>;
}

/** A process that ends unasked is thrown here as an uncaught error: a BFD that is silently gone would be a failure that nobody notices. */
export function createBfdProcess(log: Logger, onChange: (status: BfdSessionStatus) => void): BfdProcess {
  let post: ((message: ToBfd) => void) | undefined;
  let gone = Promise.resolve();
  let stopping = false;
  let nextId = 1;
  const waiting = new Map<number, (timing: BfdTiming | undefined) => void>();

  const receive = (message: FromBfd): void => {
    switch (message.type) {
      case 'sessions':
        for (const status of message.statuses) onChange(status);
        return;
      case 'log':
        log[message.level](message.fields, message.message);
        return;
      case 'timing':
        waiting.get(message.id)?.(message.timing);
        waiting.delete(message.id);
    }
  };
  const start = (): void => {
    stopping = false;
    const child = startNodeChild(new URL('./main.ts', import.meta.url), options, (message) =>
      receive(message as FromBfd),
    );
    post = (message) => child.send(message);
    gone = child.ended.then(({ code, signal }) => {
      post = undefined;
      for (const answer of waiting.values()) answer(undefined);
      waiting.clear();
      if (!stopping) fail(new Error(`the process of BFD ended: ${signal ?? `exit code ${code}`}`));
    }, fail);
  };

  return {
    configure(sessions: readonly BfdSessionConfig[]) {
      if (!post && sessions.length > 0) start();
      post?.({ type: 'configure', sessions });
    },
    async stop(how) {
      stopping = true;
      post?.({ type: 'stop', how });
      await gone;
    },
    timing() {
      if (!post) return Promise.resolve(undefined);
      const id = nextId++;
      const answer = new Promise<BfdTiming | undefined>((resolve) => waiting.set(id, resolve));
      post({ type: 'timing', id });
      return answer;
    },
  };
}

/** Out of any promise: nobody may swallow it. */
function fail(error: Error): void {
  setImmediate(() => {
    throw error;
  });
}
