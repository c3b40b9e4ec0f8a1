/** Flows that policy denied or allowed. */
import type { FastifyInstance } from 'fastify';
import type { FlowVerdict } from './flows-view.ts';
import { badRequest, takes } from './query.ts';
import type { AgentView } from './view.ts';

const flowsMax = 1_000;
const flowsDefault = 200;
/** Below the time that clients wait for an answer. */
const waitSecMax = 8;

const parameters = {
  after: { pattern: /^(0|[1-9][0-9]{0,14})$/, is: 'the number of a flow' },
  limit: { pattern: /^[1-9][0-9]{0,5}$/, is: `a number from 1 to ${flowsMax}` },
  verdict: { pattern: /^(denied|allowed|dropped)$/, is: 'denied, allowed or dropped' },
  pod: { charsMax: 320, pattern: /^[^/]+\/[^/]+$/, is: 'NAMESPACE/POD' },
  namespace: { charsMax: 63, is: 'a namespace' },
  staged: { pattern: /^(true|false)$/, is: 'true or false' },
  waitSec: { pattern: /^(0|[1-9][0-9]{0,5})$/, is: `a number of seconds from 0 to ${waitSecMax}` },
};

export function addFlowRoutes(app: FastifyInstance, view: Pick<AgentView, 'flows' | 'flowCounts'>): void {
  type Query = {
    readonly [K in 'after' | 'limit' | 'pod' | 'namespace' | 'waitSec']?: string;
  } & { readonly verdict?: FlowVerdict; readonly staged?: 'true' | 'false' };
  app.get<{ Querystring: Query }>('/v1/flows', { preHandler: takes(parameters) }, (request) => {
    const { after = '0', limit = String(flowsDefault), waitSec = '0', staged, ...filter } = request.query;
    if (Number(limit) > flowsMax) throw badRequest(`limit ${limit} is over ${flowsMax}`);
    if (Number(waitSec) > waitSecMax) throw badRequest(`waitSec ${waitSec} is over ${waitSecMax}`);
    const numbers = { after: Number(after), limit: Number(limit), waitSec: Number(waitSec) };
    return view.flows({ ...numbers, ...filter, ...(staged === 'true' ? { staged: true } : {}) });
  });
  app.get('/v1/flows/counts', { preHandler: takes({}) }, () => ({ counts: view.flowCounts() }));
}
