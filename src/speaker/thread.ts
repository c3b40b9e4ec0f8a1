/** The main thread's side of the speaker's thread. */
import { Worker } from 'node:worker_threads';
import {
  decodeRouteChanges,
  type PathSelector,
  type PeerStatus,
  type RouteAnswer,
  type RouteChange,
  type RouteQuery,
  type SpeakerConfig,
  type SpeakerStatus,
  type StopMode,
} from '#bgp';
import type { Logger } from '#kit';
import type { FromSpeaker, ToSpeaker } from './protocol.ts';

export interface SpeakerThreadOptions {
  readonly config: SpeakerConfig;
  readonly log: Logger;
  /**
   * Changes of chosen routes, a buffer at a time, in order: iterate now (decoding is lazy). More are sent once the promise
   * is settled, so that a slow consumer is not flooded. `deferralEnded` comes once: every route that live peers had was
   * told before it, and what an earlier run left besides may be swept.
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
  /** The link to peers is down: their sessions end and their routes go now, graceful restart or not. */
  pathLost(which: PathSelector): void;
  /** The way to peers may be back: dial now. Without a selector: all that wait. */
  pathBack(which?: PathSelector): void;
}

/**
 * Starts the speaker in a thread of its own. An uncaught error in the thread is thrown here as an uncaught error, which
 * ends the process.
 *
 * @throws Error when it cannot start: an address cannot be listened on, a value of the configuration is impossible.
 */
export async function startSpeakerThread(options: SpeakerThreadOptions): Promise<SpeakerThread> {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: options.config, name: 'speaker' });
  const post = (message: ToSpeaker): void => worker.postMessage(message);
  const questions = new Questions(post);
  const gone = new Promise<void>((resolve) => {
    worker.once('exit', () => {
      questions.end();
      resolve();
    });
  });
  await new Promise<void>((resolve, reject) => {
    let started = false;
    worker.on('error', (error) => {
      reject(error);
      // Out of any promise: nobody may swallow it.
      if (started) {
        setImmediate(() => {
          throw error;
        });
      }
    });
    worker.on('message', (message: FromSpeaker) => {
      if (message.type === 'started') {
        started = true;
        resolve();
      } else if (message.type === 'stopped') void worker.terminate();
      else if (message.type === 'failed') reject(new Error(message.message));
      else receive(options, message, questions, post);
    });
  });

  return {
    configure: (config) => post({ type: 'configure', config }),
    async stop(mode) {
      post({ type: 'stop', mode });
      await gone;
    },
    status: () => questions.ask((id) => ({ type: 'status', id })),
    routes: (query) => questions.ask((id) => ({ type: 'routes', id, query })),
    pathLost: (which) => post({ type: 'pathLost', which }),
    pathBack: (which = {}) => post({ type: 'pathBack', which }),
  };
}

function receive(
  options: SpeakerThreadOptions,
  message: Exclude<FromSpeaker, { readonly type: 'started' | 'failed' | 'stopped' }>,
  questions: Questions,
  post: (message: ToSpeaker) => void,
): void {
  switch (message.type) {
    case 'routes':
      void deliver(options, message.buffer).then(() => post({ type: 'credit' }));
      return;
    case 'peer':
      options.onPeerState(message.status);
      return;
    case 'log':
      options.log[message.level](message.fields, message.message);
      return;
    case 'status':
      questions.answer(message.id, message.status);
      return;
    case 'answer':
      questions.answer(message.id, message.answer);
      return;
    case 'refused':
      questions.refuse(message.id, new RangeError(message.message));
      return;
  }
}

async function deliver(options: SpeakerThreadOptions, buffer: ArrayBuffer): Promise<void> {
  await options.onRoutes(decodeRouteChanges(buffer));
}

/** Questions to the thread that wait for their answers. */
class Questions {
  readonly #post: (message: ToSpeaker) => void;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #nextId = 1;
  #ended = false;

  constructor(post: (message: ToSpeaker) => void) {
    this.#post = post;
  }
  ask<T>(make: (id: number) => ToSpeaker): Promise<T> {
    if (this.#ended) return Promise.reject(new Error('the speaker has stopped'));
    return new Promise<T>((resolve, reject) => {
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#post(make(id));
    });
  }
  answer(id: number, value: unknown): void {
    this.#waiting.get(id)?.resolve(value);
    this.#waiting.delete(id);
  }
  refuse(id: number, error: Error): void {
    this.#waiting.get(id)?.reject(error);
    this.#waiting.delete(id);
  }
  end(): void {
    this.#ended = true;
    for (const { reject } of this.#waiting.values()) reject(new Error('the speaker has stopped'));
    this.#waiting.clear();
  }
}
