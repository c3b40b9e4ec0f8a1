/**
 * The owner's side of the thread of BFD. The owner is the speaker's thread, so that news of a session that fell goes to where routes are
 * dropped without passing main. The thread starts with the first session that is wanted: who uses no BFD has none of it.
 *
 * That the owner has `#sys`, too, is needed: a process that exits ends its threads as they are, and koffi's library would be unloaded with the
 * last thread that has it, before the handles in it are closed (SIGSEGV, seen with koffi 3.3.4). The owner outlives this thread.
 */
import { Worker } from 'node:worker_threads';
import type { BfdPort, BfdSessionConfig, BfdSessionStatus } from '#bgp';
import type { Logger } from '#kit';
import { EventFd } from '#sys';
import type { BfdStop, BfdTiming, BfdWorkerData, FromBfd, ToBfd } from './protocol.ts';

/** Of V8 in that thread. A young space that fills but every few minutes: see service.ts. */
const resourceLimits = { maxYoungGenerationSizeMb: 16, maxOldGenerationSizeMb: 64 };

export interface BfdThread extends BfdPort {
  /** Resolves when the thread is gone. */
  stop(how: BfdStop): Promise<void>;
  /** Undefined: there is no thread. */
  timing(): Promise<BfdTiming | undefined>;
}

/** An uncaught error in the thread is thrown here as an uncaught error. */
export function createBfdThread(log: Logger, onChange: (status: BfdSessionStatus) => void): BfdThread {
  let worker: Worker | undefined;
  let wake: EventFd | undefined;
  let gone = Promise.resolve();
  let nextId = 1;
  const waiting = new Map<number, (timing: BfdTiming | undefined) => void>();
  const post = (message: ToBfd): void => {
    worker?.postMessage(message);
    wake?.signal();
  };

  const start = (): void => {
    const waking = new EventFd();
    const data: BfdWorkerData = { wakeFd: waking.fd };
    const options = { name: 'bfd', resourceLimits, workerData: data };
    const started = new Worker(new URL('./worker.ts', import.meta.url), options);
    worker = started;
    wake = waking;
    gone = new Promise((resolve) => {
      started.once('exit', () => {
        worker = undefined;
        wake = undefined;
        waking.close();
        for (const answer of waiting.values()) answer(undefined);
        waiting.clear();
        resolve();
      });
    });
    started.on('error', (error) => {
      setImmediate(() => {
        throw error;
      });
    });
    started.on('message', (message: FromBfd) => {
      switch (message.type) {
        case 'session':
          onChange(message.status);
          return;
        case 'log':
          log[message.level](message.fields, message.message);
          return;
        case 'timing':
          waiting.get(message.id)?.(message.timing);
          waiting.delete(message.id);
          return;
        case 'stopped':
          void started.terminate();
      }
    });
  };

  return {
    configure(sessions: readonly BfdSessionConfig[]) {
      if (!worker && sessions.length > 0) start();
      post({ type: 'configure', sessions });
    },
    async stop(how) {
      post({ type: 'stop', how });
      await gone;
    },
    timing() {
      if (!worker) return Promise.resolve(undefined);
      const id = nextId++;
      return new Promise((resolve) => {
        waiting.set(id, resolve);
        post({ type: 'timing', id });
      });
    },
  };
}
