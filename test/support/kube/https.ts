/** The test's own way to the API server: plain HTTPS and JSON, so that no code under test judges itself. */
import https from 'node:https';
import type { JsonObject } from './objects.ts';

export interface HttpsRequest {
  /** Default GET. */
  readonly method?: string;
  /** With its query. */
  readonly path: string;
  readonly body?: unknown;
  /** Default application/json. */
  readonly contentType?: string;
  /** Bearer token. */
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface HttpsAnswer {
  readonly status: number;
  /** Parsed where it is JSON. */
  readonly body: unknown;
}

/** An answer that was not the one asked for. */
export class HttpsError extends Error {
  readonly status: number;
  readonly answer: unknown;

  constructor(request: HttpsRequest, { status, body }: HttpsAnswer) {
    const message = (body as JsonObject | undefined)?.['message'] ?? JSON.stringify(body);
    super(`${request.method ?? 'GET'} ${request.path}: ${status} ${String(message)}`);
    this.status = status;
    this.answer = body;
  }
}

const timeoutMs = 30_000;

/** Connections are kept: a TLS handshake costs more than most requests. */
export class HttpsClient {
  readonly #url: string;
  readonly #ca: () => string;
  #agent = new https.Agent({ keepAlive: true });

  constructor(url: string, ca: () => string) {
    this.#url = url;
    this.#ca = ca;
  }

  /** Resolves with every HTTP status; rejects where nothing answers. */
  request(request: HttpsRequest): Promise<HttpsAnswer> {
    const body = request.body === undefined ? undefined : JSON.stringify(request.body);
    return new Promise((resolve, reject) => {
      const outgoing = https.request(
        `${this.#url}${request.path}`,
        {
          method: request.method ?? 'GET',
          agent: this.#agent,
          ca: this.#ca(),
          timeout: timeoutMs,
          headers: {
            accept: 'application/json',
            ...(body === undefined ? {} : { 'content-type': request.contentType ?? 'application/json' }),
            ...(request.token === undefined ? {} : { authorization: `Bearer ${request.token}` }),
            ...request.headers,
          },
        },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.on('error', reject);
          incoming.on('end', () => {
            const text = Buffer.concat(chunks).toString();
            const json = incoming.headers['content-type']?.includes('json') && text !== '';
            resolve({ status: incoming.statusCode ?? 0, body: json ? JSON.parse(text) : text });
          });
        },
      );
      outgoing.on('error', reject);
      outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer to ${request.path} after ${timeoutMs} ms`)));
      outgoing.end(body);
    });
  }

  /** The body of a 2xx answer. @throws HttpsError otherwise. */
  async must(request: HttpsRequest): Promise<JsonObject> {
    const answer = await this.request(request);
    if (answer.status < 200 || answer.status > 299) throw new HttpsError(request, answer);
    return answer.body as JsonObject;
  }

  /** Forgets the connections, e.g. those to a server that was killed. */
  close(): void {
    this.#agent.destroy();
    this.#agent = new https.Agent({ keepAlive: true });
  }
}
