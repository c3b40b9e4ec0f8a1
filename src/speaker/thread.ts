/**
 * The main thread's handle on the speaker's thread.
 *
 * Routes come in packed buffers, at most `CREDITS` on the way; each is decoded and handed on whole, and its credit
 * goes back when that is done, so that a busy main thread makes changes wait, coalesced by prefix, in the speaker.
 */
import { Worker } from 'node:worker_threads';
import {
  decodeRouteChanges,
  type RouteAnswer,
  type RouteQuery,
  type SpeakerConfig,
  type SpeakerStatus,
  type StopMode,
} from '#bgp';
import type { Cidr, IpAddress, Logger } from '#kit';
import type { FromSpeaker, ToSpeaker } from './messages.ts';

export interface SpeakerThreadOptions {
  readonly config: SpeakerConfig;
  readonly log: Logger;
  /** Best paths that changed since the last call. */
  readonly onRoutes: (delta: RouteDelta) => void;
  /** Once: every route known at the end of the restart's selection deferral came before. */
  readonly onDeferralEnded: () => void;
}

export interface RouteDelta {
  readonly upsert: readonly { readonly prefix: Cidr; readonly nextHops: readonly IpAddress[] }[];
  readonly withdraw: readonly Cidr[];
}

export interface SpeakerThread {
  configure(config: SpeakerConfig): void;
  /** The link to a peer is gone: its session ends now, its routes with it. */
  pathLost(peer: string): void;
  /** A link came back: dial whoever waits. */
  pathBack(): void;
  status(): Promise<SpeakerStatus>;
  /** @throws RangeError on a query that names what is not there. */
  routes(query: RouteQuery): Promise<RouteAnswer>;
  /** Resolves when sessions have ended and the thread has. */
  stop(mode: StopMode): Promise<void>;
}

/** An uncaught error in the thread ends the process, as one here would. */
export function startSpeakerThread(options: SpeakerThreadOptions): SpeakerThread {
  const { log } = options;
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: { config: options.config } });
  const asked = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let lastId = 0;
  const send = (message: ToSpeaker): void => worker.postMessage(message);
  const ask = <T>(message: (id: number) => ToSpeaker): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      const id = ++lastId;
      asked.set(id, { resolve, reject });
      send(message(id));
    });

  let stopped: (() => void) | undefined;
  worker.on('error', (error) => {
    setImmediate(() => {
      throw error;
    });
  });
  worker.on('exit', (code) => {
    for (const { reject } of asked.values()) reject(new Error('the BGP speaker has stopped'));
    asked.clear();
    if (stopped) stopped();
    else throw new Error(`the BGP speaker's thread ended by itself with code ${code}`);
  });
  worker.on('message', (message: FromSpeaker) => {
    switch (message.type) {
      case 'routeBuffer':
        deliver(message.buffer, options);
        send({ type: 'credit' });
        break;
      case 'answer':
        asked.get(message.id)?.resolve(message.value as never);
        asked.delete(message.id);
        break;
      case 'refused':
        asked.get(message.id)?.reject(new RangeError(message.reason));
        asked.delete(message.id);
        break;
      case 'log':
        log[message.level](message.fields, message.message);
        break;
      case 'stopped':
        break;
    }
  });

  return {
    configure: (config) => send({ type: 'configure', config }),
    pathLost: (peer) => send({ type: 'pathLost', peer }),
    pathBack: () => send({ type: 'pathBack' }),
    status: () => ask((id) => ({ type: 'status', id })),
    routes: (query) => ask((id) => ({ type: 'routes', id, query })),
    stop: (mode) =>
      new Promise((resolve) => {
        stopped = resolve;
        send({ type: 'stop', mode });
      }),
  };
}

function deliver(buffer: ArrayBuffer, options: SpeakerThreadOptions): void {
  const upsert: RouteDelta['upsert'][number][] = [];
  const withdraw: Cidr[] = [];
  let ended = false;
  for (const change of decodeRouteChanges(buffer)) {
    if (change.type === 'upsert') upsert.push(change);
    else if (change.type === 'withdraw') withdraw.push(change.prefix);
    else ended = true;
  }
  if (upsert.length > 0 || withdraw.length > 0) options.onRoutes({ upsert, withdraw });
  if (ended) options.onDeferralEnded();
}
