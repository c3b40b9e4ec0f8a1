/** An API server in memory, for tests: lists, pages, WatchList, watches with history, and every way in which they go wrong. */
import { PassThrough } from 'node:stream';
import { KubeError, type KubeRequest, type KubeResponse } from './client.ts';
import type { KubeConnection, KubeStream } from './connection.ts';

export interface FakeObject {
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

type Query = Readonly<Record<string, string | number | boolean>>;
type OpenRequest = Omit<KubeRequest, 'method' | 'body' | 'contentType'>;

interface Watch {
  readonly path: string;
  readonly body: PassThrough;
}

interface Change {
  readonly path: string;
  readonly version: number;
  readonly line: string;
}

export class FakeCluster implements KubeConnection {
  readonly server = 'https://fake:6443';
  failedAttempts = 0;
  /** Every request that was opened, in order. */
  readonly requests: { readonly path: string; readonly query: Query }[] = [];
  readonly watches = new Set<Watch>();
  /** Whether the feature is on. */
  watchList = true;
  /** How 410 comes: as the status of the answer, or as an event of a watch. */
  expiredAs: 'status' | 'event' = 'status';
  /** Asked first for every request; undefined: answer as usual. */
  fault: (request: OpenRequest) => KubeStream | KubeError | undefined = () => undefined;
  /** How many bytes a chunk has. */
  chunkBytes: () => number = () => 1 << 16;
  readonly #objects = new Map<string, Map<string, FakeObject>>();
  readonly #history: Change[] = [];
  #version = 10;
  #compacted = 0;

  /** Paths that are served; others are 404. */
  serve(...paths: readonly string[]): void {
    for (const path of paths) if (!this.#objects.has(path)) this.#objects.set(path, new Map());
  }
  unserve(path: string): void {
    this.#objects.delete(path);
    this.cut(path);
  }

  put(path: string, object: FakeObject): void {
    const all = this.#objects.get(path)!;
    const known = all.has(keyOf(object));
    const stored = this.#stamp(object);
    all.set(keyOf(object), stored);
    this.#tell(path, known ? 'MODIFIED' : 'ADDED', stored);
  }
  remove(path: string, name: string): void {
    const all = this.#objects.get(path)!;
    const object = all.get(name);
    if (!object) return;
    all.delete(name);
    this.#tell(path, 'DELETED', this.#stamp(object));
  }
  objects(path: string): readonly FakeObject[] {
    return [...(this.#objects.get(path)?.values() ?? [])];
  }

  /** History up to now is forgotten. */
  compact(): void {
    this.#compacted = ++this.#version;
  }
  bookmark(path: string): void {
    this.#send(path, event('BOOKMARK', { metadata: { resourceVersion: `${++this.#version}` } }));
  }
  /** Anything onto the watches of a path. */
  send(path: string, text: string): void {
    this.#send(path, text);
  }
  /** Ends watches as a lost connection does, `text` being the last that came. */
  cut(path?: string, text = ''): void {
    for (const watch of [...this.watches]) {
      if (path !== undefined && watch.path !== path) continue;
      this.watches.delete(watch);
      if (text === '') watch.body.destroy(new Error('cut'));
      else {
        watch.body.write(text);
        setImmediate(() => watch.body.destroy(new Error('cut')));
      }
    }
  }
  /** Ends watches as the server does when their time is up. */
  end(path: string): void {
    for (const watch of [...this.watches]) {
      if (watch.path !== path) continue;
      this.watches.delete(watch);
      watch.body.end();
    }
  }

  async open(request: OpenRequest): Promise<KubeStream> {
    const { path, query = {}, signal } = request;
    this.requests.push({ path, query });
    const fault = this.fault(request);
    if (fault instanceof KubeError) throw fault;
    const stream = fault ?? this.#answer(path, query);
    signal?.addEventListener('abort', () => stream.body.destroy(), { once: true });
    return stream;
  }

  async request({ path }: KubeRequest): Promise<KubeResponse> {
    const group = /^\/apis\/[^/]+\/[^/]+$/.test(path) ? path : undefined;
    if (group) {
      const resources = [...this.#objects.keys()]
        .filter((one) => one.startsWith(`${group}/`))
        .map((one) => ({ name: one.slice(group.length + 1) }));
      return resources.length > 0 ? { status: 200, body: { resources } } : { status: 404, body: status(404) };
    }
    const fault = this.fault({ path });
    if (fault instanceof KubeError) throw fault;
    if (fault) return this.collect(fault);
    const match = /^\/api\/v1\/namespaces\/([^/]+)\/([^/]+)\/([^/]+)$/.exec(path);
    const object = match && this.#objects.get(`/api/v1/${match[2]}`)?.get(`${match[1]}/${match[3]}`);
    return object ? { status: 200, body: object } : { status: 404, body: status(404) };
  }

  async collect(stream: KubeStream): Promise<KubeResponse> {
    const parts: Buffer[] = [];
    for await (const part of stream.body) parts.push(part as Buffer);
    const { retryAfterSec } = stream;
    const body: unknown = JSON.parse(Buffer.concat(parts).toString());
    return { status: stream.status, body, ...(retryAfterSec === undefined ? {} : { retryAfterSec }) };
  }

  async close(): Promise<void> {
    this.cut();
  }

  #answer(path: string, query: Query): KubeStream {
    if (!this.#objects.has(path)) return refusal(404);
    if (!query['watch']) return this.#list(path, query);
    const from = Number(query['resourceVersion'] ?? 0);
    if (query['sendInitialEvents']) {
      if (!this.watchList) return refusal(422);
      if (from > this.#version) return refusal(504, tooLarge);
      const lines = this.objects(path).map((object) => event('ADDED', object));
      const metadata = { resourceVersion: `${this.#version}`, annotations: { 'k8s.io/initial-events-end': 'true' } };
      return this.#watch(path, [...lines, event('BOOKMARK', { metadata })]);
    }
    if (from < this.#compacted) {
      if (this.expiredAs === 'status') return refusal(410);
      const stream = this.#watch(path, [event('ERROR', status(410))]);
      this.end(path);
      return stream;
    }
    const missed = this.#history.filter((change) => change.path === path && change.version > from);
    return this.#watch(
      path,
      missed.map(({ line }) => line),
    );
  }

  #list(path: string, query: Query): KubeStream {
    if (Number(query['resourceVersion'] ?? 0) > this.#version) return refusal(504, tooLarge);
    const all = this.objects(path);
    const limit = Number(query['limit'] ?? 0) || all.length;
    const [version, offset] = String(query['continue'] ?? `${this.#version}:0`)
      .split(':')
      .map(Number) as [number, number];
    if (query['continue'] !== undefined && version < this.#compacted) return refusal(410);
    const rest = all.length - offset - limit;
    const metadata = {
      resourceVersion: `${version}`,
      ...(rest > 0 ? { continue: `${version}:${offset + limit}`, remainingItemCount: rest } : {}),
    };
    const body = new PassThrough();
    this.#write(body, JSON.stringify({ kind: 'List', metadata, items: all.slice(offset, offset + limit) }));
    body.end();
    return { status: 200, body };
  }

  #watch(path: string, lines: readonly string[]): KubeStream {
    const body = new PassThrough({ highWaterMark: 1 << 24 });
    const watch = { path, body };
    this.watches.add(watch);
    body.once('close', () => this.watches.delete(watch));
    // A cut is an error of the reader alone.
    body.on('error', () => undefined);
    this.#write(body, lines.join(''));
    return { status: 200, body };
  }

  #stamp(object: FakeObject): FakeObject {
    const metadata = { uid: `uid-${object.metadata.name}`, ...object.metadata, resourceVersion: `${++this.#version}` };
    return { ...object, metadata };
  }
  #tell(path: string, type: string, object: FakeObject): void {
    const line = event(type, object);
    this.#history.push({ path, version: this.#version, line });
    this.#send(path, line);
  }
  #send(path: string, text: string): void {
    for (const watch of this.watches) if (watch.path === path) this.#write(watch.body, text);
  }
  #write(body: PassThrough, text: string): void {
    const bytes = Buffer.from(text);
    for (let from = 0; from < bytes.length; ) {
      const size = this.chunkBytes();
      body.write(bytes.subarray(from, from + size));
      from += size;
    }
  }
}

function keyOf({ metadata }: FakeObject): string {
  return metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name;
}

export function event(type: string, object: unknown): string {
  return `${JSON.stringify({ type, object })}\n`;
}

export const tooLarge = { details: { causes: [{ reason: 'ResourceVersionTooLarge' }] } };

export function status(code: number, more: object = {}): object {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, message: `fake ${code}`, ...more };
}

export function refusal(code: number, more: object = {}, retryAfterSec?: number): KubeStream {
  const body = new PassThrough();
  body.end(JSON.stringify(status(code, more)));
  return { status: code, body, ...(retryAfterSec === undefined ? {} : { retryAfterSec }) };
}
