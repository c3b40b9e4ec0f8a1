/** Flows that policy denied or allowed. */
import type { FastifyInstance } from 'fastify';
import { ApiError } from './errors.ts';
import type { FlowVerdict } from './flows-view.ts';
import type { AgentView } from './view.ts';

const flowsMax = 1_000;
const flowsDefault = 200;
/** Below the time that clients wait for an answer. */
const waitSecMax = 8;

export async function addFlowRoutes(
  app: FastifyInstance,
  view: Pick<AgentView, 'flows' | 'flowCounts'>,
): Promise<void> {
  const { default: Type } = await import('typebox');
  const number = Type.Optional(Type.String({ pattern: '^(0|[1-9][0-9]{0,14})$' }));
  const querystring = Type.Object(
    {
      after: number,
      limit: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,5}$' })),
      verdict: Type.Optional(Type.Union([Type.Literal('denied'), Type.Literal('allowed'), Type.Literal('dropped')])),
      pod: Type.Optional(Type.String({ maxLength: 320, pattern: '^[^/]+/[^/]+$' })),
      namespace: Type.Optional(Type.String({ maxLength: 63 })),
      staged: Type.Optional(Type.Union([Type.Literal('true'), Type.Literal('false')])),
      waitSec: number,
    },
    { additionalProperties: false },
  );
  type Query = {
    readonly [K in 'after' | 'limit' | 'pod' | 'namespace' | 'waitSec']?: string;
  } & { readonly verdict?: FlowVerdict; readonly staged?: 'true' | 'false' };
  app.get<{ Querystring: Query }>('/v1/flows', { schema: { querystring } }, (request) => {
    const { after = '0', limit = String(flowsDefault), waitSec = '0', staged, ...filter } = request.query;
    if (Number(limit) > flowsMax) throw badRequest(`limit ${limit} is over ${flowsMax}`);
    if (Number(waitSec) > waitSecMax) throw badRequest(`waitSec ${waitSec} is over ${waitSecMax}`);
    const numbers = { after: Number(after), limit: Number(limit), waitSec: Number(waitSec) };
    return view.flows({ ...numbers, ...filter, ...(staged === 'true' ? { staged: true } : {}) });
  });
  const none = { querystring: Type.Object({}, { additionalProperties: false }) };
  app.get('/v1/flows/counts', { schema: none }, () => ({ counts: view.flowCounts() }));
}

function badRequest(message: string): ApiError {
  return new ApiError(message, { code: 'BAD_REQUEST' });
}
