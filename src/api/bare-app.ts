/** fastify without routes; it is loaded here, so that the CLI does not pay for it. */
import type { FastifyInstance, FastifyServerOptions } from 'fastify';

/** The API takes no bodies. */
const bodyBytesMax = 1024;

const noSchemas = (): never => {
  throw new Error('routes have no schemas: parameters are checked by `takes`');
};

/** Without the compilers of schemas, which it would load at once. The image does not have them. */
export async function createBareApp(options: FastifyServerOptions): Promise<FastifyInstance> {
  const { default: fastify } = await import('fastify');
  return fastify({
    bodyLimit: bodyBytesMax,
    forceCloseConnections: true,
    schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
    ...options,
  });
}
