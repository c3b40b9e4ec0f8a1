/** The read-only HTTP API of the agent. */
import type { FastifyInstance } from 'fastify';
import type { Logger, Startable } from '#kit';
import { ApiError } from './errors.ts';
import { addExplainRoute } from './explain-route.ts';
import { addFlowRoutes } from './flow-routes.ts';
import { takes } from './query.ts';
import { addHealthRoutes, addRoutesRoute } from './shared-routes.ts';
import { type ApiServerOptions, createApiApp, createSocketServer } from './socket-server.ts';
import type { AgentView } from './view.ts';

export interface ApiServerDeps {
  readonly view: AgentView;
  readonly log: Logger;
}
export function createApiServer(deps: ApiServerDeps, options: ApiServerOptions): Startable {
  return createSocketServer(() => createApp(deps), deps.log, options);
}

/** The routes without a socket: `app.inject` tests them. */
export async function createApp({ view, log }: ApiServerDeps): Promise<FastifyInstance> {
  const app = await createApiApp(log);
  addDataRoutes(app, view);
  addRoutesRoute(app, view);
  addExplainRoute(app, view);
  addFlowRoutes(app, view);
  addHealthRoutes(app, view);
  return app;
}

const paths = [
  '/v1/status',
  '/v1/bgp/peers',
  '/v1/bgp/routes?prefix=&family=&peer=&received=true&sentTo=&sent=true&limit=&cursor=',
  '/v1/policy/endpoints/{namespace}/{pod}',
  '/v1/policy/explain?from=&to=&protocol=&port=',
  '/v1/datastore',
  '/v1/config',
  '/v1/flows?after=&limit=&verdict=&pod=&namespace=&waitSec=',
  '/v1/flows/counts',
  '/healthz',
  '/livez',
  '/readyz',
  '/metrics',
];

function addDataRoutes(app: FastifyInstance, view: AgentView): void {
  const bare = { preHandler: takes({}) };
  app.get('/v1', bare, () => ({ paths }));
  app.get('/v1/status', bare, () => view.status());
  app.get('/v1/bgp/peers', bare, async () => ({ peers: await view.bgpPeers() }));
  app.get('/v1/datastore', bare, () => view.datastore());
  app.get('/v1/config', bare, () => ({ values: view.config() }));
  app.get<{ Params: { namespace: string; pod: string } }>('/v1/policy/endpoints/:namespace/:pod', bare, (request) => {
    const { namespace, pod } = request.params;
    const endpoint = view.policyEndpoint({ namespace, name: pod });
    if (endpoint) return endpoint;
    throw new ApiError(`pod ${namespace}/${pod} is not on this node; ask the agent of the node in its spec.nodeName`, {
      code: 'ENDPOINT_NOT_FOUND',
    });
  });
}
