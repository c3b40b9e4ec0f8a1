/** The HTTP API of the stand-alone speaker: as the agent's where both have it, and orders besides. Only its own user may connect. */
import type { FastifyInstance } from 'fastify';
import type { Logger, Startable } from '#kit';
import { takes } from './query.ts';
import { addHealthRoutes, addRoutesRoute } from './shared-routes.ts';
import { type ApiServerOptions, createApiApp, createSocketServer } from './socket-server.ts';
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
  const app = await createApiApp(log);
  const bare = { preHandler: takes({}) };
  app.get('/v1', bare, () => ({ paths }));
  app.get('/v1/bgp/status', bare, () => view.bgpStatus());
  app.get('/v1/bgp/peers', bare, async () => ({ peers: await view.bgpPeers() }));
  app.post('/v1/bgp/plan', bare, () => view.plan());
  app.post('/v1/bgp/reload', bare, () => view.reload());
  const text = { charsMax: textCharsMax, is: `a text of at most ${textCharsMax} characters` };
  app.post<{ Params: { name: string }; Querystring: { text?: string } }>(
    '/v1/bgp/peers/:name/reset',
    { preHandler: takes({ text }) },
    ({ params, query }) => {
      view.resetPeer(params.name, query.text ?? '');
      return {};
    },
  );
  const file = { required: true, pattern: /^\//, charsMax: pathCharsMax, is: 'an absolute path' };
  app.post<{ Querystring: { file: string } }>('/v1/bgp/dump', { preHandler: takes({ file }) }, ({ query }) =>
    view.dumpTable(query.file),
  );
  addRoutesRoute(app, view);
  addHealthRoutes(app, view);
  return app;
}
