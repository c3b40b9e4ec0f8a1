/** `/v1/policy/explain`: why one end reaches another. */
import type { FastifyInstance } from 'fastify';
import { ApiError } from './errors.ts';
import type { AgentView } from './view.ts';

/** Of an end: a namespace and a name. */
const endCharsMax = 400;

export async function addExplainRoute(app: FastifyInstance, view: AgentView): Promise<void> {
  const { default: Type } = await import('typebox');
  const end = Type.String({ minLength: 1, maxLength: endCharsMax });
  const querystring = Type.Object(
    {
      from: end,
      to: end,
      protocol: Type.Union([Type.Literal('TCP'), Type.Literal('UDP'), Type.Literal('SCTP')]),
      port: Type.String({ pattern: '^[1-9][0-9]{0,4}$' }),
      staged: Type.Optional(Type.Union([Type.Literal('true'), Type.Literal('false')])),
    },
    { additionalProperties: false },
  );
  type Query = {
    readonly from: string;
    readonly to: string;
    readonly protocol: 'TCP' | 'UDP' | 'SCTP';
    readonly port: string;
    readonly staged?: 'true' | 'false';
  };
  app.get<{ Querystring: Query }>('/v1/policy/explain', { schema: { querystring } }, async (request) => {
    const { from, to, protocol, port, staged } = request.query;
    if (Number(port) > 65_535) throw new ApiError(`port ${port} is over 65535`, { code: 'BAD_REQUEST' });
    const query = { from, to, protocol, port: Number(port), ...(staged === 'true' ? { staged: true } : {}) };
    const explained = await view.policyExplain(query);
    if ('problem' in explained) throw new ApiError(explained.problem, { code: 'BAD_REQUEST' });
    return explained;
  });
}
