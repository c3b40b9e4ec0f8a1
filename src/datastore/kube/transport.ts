/**
 * One way to the API server: HTTP/2 with every request and watch on one TCP connection, or HTTP/1.1 where ALPN says that
 * whoever answers (a proxy) speaks nothing else. Knows of requests and streams only; who reconnects is `connection.ts`.
 */
import type http from 'node:http';
import http2 from 'node:http2';
import type { Readable } from 'node:stream';
import tls from 'node:tls';
import { type Clock, errorText } from '#kit';
import type { Credential } from './credentials.ts';

const connectTimeoutMs = 10_000;
const pingIntervalMs = 30_000;
const pingTimeoutMs = 15_000;
/** Node's 64 KiB would make a long list wait a round trip for every 64 KiB. */
const streamWindowBytes = 512 * 1024;
const connectionWindowBytes = 4 * 1024 * 1024;

export interface WireRequest {
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

export interface WireResponse {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Fails when the answer is cut off. Destroying it cancels the request. */
  readonly body: Readable;
}

export interface Transport {
  readonly protocol: 'h2' | 'http/1.1';
  /** False once it takes no new requests: closed, or asked by the server to go away. */
  readonly usable: boolean;
  /** Resolves with the head of the answer. @throws TransportError */
  send(request: WireRequest, signal: AbortSignal): Promise<WireResponse>;
  /** Lets what is under way end; `force` does not. */
  close(force: boolean): void;
}

export class TransportError extends Error {
  /** The server has certainly not acted on the request. */
  readonly untouched: boolean;

  constructor(message: string, options: { readonly untouched: boolean; readonly cause?: unknown }) {
    super(message, { cause: options.cause });
    this.name = 'TransportError';
    this.untouched = options.untouched;
  }
}

/** @throws TransportError when nothing answers, or not whom the certificate should name. */
export async function connect(clock: Clock, credential: Credential): Promise<Transport> {
  const url = new URL(credential.server);
  if (url.protocol === 'http:') {
    const client = process.getBuiltinModule('node:http');
    return new Http1Transport(url, client, new client.Agent({ keepAlive: true }));
  }
  const socket = await openTls(clock, url, credential);
  if (socket.alpnProtocol === 'h2') return new Http2Transport(clock, url, socket);
  // Each watch takes a connection of its own from here on; this one told what is spoken and is not needed.
  socket.destroy();
  const client = process.getBuiltinModule('node:https');
  return new Http1Transport(url, client, new client.Agent({ ...credential.tls, keepAlive: true }));
}

function openTls(clock: Clock, url: URL, credential: Credential): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const socket = tls.connect({
      // SNI takes no addresses; certificates are checked against `host` all the same.
      ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
      ...credential.tls,
      host,
      port: Number(url.port || 443),
      ALPNProtocols: ['h2', 'http/1.1'],
    });
    const fail = (error: unknown): void => {
      cancel();
      socket.destroy();
      reject(new TransportError(errorText(error), { untouched: true, cause: error }));
    };
    const cancel = clock.schedule(connectTimeoutMs, () =>
      fail(new Error(`no connection within ${connectTimeoutMs / 1000} s`)),
    );
    socket.setNoDelay(true);
    socket.once('error', fail);
    socket.once('close', () => fail(new Error('closed while connecting')));
    socket.once('secureConnect', () => {
      cancel();
      socket.removeAllListeners('close');
      socket.removeListener('error', fail);
      resolve(socket);
    });
  });
}

class Http2Transport implements Transport {
  readonly protocol = 'h2';
  readonly #clock: Clock;
  readonly #session: http2.ClientHttp2Session;
  #usable = true;
  #cancelPing: () => void;

  constructor(clock: Clock, url: URL, socket: tls.TLSSocket) {
    this.#clock = clock;
    const session = http2.connect(url, {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: streamWindowBytes },
    });
    this.#session = session;
    this.#cancelPing = clock.schedule(pingIntervalMs, () => this.#ping());
    session.once('connect', () => session.setLocalWindowSize(connectionWindowBytes));
    // Streams get their own errors; without a listener this one would end the process.
    session.on('error', () => this.#retire());
    session.on('goaway', () => this.#retire());
    session.on('close', () => this.#retire());
  }

  get usable(): boolean {
    return this.#usable && !this.#session.closed && !this.#session.destroyed;
  }

  #retire(): void {
    this.#usable = false;
    if (this.#session.destroyed) this.#cancelPing();
  }

  /** A peer that vanished sends no RST: without an answer to a ping everything on this connection is over. */
  #ping(): void {
    if (this.#session.destroyed) return;
    let late = false;
    const giveUp = (): void => {
      // One more turn of timers: an answer may lie in the socket when this process itself was stopped for a while.
      if (!late) {
        late = true;
        this.#cancelPing = this.#clock.schedule(1_000, giveUp);
        return;
      }
      this.#session.destroy(new Error(`no answer to a ping within ${pingTimeoutMs / 1000} s`));
    };
    this.#cancelPing = this.#clock.schedule(pingTimeoutMs, giveUp);
    this.#session.ping((error) => {
      this.#cancelPing();
      if (error || this.#session.destroyed) return;
      this.#cancelPing = this.#clock.schedule(pingIntervalMs, () => this.#ping());
    });
  }

  send(request: WireRequest, signal: AbortSignal): Promise<WireResponse> {
    const { promise, resolve, reject } = Promise.withResolvers<WireResponse>();
    let stream: http2.ClientHttp2Stream;
    try {
      stream = this.#session.request(
        { ...request.headers, ':method': request.method, ':path': request.path },
        { endStream: request.body === undefined },
      );
    } catch (error) {
      this.#usable = false;
      throw new TransportError(errorText(error), { untouched: true, cause: error });
    }
    const abort = (): void => stream.close(http2.constants.NGHTTP2_CANCEL);
    const fail = (error: unknown): void => {
      signal.removeEventListener('abort', abort);
      const { rstCode } = stream;
      const untouched = rstCode === http2.constants.NGHTTP2_REFUSED_STREAM || stream.pending;
      const text = signal.aborted ? errorText(signal.reason) : errorText(error);
      reject(new TransportError(text, { untouched, cause: error }));
    };
    stream.on('error', fail);
    stream.once('close', () => fail(new Error('the connection ended before the answer')));
    stream.once('response', (headers) => {
      // From here on `body` reports what happens.
      resolve({ status: headers[':status'] ?? 0, headers, body: stream });
    });
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    if (request.body !== undefined) stream.end(request.body);
    return promise;
  }

  close(force: boolean): void {
    this.#usable = false;
    if (force) this.#session.destroy();
    else this.#session.close();
  }
}

class Http1Transport implements Transport {
  readonly protocol = 'http/1.1';
  readonly #url: URL;
  /** Got when needed, and not by an import: that of node:http loads undici with it, 14 MB. */
  readonly #client: Pick<typeof http, 'request'>;
  readonly #agent: http.Agent;
  #usable = true;

  constructor(url: URL, client: Pick<typeof http, 'request'>, agent: http.Agent) {
    this.#url = url;
    this.#client = client;
    this.#agent = agent;
  }

  get usable(): boolean {
    return this.#usable;
  }

  send(request: WireRequest, signal: AbortSignal): Promise<WireResponse> {
    const { promise, resolve, reject } = Promise.withResolvers<WireResponse>();
    let written = false;
    const wire = this.#client.request({
      agent: this.#agent,
      host: this.#url.hostname.replace(/^\[|\]$/g, ''),
      port: this.#url.port || (this.#url.protocol === 'http:' ? 80 : 443),
      method: request.method,
      path: request.path,
      headers: {
        ...request.headers,
        ...(request.body === undefined ? {} : { 'content-length': request.body.length }),
      },
    });
    const abort = (): void => void wire.destroy(signal.reason as Error);
    wire.setTimeout(0);
    wire.setNoDelay(true);
    wire.setSocketKeepAlive(true, pingIntervalMs);
    wire.on('error', (error) => {
      signal.removeEventListener('abort', abort);
      // What answers may have changed, e.g. a proxy gave way to the server: ask again what it speaks.
      if (!signal.aborted) this.#usable = false;
      reject(new TransportError(errorText(error), { untouched: !written, cause: error }));
    });
    wire.once('socket', (socket) => {
      const write = (): void => {
        written = true;
      };
      if (!socket.connecting) write();
      else socket.once(this.#url.protocol === 'http:' ? 'connect' : 'secureConnect', write);
    });
    wire.once('response', (message) => {
      resolve({ status: message.statusCode ?? 0, headers: message.headers, body: message });
    });
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    wire.end(request.body);
    return promise;
  }

  close(force: boolean): void {
    this.#usable = false;
    if (force) this.#agent.destroy();
  }
}
