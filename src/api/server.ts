/**
 * The read-only HTTP API on a unix socket. The socket is bound under a temporary name in a folder of mode 0700, gets mode
 * 0600, and is then renamed into place: nobody else can connect at any moment, and a stale socket of an earlier run is
 * replaced in one step. Keeping two agents apart is the agent's lock, not the socket.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import type { FastifyError, FastifyInstance } from 'fastify';
import { errorText, type Logger, type Startable, toCidr, toIpAddress } from '#kit';
import type { HealthReport } from '#obs';
import { ApiError, type ApiErrorBody, type ApiErrorCode, apiErrorStatus } from './errors.ts';
import type { AgentView, BgpRoutesQuery } from './view.ts';

export interface ApiServerDeps {
  readonly view: AgentView;
  readonly log: Logger;
}
export interface ApiServerOptions {
  readonly socketPath: string;
}

/** Prefixes in one answer of /v1/bgp/routes; a full table comes in pages. */
const routesMax = 10_000;
const routesDefault = 1_000;
/** The API takes no bodies. */
const bodyBytesMax = 1024;
const requestTimeoutMs = 10_000;

export function createApiServer(deps: ApiServerDeps, options: ApiServerOptions): Startable {
  let app: FastifyInstance | undefined;
  return {
    async start() {
      app = await createApp(deps);
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
      deps.log.info({ socket: options.socketPath }, 'API is served');
    },
    async stop() {
      const served = app?.server.listening === true;
      await app?.close();
      if (served) await fs.rm(options.socketPath, { force: true });
    },
  };
}

/** The routes without a socket: `app.inject` tests them. fastify is loaded here, so that the CLI does not pay for it. */
export async function createApp({ view, log }: ApiServerDeps): Promise<FastifyInstance> {
  const { default: fastify } = await import('fastify');
  const app = fastify({
    bodyLimit: bodyBytesMax,
    requestTimeout: requestTimeoutMs,
    forceCloseConnections: true,
    // Unknown parameters are mistakes: say so instead of dropping them.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
  });
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
  addDataRoutes(app, view);
  await addRoutesRoute(app, view);
  addHealthRoutes(app, view);
  return app;
}

const paths = [
  '/v1/status',
  '/v1/bgp/peers',
  '/v1/bgp/routes?prefix=&family=&limit=&cursor=',
  '/v1/policy/endpoints/{namespace}/{pod}',
  '/v1/datastore',
  '/v1/config',
  '/healthz',
  '/livez',
  '/readyz',
  '/metrics',
];

function addDataRoutes(app: FastifyInstance, view: AgentView): void {
  const schema = { querystring: { type: 'object', properties: {}, additionalProperties: false } };
  app.get('/v1', { schema }, () => ({ paths }));
  app.get('/v1/status', { schema }, () => view.status());
  app.get('/v1/bgp/peers', { schema }, async () => ({ peers: await view.bgpPeers() }));
  app.get('/v1/datastore', { schema }, () => view.datastore());
  app.get('/v1/config', { schema }, () => ({ values: view.config() }));
  app.get<{ Params: { namespace: string; pod: string } }>(
    '/v1/policy/endpoints/:namespace/:pod',
    { schema },
    (request) => {
      const { namespace, pod } = request.params;
      const endpoint = view.policyEndpoint({ namespace, name: pod });
      if (endpoint) return endpoint;
      throw new ApiError(
        `pod ${namespace}/${pod} is not on this node; ask the agent of the node in its spec.nodeName`,
        {
          code: 'ENDPOINT_NOT_FOUND',
        },
      );
    },
  );
}

async function addRoutesRoute(app: FastifyInstance, view: AgentView): Promise<void> {
  const { default: Type } = await import('typebox');
  const querystring = Type.Object(
    {
      prefix: Type.Optional(Type.String({ maxLength: 64 })),
      family: Type.Optional(Type.Union([Type.Literal('4'), Type.Literal('6')])),
      limit: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,5}$' })),
      cursor: Type.Optional(Type.String({ maxLength: 64 })),
    },
    { additionalProperties: false },
  );
  type Query = { readonly [K in 'prefix' | 'family' | 'limit' | 'cursor']?: string };
  app.get<{ Querystring: Query }>('/v1/bgp/routes', { schema: { querystring } }, (request) => {
    const { prefix, family, limit, cursor } = request.query;
    const count = Number(limit ?? routesDefault);
    if (count > routesMax) throw badRequest(`limit ${count} is over ${routesMax}; ask for the next ones with cursor`);
    return view.bgpRoutes({
      ...(prefix === undefined ? {} : prefixQuery(prefix)),
      ...(family === undefined ? {} : { family: family === '4' ? 4 : 6 }),
      ...(cursor === undefined ? {} : { cursor }),
      limit: count,
    });
  });
}

function addHealthRoutes(app: FastifyInstance, view: AgentView): void {
  const probe = (route: string, report: () => HealthReport): void => {
    app.get(route, (_request, reply) => {
      const { ok, reasons } = report();
      return reply.status(ok ? 200 : 503).send({ ok, reasons });
    });
  };
  probe('/healthz', () => view.alive());
  probe('/livez', () => view.alive());
  probe('/readyz', () => view.ready());
  app.get('/metrics', async (_request, reply) => {
    const { contentType, body } = await view.metrics();
    return reply.header('content-type', contentType).send(body);
  });
}

/** `10.1.0.0/16`: it and what is inside it. `10.1.2.3`: where a packet to it goes. */
function prefixQuery(text: string): Pick<BgpRoutesQuery, 'within' | 'covers'> {
  const within = text.includes('/') ? toCidr(text) : undefined;
  if (within) return { within };
  const covers = toIpAddress(text);
  if (covers) return { covers };
  throw badRequest(`prefix ${JSON.stringify(text)} is neither a prefix nor an address`);
}

function badRequest(message: string): ApiError {
  return new ApiError(message, { code: 'BAD_REQUEST' });
}

function describeError(error: FastifyError | ApiError): { readonly code: ApiErrorCode; readonly message: string } {
  // Views say so of a parameter that only they can judge.
  if (error instanceof RangeError) return { code: 'BAD_REQUEST', message: error.message };
  if (error instanceof ApiError) return { code: error.code, message: error.message };
  const first = error.validation?.[0];
  if (first) {
    const { additionalProperty } = first.params as { additionalProperty?: string };
    if (additionalProperty) return { code: 'BAD_REQUEST', message: `there is no parameter ${additionalProperty}` };
    const name = first.instancePath.replace(/^\//, '');
    return { code: 'BAD_REQUEST', message: `parameter ${name} ${first.message ?? 'is not allowed'}` };
  }
  const clientFault = error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500;
  return { code: clientFault ? 'BAD_REQUEST' : 'INTERNAL', message: errorText(error) };
}
