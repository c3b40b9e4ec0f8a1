/** The HTTP API of the stand-alone speaker: as the agent's where both have it, and orders besides. Only its own user may connect. */
import type { FastifyInstance } from 'fastify';
import type { Logger, Startable } from '#kit';
import { addHealthRoutes, addRoutesRoute } from './shared-routes.ts';
import { type ApiServerOptions, createBareApp, createSocketServer } from './socket-server.ts';
import type { SpeakerView } from './view.ts';

export interface SpeakerApiDeps {
  readonly view: SpeakerView;
  readonly log: Logger;
}

const paths = [
  '/v1/bgp/status',
  '/v1/bgp/peers',
  '/v1/bgp/routes?prefix=&family=&peer=&received=true&sentTo=&sent=true&limit=&cursor=',
  'POST /v1/bgp/plan',
  'POST /v1/bgp/reload',
  'POST /v1/bgp/peers/{name}/reset?text=',
  'POST /v1/bgp/dump?file=',
  '/healthz',
  '/livez',
  '/readyz',
  '/metrics',
];
/** RFC 9003 2 allows 255 octets. */
const textCharsMax = 255;
/** Linux's PATH_MAX. */
const pathCharsMax = 4096;

export function createSpeakerApiServer(deps: SpeakerApiDeps, options: ApiServerOptions): Startable {
  return createSocketServer(() => createSpeakerApp(deps), deps.log, options);
}

/** The routes without a socket: `app.inject` tests them. */
export async function createSpeakerApp({ view, log }: SpeakerApiDeps): Promise<FastifyInstance> {
  const app = await createBareApp(log);
  const schema = { querystring: { type: 'object', properties: {}, additionalProperties: false } };
  app.get('/v1', { schema }, () => ({ paths }));
  app.get('/v1/bgp/status', { schema }, () => view.bgpStatus());
  app.get('/v1/bgp/peers', { schema }, async () => ({ peers: await view.bgpPeers() }));
  app.post('/v1/bgp/plan', { schema }, () => view.plan());
  app.post('/v1/bgp/reload', { schema }, () => view.reload());
  const text = { type: 'string', maxLength: textCharsMax };
  const resetSchema = { querystring: { type: 'object', properties: { text }, additionalProperties: false } };
  app.post<{ Params: { name: string }; Querystring: { text?: string } }>(
    '/v1/bgp/peers/:name/reset',
    { schema: resetSchema },
    ({ params, query }) => {
      view.resetPeer(params.name, query.text ?? '');
      return {};
    },
  );
  const file = { type: 'string', pattern: '^/', maxLength: pathCharsMax };
  const dumpSchema = {
    querystring: { type: 'object', properties: { file }, required: ['file'], additionalProperties: false },
  };
  app.post<{ Querystring: { file: string } }>('/v1/bgp/dump', { schema: dumpSchema }, ({ query }) =>
    view.dumpTable(query.file),
  );
  await addRoutesRoute(app, view);
  addHealthRoutes(app, view);
  return app;
}
