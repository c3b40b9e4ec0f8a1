/**
 * Probes and metrics over TCP: /livez, /readyz and /metrics, and nothing else. In the words of Kubernetes' own components: `ok`, or one line for each
 * component when one is not, and with `?verbose`.
 *
 * An app of its own, so that no route of the API can come to be served over the network by mistake (0.5 MB of memory, measured).
 */
import type { FastifyInstance } from 'fastify';
import { errorText, type Logger, PoplinError, type Startable } from '#kit';
import type { ComponentReport } from '#obs';
import { createBareApp } from './bare-app.ts';

export interface ProbeView {
  components(): readonly ComponentReport[];
  metrics(): Promise<{ readonly contentType: string; readonly body: string }>;
}

export type ProbeServerFailure =
  | { readonly code: 'ADDRESS_IN_USE'; readonly listen: string }
  /** Not an address of this machine, or a port that may not be taken. */
  | { readonly code: 'CANNOT_LISTEN'; readonly listen: string };

export class ProbeServerError extends PoplinError<ProbeServerFailure> {}

export interface ProbeServerDeps {
  readonly view: ProbeView;
  readonly log: Logger;
  /** A connection was dropped because there are so many already. */
  readonly onDropped?: () => void;
}

/** Connections at once: probes and a scraper or two. */
const CONNECTIONS_MAX = 32;
const REQUEST_TIMEOUT_MS = 5_000;

/** @param options.listen `ADDRESS:PORT`, IPv6 in brackets; `[::]:PORT` listens on IPv4 as well. */
export function createProbeServer(deps: ProbeServerDeps, options: { readonly listen: string }): Startable {
  const { listen } = options;
  let app: FastifyInstance | undefined;
  return {
    async start() {
      app = await createProbeApp(deps);
      const at = listen.lastIndexOf(':');
      const host = listen.slice(0, at).replace(/^\[|\]$/g, '');
      try {
        await app.listen({ host, port: Number(listen.slice(at + 1)) });
      } catch (error) {
        throw listenError(listen, error);
      }
      deps.log.info({ listen }, 'probes and metrics are served');
    },
    async stop() {
      await app?.close();
    },
  };
}

function listenError(listen: string, error: unknown): ProbeServerError {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') {
    const text = `${listen} is taken by another process, so probes and metrics cannot be served: give a free one with --http-listen`;
    return new ProbeServerError(text, { code: 'ADDRESS_IN_USE', listen }, { cause: error });
  }
  const why =
    code === 'EADDRNOTAVAIL'
      ? 'is no address of this machine'
      : code === 'EACCES'
        ? 'may not be listened on (ports below 1024 need NET_BIND_SERVICE)'
        : `cannot be listened on (${errorText(error)})`;
  const text = `${listen} ${why}: give another address and port with --http-listen`;
  return new ProbeServerError(text, { code: 'CANNOT_LISTEN', listen }, { cause: error });
}

/** The routes without a socket, for tests. */
export async function createProbeApp({ view, log, onDropped }: ProbeServerDeps): Promise<FastifyInstance> {
  const app = await createBareApp({ requestTimeout: REQUEST_TIMEOUT_MS });
  app.server.maxConnections = CONNECTIONS_MAX;
  if (onDropped) app.server.on('drop', onDropped);
  app.setNotFoundHandler((_request, reply) => reply.status(404).type('text/plain').send('404 page not found\n'));
  app.setErrorHandler((error, request, reply) => {
    log.error({ error, url: request.url }, 'a probe failed');
    return reply
      .status(500)
      .type('text/plain')
      .send(`${errorText(error)}\n`);
  });
  const probe = (name: 'livez' | 'readyz', reasonOf: (component: ComponentReport) => string | undefined): void => {
    app.get(`/${name}`, (request, reply) => {
      const components = view.components();
      const ok = components.every((component) => reasonOf(component) === undefined);
      const verbose = Object.hasOwn(request.query as object, 'verbose');
      const body = ok && !verbose ? 'ok' : verboseText(name, components, reasonOf);
      return reply
        .status(ok ? 200 : 503)
        .headers({ 'cache-control': 'no-cache, private', 'x-content-type-options': 'nosniff' })
        .type('text/plain; charset=utf-8')
        .send(body);
    });
  };
  probe('livez', ({ notAlive }) => notAlive);
  probe('readyz', ({ notReady }) => notReady);
  app.get('/metrics', async (_request, reply) => {
    const { contentType, body } = await view.metrics();
    return reply.header('content-type', contentType).send(body);
  });
  return app;
}

function verboseText(
  name: string,
  components: readonly ComponentReport[],
  reasonOf: (component: ComponentReport) => string | undefined,
): string {
  const lines = components.map((component) => {
    const reason = reasonOf(component);
    return reason === undefined ? `[+]${component.name} ok` : `[-]${component.name}: ${reason.replaceAll('\n', ' ')}`;
  });
  const failed = components.some((component) => reasonOf(component) !== undefined);
  return `${[...lines, `${name} check ${failed ? 'failed' : 'passed'}`].join('\n')}\n`;
}
