/**
 * The API server from this process, as admin: a client over one keep-alive connection whose socket was made in the control
 * plane's namespace. A kubectl costs 100 ms of CPU to start; tests that poll do not want that.
 */
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { netnsPath } from '#lab';
import { type Fd, inNetns, openNetns, tcpSocket } from '#sys';
import { ClusterError } from './errors.ts';
import { addressesOf, apiServerPort, netnsOf } from './layout.ts';
import { pkiFiles, tokenOf } from './pki.ts';

/** What tests read of any object. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
}
export interface KubeList<T> {
  readonly items: readonly T[];
}

const requestTimeoutMs = 20_000;

/** A TCP connection made inside another network namespace; everything after the socket's birth is ordinary. */
export function connectIn(namespace: Fd, host: string, port: number): net.Socket {
  const socket = inNetns(namespace, () => tcpSocket({ local: host.includes(':') ? '::' : '0.0.0.0', port: 0, tos: 0 }));
  const connection = new net.Socket({ fd: socket.take(), manualStart: true } as net.SocketConstructorOpts);
  return connection.connect(port, host);
}

export class ApiClient {
  readonly #agent: https.Agent;
  readonly #namespace: Fd;
  readonly #token: string;

  constructor(token: string = tokenOf('admin')) {
    const namespace = openNetns(netnsPath(netnsOf('wire')));
    const ca = fs.readFileSync(pkiFiles.ca);
    const [host] = addressesOf('wire');
    this.#namespace = namespace;
    this.#token = token;
    this.#agent = new https.Agent({ keepAlive: true, maxSockets: 8 });
    // The types know only the callback form's options; Node takes any Duplex that is returned.
    this.#agent.createConnection = () => tls.connect({ socket: connectIn(namespace, host, apiServerPort), host, ca });
  }

  /** @throws ClusterError API on any status but 2xx; Error when there is no answer. */
  async request<T>(method: string, path: string, body?: unknown, contentType = 'application/json'): Promise<T> {
    const { status, text } = await this.raw(method, path, body, contentType);
    if (status >= 200 && status < 300) return (text ? JSON.parse(text) : undefined) as T;
    const message = text.startsWith('{') ? (JSON.parse(text) as { message?: string }).message : text;
    throw new ClusterError(`${method} ${path}: ${status} ${message}`, { code: 'API', status, path });
  }

  raw(
    method: string,
    path: string,
    body?: unknown,
    contentType = 'application/json',
  ): Promise<{ status: number; text: string }> {
    const payload = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const request = http.request(
        {
          agent: this.#agent,
          protocol: 'https:',
          host: 'kubernetes',
          method,
          path,
          timeout: requestTimeoutMs,
          headers: {
            authorization: `Bearer ${this.#token}`,
            ...(payload === undefined
              ? {}
              : { 'content-type': contentType, 'content-length': Buffer.byteLength(payload) }),
          },
        },
        (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('error', reject);
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }),
          );
        },
      );
      request.on('timeout', () => request.destroy(new Error(`${method} ${path}: no answer in ${requestTimeoutMs} ms`)));
      request.on('error', reject);
      request.end(payload);
    });
  }

  get<T>(path: string): Promise<T> {
    return this.request<T>('GET', path);
  }
  create<T>(path: string, body: unknown): Promise<T> {
    return this.request<T>('POST', path, body);
  }
  /** JSON merge patch. */
  patch<T>(path: string, body: unknown): Promise<T> {
    return this.request<T>('PATCH', path, body, 'application/merge-patch+json');
  }
  /** Undefined when it was not there. */
  async delete<T>(path: string): Promise<T | undefined> {
    return notFoundIsUndefined(this.request<T>('DELETE', path));
  }
  /** Undefined when it is not there. */
  async find<T>(path: string): Promise<T | undefined> {
    return notFoundIsUndefined(this.request<T>('GET', path));
  }

  close(): void {
    this.#agent.destroy();
    this.#namespace.close();
  }
}

async function notFoundIsUndefined<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ClusterError && error.failure.code === 'API' && error.failure.status === 404) return undefined;
    throw error;
  }
}

/** Waits until the API server says that it is ready. */
export async function apiServerReady(api: ApiClient, deadlineMs = 120_000): Promise<void> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const answer = await api.raw('GET', '/readyz').catch((error: Error) => ({ status: 0, text: error.message }));
    if (answer.status === 200) return;
    if (performance.now() > end) throw new Error(`the API server is not ready after ${deadlineMs} ms: ${answer.text}`);
    await sleep(100);
  }
}
