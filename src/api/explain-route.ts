/** `/v1/policy/explain`: why one end reaches another. */
import type { FastifyInstance } from 'fastify';
import { badRequest, takes } from './query.ts';
import type { AgentView } from './view.ts';

/** Of an end: a namespace and a name. */
const endCharsMax = 400;

const end = {
  required: true,
  charsMax: endCharsMax,
  pattern: /./,
  is: `a pod, an address or a name outside, ${endCharsMax} characters at most`,
};
const parameters = {
  from: end,
  to: end,
  protocol: { required: true, pattern: /^(TCP|UDP|SCTP)$/, is: 'TCP, UDP or SCTP' },
  port: { required: true, pattern: /^[1-9][0-9]{0,4}$/, is: 'a number from 1 to 65535' },
  staged: { pattern: /^(true|false)$/, is: 'true or false' },
};

export function addExplainRoute(app: FastifyInstance, view: AgentView): void {
  type Query = { readonly [K in 'from' | 'to' | 'port']: string } & {
    readonly protocol: 'TCP' | 'UDP' | 'SCTP';
    readonly staged?: 'true' | 'false';
  };
  app.get<{ Querystring: Query }>('/v1/policy/explain', { preHandler: takes(parameters) }, async (request) => {
    const { from, to, protocol, port, staged } = request.query;
    if (Number(port) > 65_535) throw badRequest(`port ${port} is over 65535`);
    const query = { from, to, protocol, port: Number(port), ...(staged === 'true' ? { staged: true } : {}) };
    const explained = await view.policyExplain(query);
    if ('problem' in explained) throw badRequest(explained.problem);
    return explained;
  });
}
