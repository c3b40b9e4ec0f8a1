/** Routes that every server of ours has. */
import type { FastifyInstance } from 'fastify';
import { toCidr, toIpAddress } from '#kit';
import type { HealthReport } from '#obs';
import { badRequest, takes } from './query.ts';
import type { BgpRoutesQuery, BgpView, HealthView } from './view.ts';

/** Prefixes in one answer of /v1/bgp/routes; a full table comes in pages. */
const routesMax = 10_000;
const routesDefault = 1_000;
/** Of a peer. */
const nameCharsMax = 300;
const prefixCharsMax = 64;
const cursorCharsMax = 64;

const peerName = { charsMax: nameCharsMax, is: `the name of a peer, ${nameCharsMax} characters at most` };
const flag = { pattern: /^true$/, is: 'true' };
const routesParameters = {
  prefix: { charsMax: prefixCharsMax, is: 'a prefix or an address' },
  family: { pattern: /^[46]$/, is: '4 or 6' },
  limit: { pattern: /^[1-9][0-9]{0,5}$/, is: `a number from 1 to ${routesMax}` },
  cursor: { charsMax: cursorCharsMax, is: 'what an earlier answer had' },
  peer: peerName,
  received: flag,
  sentTo: peerName,
  sent: flag,
};

export function addRoutesRoute(app: FastifyInstance, view: BgpView): void {
  type Query = { readonly [K in keyof typeof routesParameters]?: string };
  app.get<{ Querystring: Query }>('/v1/bgp/routes', { preHandler: takes(routesParameters) }, (request) => {
    const { prefix, family, limit, cursor, peer, received, sentTo, sent } = request.query;
    const count = Number(limit ?? routesDefault);
    if (sent && prefix === undefined) throw badRequest('sent is asked of one prefix or address: give prefix');
    if (count > routesMax) throw badRequest(`limit ${count} is over ${routesMax}; ask for the next ones with cursor`);
    return view.bgpRoutes({
      ...(prefix === undefined ? {} : prefixQuery(prefix)),
      ...(family === undefined ? {} : { family: family === '4' ? 4 : 6 }),
      ...(cursor === undefined ? {} : { cursor }),
      ...(peer === undefined ? {} : { peer }),
      ...(received === undefined ? {} : { received: true }),
      ...(sentTo === undefined ? {} : { sentTo }),
      ...(sent === undefined ? {} : { sent: true }),
      limit: count,
    });
  });
}

export function addHealthRoutes(app: FastifyInstance, view: HealthView): void {
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
