/** The main thread's side of the speaker's thread. */
import { Worker } from 'node:worker_threads';
import {
  decodeRouteChanges,
  type PeerStatus,
  type RouteAnswer,
  type RouteChange,
  type RouteQuery,
  type SpeakerConfig,
  type SpeakerStatus,
  type StopMode,
} from '#bgp';
import type { Logger } from '#kit';
import type { FromSpeaker, PathSelector, ToSpeaker } from './protocol.ts';

export interface SpeakerThreadOptions {
  readonly config: SpeakerConfig;
  readonly log: Logger;
  /**
   * Chosen routes, a buffer at a time, in order: iterate now (decoding is lazy). The next buffers are sent once the promise
   * is settled, so that a slow consumer is not flooded.
   */
  readonly onRoutes: (changes: Iterable<RouteChange>) => void | Promise<void>;
  readonly onPeerState: (status: PeerStatus) => void;
}

export interface SpeakerThread {
  configure(config: SpeakerConfig): void;
  /** Sessions end as `mode` says; resolves when the thread is gone. */
  stop(mode: StopMode): Promise<void>;
  status(): Promise<SpeakerStatus>;
  /** @throws RangeError on a query that names what is not there. */
  routes(query: RouteQuery): Promise<RouteAnswer>;
  /** The link to peers is down: their sessions end and their routes go now. */
  pathLost(which: PathSelector): void;
  /** The way to peers may be back: dial now. */
  pathBack(which?: PathSelector): void;
}

/**
 * Starts the speaker in a thread of its own.
 *
 * An uncaught error in the thread is thrown here as an uncaught error, which ends the process.
 *
 * @throws Error when it cannot start: an address cannot be listened on, a value of the configuration is impossible.
 */
export async function startSpeakerThread(options: SpeakerThreadOptions): Promise<SpeakerThread> {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: options.config, name: 'speaker' });
  const questions = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let nextId = 1;
  const post = (message: ToSpeaker): void => worker.postMessage(message);

  await new Promise<void>((resolve, reject) => {
    let started = false;
    worker.on('error', (error) => {
      if (!started) reject(error);
      // Out of any promise: nobody may swallow it.
      else
        setImmediate(() => {
          throw error;
        });
    });
    worker.on('message', (message: FromSpeaker) => {
      switch (message.type) {
        case 'started':
          started = true;
          resolve();
          return;
        case 'failed':
          void worker.terminate();
          reject(new Error(message.message));
          return;
        case 'routes':
          void work(options, message.buffer, () => post({ type: 'credit' }));
          return;
        case 'peer':
          options.onPeerState(message.status);
          return;
        case 'log':
          options.log[message.level](message.fields, message.message);
          return;
        case 'status':
          questions.get(message.id)?.resolve(message.status as never);
          questions.delete(message.id);
          return;
        case 'answer':
          questions.get(message.id)?.resolve(message.answer as never);
          questions.delete(message.id);
          return;
        case 'refused':
          questions.get(message.id)?.reject(new RangeError(message.message));
          questions.delete(message.id);
          return;
        case 'stopped':
          return;
      }
    });
  });

  const gone = new Promise<void>((resolve) => {
    worker.once('exit', () => {
      for (const { reject } of questions.values()) reject(new Error('the speaker has stopped'));
      questions.clear();
      resolve();
    });
  });
  const ask = <T>(make: (id: number) => ToSpeaker): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      const id = nextId++;
      questions.set(id, { resolve, reject });
      post(make(id));
    });

  return {
    configure: (config) => post({ type: 'configure', config }),
    async stop(mode) {
      post({ type: 'stop', mode });
      await gone;
    },
    status: () => ask((id) => ({ type: 'status', id })),
    routes: (query) => ask((id) => ({ type: 'routes', id, query })),
    pathLost: (which) => post({ type: 'pathLost', which }),
    pathBack: (which = {}) => post({ type: 'pathBack', which }),
  };
}

async function work(options: SpeakerThreadOptions, buffer: ArrayBuffer, credit: () => void): Promise<void> {
  await options.onRoutes(decodeRouteChanges(buffer));
  credit();
}
