/**
 * HTTP on a unix socket. The socket is bound under a temporary name in a folder of mode 0700, gets mode 0600, and is then renamed
 * into place: nobody else can connect at any moment, and a stale socket of an earlier run is replaced in one step. Keeping two
 * servers apart is their lock, not the socket.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import type { FastifyError, FastifyInstance } from 'fastify';
import { errorText, type Logger, type Startable } from '#kit';
import { createBareApp } from './bare-app.ts';
import { ApiError, type ApiErrorBody, type ApiErrorCode, apiErrorStatus } from './errors.ts';

export interface ApiServerOptions {
  readonly socketPath: string;
}

const requestTimeoutMs = 10_000;

export function createSocketServer(
  createApp: () => Promise<FastifyInstance>,
  log: Logger,
  options: ApiServerOptions,
): Startable {
  let app: FastifyInstance | undefined;
  return {
    async start() {
      app = await createApp();
      const folder = path.dirname(options.socketPath);
      await fs.mkdir(folder, { recursive: true, mode: 0o700 });
      const temporary = await fs.mkdtemp(path.join(folder, '.api-'));
      try {
        const bound = path.join(temporary, 's');
        await app.listen({ path: bound });
        await fs.chmod(bound, 0o600);
        await fs.rename(bound, options.socketPath);
      } finally {
        await fs.rm(temporary, { recursive: true, force: true });
      }
      log.info({ socket: options.socketPath }, 'API is served');
    },
    async stop() {
      const served = app?.server.listening === true;
      await app?.close();
      if (served) await fs.rm(options.socketPath, { force: true });
    },
  };
}

/** Without routes; errors are answered as errors.ts says. */
export async function createApiApp(log: Logger): Promise<FastifyInstance> {
  const app = await createBareApp({ requestTimeout: requestTimeoutMs });
  app.setErrorHandler((error: FastifyError | ApiError, request, reply) => {
    const { code, message } = describeError(error);
    if (code === 'INTERNAL') log.error({ error, url: request.url }, 'API request failed');
    const body: ApiErrorBody = { error: { code, message } };
    return reply.status(apiErrorStatus[code]).send(body);
  });
  app.setNotFoundHandler((request, reply) => {
    const message = `${request.method} ${request.url}: no such path; GET /v1 lists them`;
    const body: ApiErrorBody = { error: { code: 'NOT_FOUND', message } };
    return reply.status(404).send(body);
  });
  return app;
}

function describeError(error: FastifyError | ApiError): { readonly code: ApiErrorCode; readonly message: string } {
  // Views say so of a parameter that only they can judge.
  if (error instanceof RangeError) return { code: 'BAD_REQUEST', message: error.message };
  if (error instanceof ApiError) return { code: error.code, message: error.message };
  const clientFault = error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500;
  return { code: clientFault ? 'BAD_REQUEST' : 'INTERNAL', message: errorText(error) };
}
