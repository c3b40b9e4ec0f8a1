/**
 * The API server as everybody in the agent uses it: one transport, made anew when it ends, when the server says GOAWAY and
 * when the credentials of the connection change. Attempts to connect are shared and paced: however many wait, one tries, at
 * most every few seconds at random, so that a server that comes back is not met by all nodes in the same moment.
 *
 * A request is sent again only if the server has certainly not acted on it, or if it is a GET.
 */
import { type Clock, errorText, type Logger, systemClock } from '#kit';
import { Backoff, sleep } from './backoff.ts';
import { type KubeClient, KubeError, type KubeRequest, type KubeResponse } from './client.ts';
import { type Credential, type Credentials, createCredentials } from './credentials.ts';
import type { KubeConfigOptions } from './kubeconfig.ts';
import type { KubeObserver } from './observer.ts';
import { isProtobuf, parseProtobufObject } from './protobuf.ts';
import { connect, type Transport, TransportError, type WireRequest, type WireResponse } from './transport.ts';

const requestTimeoutMs = 30_000;
/** Of an answer that is held in memory; lists and watches are streamed. */
const answerBytesMax = 64 * 1024 * 1024;
/** A server that is back is found within this. */
const connectPauseMaxMs = 3_000;

export interface KubeStream {
  readonly status: number;
  readonly contentType?: string | undefined;
  readonly retryAfterSec?: number;
  /** Fails when the answer is cut off. Destroy it to cancel. */
  readonly body: WireResponse['body'];
}

export interface KubeStreamRequest extends Omit<KubeRequest, 'method' | 'body' | 'contentType'> {
  /** Default application/json. */
  readonly accept?: string;
}

export interface KubeConnection extends KubeClient {
  /**
   * A GET whose answer is read as it comes. Waits for a connection as long as one attempt takes; `timeoutMs` is until the head
   * of the answer.
   *
   * @throws KubeError
   */
  open(request: KubeStreamRequest): Promise<KubeStream>;
  /** Whole text of a stream's answer as `request` would give it. */
  collect(stream: KubeStream): Promise<KubeResponse>;
  /** How many attempts to connect failed since the last that did not. */
  readonly failedAttempts: number;
  close(): Promise<void>;
}

export interface KubeConnectionDeps {
  readonly log: Logger;
  readonly clock?: Clock;
  /** 0 <= x < 1. */
  readonly random?: () => number;
  /** For metrics. */
  readonly observer?: KubeObserver;
}

export interface KubeConnectionOptions extends KubeConfigOptions {
  /** E.g. `poplin/1.0.0`. */
  readonly userAgent?: string;
}

/**
 * For after the last chunk: node:http2 ends a stream without an error when the connection goes in the middle of it.
 *
 * @throws Error when the answer was cut off.
 */
export function mustBeWhole({ body }: KubeStream): void {
  if (!body.readableEnded) throw new Error('the answer was cut off');
}

/** Nothing is read or sent until the first request. */
export function connectKube(deps: KubeConnectionDeps, options: KubeConnectionOptions = {}): KubeConnection {
  return new Connection(deps, options);
}

class Connection implements KubeConnection {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #userAgent: string;
  readonly #observer: KubeObserver | undefined;
  readonly #credentials: Credentials;
  readonly #pace: Backoff;
  readonly #closing = new AbortController();
  #transport: { readonly transport: Transport; readonly connectionId: string } | undefined;
  #connecting: Promise<Transport> | undefined;
  /** Before this no new attempt begins. */
  #notBeforeMs = 0;
  #lastError: unknown;
  failedAttempts = 0;

  constructor(deps: KubeConnectionDeps, options: KubeConnectionOptions) {
    this.#log = deps.log;
    this.#clock = deps.clock ?? systemClock({ unref: true });
    this.#userAgent = options.userAgent ?? 'poplin';
    this.#observer = deps.observer;
    this.#credentials = createCredentials({ log: deps.log, clock: this.#clock }, options);
    this.#pace = new Backoff(deps.random ?? Math.random, { baseMs: 200, maxMs: connectPauseMaxMs });
  }

  get server(): string {
    return this.#credentials.server;
  }

  async request(request: KubeRequest): Promise<KubeResponse> {
    const timeoutMs = request.timeoutMs ?? requestTimeoutMs;
    const limit = this.#deadline(timeoutMs, request.signal);
    try {
      for (let attempt = 1; ; attempt++) {
        const response = await this.#send(request, limit.signal, false);
        try {
          return await this.collect({
            status: response.status,
            contentType: response.headers['content-type'],
            ...retryAfter(response),
            body: response.body,
          });
        } catch (error) {
          // Cut off in the middle.
          if (request.method !== 'GET' || attempt >= 2 || limit.signal.aborted) throw error;
        }
      }
    } catch (error) {
      throw this.#kubeError(error, limit.signal);
    } finally {
      limit.end();
    }
  }

  async open(request: KubeStreamRequest): Promise<KubeStream> {
    const limit = this.#deadline(request.timeoutMs ?? requestTimeoutMs, undefined);
    const abort = (): void => limit.abort(request.signal?.reason);
    request.signal?.addEventListener('abort', abort, { once: true });
    try {
      const response = await this.#send({ ...request, method: 'GET' }, limit.signal, true);
      response.body.once('close', () => request.signal?.removeEventListener('abort', abort));
      const { status, headers, body } = response;
      return { status, contentType: headers['content-type'], ...retryAfter(response), body };
    } catch (error) {
      request.signal?.removeEventListener('abort', abort);
      throw this.#kubeError(error, limit.signal);
    } finally {
      limit.end();
    }
  }

  async collect(stream: KubeStream): Promise<KubeResponse> {
    const parts: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of stream.body) {
        parts.push(chunk as Buffer);
        bytes += (chunk as Buffer).length;
        if (bytes > answerBytesMax) throw new Error(`the answer has more than ${answerBytesMax} bytes`);
      }
      mustBeWhole(stream);
    } catch (error) {
      throw this.#kubeError(error, undefined);
    }
    const whole = Buffer.concat(parts);
    const { status, retryAfterSec, contentType } = stream;
    const body = isProtobuf(contentType) ? (parseProtobufObject(whole) ?? '') : parseJson(whole.toString('utf8'));
    return { status, body, ...(retryAfterSec === undefined ? {} : { retryAfterSec }) };
  }

  async close(): Promise<void> {
    this.#closing.abort(new KubeError('the connection was closed', { code: 'CLOSED' }));
    this.#transport?.transport.close(true);
    this.#transport = undefined;
    await this.#connecting?.catch(() => undefined);
  }

  /** Aborts after `timeoutMs`, with `signal`, and when the connection is closed. `end` stops the clock only. */
  #deadline(
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): { signal: AbortSignal; abort: (reason: unknown) => void; end: () => void } {
    const own = new AbortController();
    const cancel = this.#clock.schedule(timeoutMs, () =>
      own.abort(new Error(`no answer within ${timeoutMs / 1000} s`)),
    );
    const closed = (): void => own.abort(this.#closing.signal.reason);
    const given = (): void => own.abort(signal?.reason);
    if (this.#closing.signal.aborted) closed();
    this.#closing.signal.addEventListener('abort', closed);
    if (signal?.aborted) given();
    signal?.addEventListener('abort', given);
    return {
      signal: own.signal,
      abort: (reason) => own.abort(reason),
      end: () => {
        cancel();
        this.#closing.signal.removeEventListener('abort', closed);
        signal?.removeEventListener('abort', given);
      },
    };
  }

  /** Sends, again where that is safe: on a connection that turned out to be dead, and once with credentials read anew. */
  async #send(
    request: KubeRequest & { readonly accept?: string },
    signal: AbortSignal,
    patient: boolean,
  ): Promise<WireResponse> {
    let refused = false;
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      const credential = await this.#credentials.current();
      const transport = await this.#connected(credential, signal, patient);
      let response: WireResponse;
      try {
        response = await transport.send(this.#wire(request, credential), signal);
        this.#observer?.answered(verbOf(request, patient), response.status);
      } catch (error) {
        this.#observer?.answered(verbOf(request, patient), 0);
        const repeatable = error instanceof TransportError && (error.untouched || request.method === 'GET');
        if (!repeatable || attempt >= 3 || signal.aborted) throw error;
        continue;
      }
      if (response.status !== 401 || refused) return response;
      this.#credentials.refused();
      const next = await this.#credentials.current();
      if (next === credential) return response;
      refused = true;
      response.body.destroy();
    }
  }

  #wire(request: KubeRequest & { readonly accept?: string }, credential: Credential): WireRequest {
    const query = Object.entries(request.query ?? {}).map(([key, value]) => `${key}=${encodeURIComponent(value)}`);
    const prefix = new URL(credential.server).pathname.replace(/\/$/, '');
    return {
      method: request.method,
      path: `${prefix}${request.path}${query.length > 0 ? `?${query.join('&')}` : ''}`,
      headers: {
        accept: request.accept ?? 'application/json',
        'user-agent': this.#userAgent,
        ...credential.headers,
        ...(request.body === undefined ? {} : { 'content-type': request.contentType ?? 'application/json' }),
      },
      ...(request.body === undefined ? {} : { body: Buffer.from(JSON.stringify(request.body)) }),
    };
  }

  /** `patient` waits for the next attempt; otherwise the last failure counts until then. */
  async #connected(credential: Credential, signal: AbortSignal, patient: boolean): Promise<Transport> {
    const current = this.#transport;
    if (current?.transport.usable && current.connectionId === credential.connectionId) return current.transport;
    if (!this.#connecting) {
      const waitMs = this.#notBeforeMs - this.#clock.nowMs();
      if (waitMs > 0 && !patient) throw this.#lastError;
      this.#connecting = this.#connect(credential, waitMs).finally(() => {
        this.#connecting = undefined;
      });
      // Whoever waits may give up before it is settled.
      this.#connecting.catch(() => undefined);
    }
    return Promise.race([this.#connecting, aborted(signal)]);
  }

  async #connect(credential: Credential, waitMs: number): Promise<Transport> {
    if (waitMs > 0) await sleep(this.#clock, waitMs, this.#closing.signal);
    this.#closing.signal.throwIfAborted();
    // What is under way on the old one goes on there to its end.
    this.#transport?.transport.close(false);
    this.#transport = undefined;
    try {
      const transport = await connect(this.#clock, credential);
      if (this.#closing.signal.aborted) transport.close(true);
      this.#closing.signal.throwIfAborted();
      this.#transport = { transport, connectionId: credential.connectionId };
      if (this.failedAttempts > 0) this.#log.info({ server: this.server }, 'the API server answers again');
      this.failedAttempts = 0;
      this.#notBeforeMs = 0;
      this.#pace.reset();
      this.#log.debug({ server: this.server, protocol: transport.protocol }, 'connected to the API server');
      return transport;
    } catch (error) {
      this.failedAttempts++;
      if (this.failedAttempts === 1) {
        this.#log.warn({ server: this.server, error: errorText(error) }, 'cannot connect to the API server');
      }
      this.#lastError = error;
      // Its certificate may be a new authority's.
      this.#credentials.refused();
      this.#notBeforeMs = this.#clock.nowMs() + this.#pace.next();
      throw error;
    }
  }

  #kubeError(error: unknown, signal: AbortSignal | undefined): unknown {
    if (error instanceof KubeError) return error;
    if (this.#closing.signal.aborted) return this.#closing.signal.reason;
    const text = signal?.aborted ? errorText(signal.reason) : errorText(error);
    const { server } = this;
    return new KubeError(`API server ${server}: ${text}`, { code: 'UNREACHABLE', server }, { cause: error });
  }
}

const verbs = { GET: 'get', POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' } as const;

function verbOf({ method, query }: KubeRequest, streamed: boolean): Parameters<KubeObserver['answered']>[0] {
  if (!streamed) return verbs[method];
  return query?.['watch'] ? 'watch' : 'list';
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

function retryAfter({ headers }: WireResponse): { retryAfterSec?: number } {
  const seconds = Number(headers['retry-after'] ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? { retryAfterSec: seconds } : {};
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}
