/** Asks the agent over its unix socket; what the CLI uses. */
import http from 'node:http';
import { errorText, PoplinError } from '#kit';
import type { ApiErrorCode } from './errors.ts';
import type { PolicyExplainQuery, PolicyExplainView } from './explain-view.ts';
import type { FlowCountView, FlowsView } from './flows-view.ts';
import type {
  AgentStatus,
  BgpPeerView,
  BgpRoutesView,
  ChangePlanView,
  ConfigValueView,
  DatastoreView,
  PolicyEndpointView,
  TableDumpView,
} from './view.ts';

export type ApiClientFailure =
  /** Nobody serves the socket, or it may not be opened. */
  | { readonly code: 'AGENT_UNREACHABLE'; readonly socketPath: string; readonly cause: string }
  /** The agent answered with an error. */
  | { readonly code: 'API_ERROR'; readonly status: number; readonly error: ApiErrorCode | 'UNKNOWN' };

export class ApiClientError extends PoplinError<ApiClientFailure> {}

export interface ApiClient {
  status(): Promise<AgentStatus>;
  bgpPeers(): Promise<readonly BgpPeerView[]>;
  bgpRoutes(query: Readonly<Record<string, string>>): Promise<BgpRoutesView>;
  /** Of a stand-alone speaker, as are the next three. */
  bgpPlan(): Promise<ChangePlanView>;
  bgpReload(): Promise<ChangePlanView>;
  bgpReset(name: string, text?: string): Promise<void>;
  /** @param file absolute path on the speaker's machine. */
  bgpDump(file: string): Promise<TableDumpView>;
  policyEndpoint(pod: { readonly namespace: string; readonly name: string }): Promise<PolicyEndpointView>;
  policyExplain(query: PolicyExplainQuery): Promise<PolicyExplainView>;
  datastore(): Promise<DatastoreView>;
  config(): Promise<readonly ConfigValueView[]>;
  /** As the path's parameters. */
  flows(query: Readonly<Record<string, string>>): Promise<FlowsView>;
  flowCounts(): Promise<readonly FlowCountView[]>;
}

const answerTimeoutMs = 10_000;
const answerBytesMax = 256 * 1024 * 1024;

/** Every call @throws ApiClientError */
export function createApiClient(options: { readonly socketPath: string }): ApiClient {
  const get = async <T>(path: string): Promise<T> => (await request(options.socketPath, path)) as T;
  const post = async <T>(path: string): Promise<T> => {
    try {
      return (await request(options.socketPath, path, 'POST')) as T;
    } catch (error) {
      throw isNotThere(error) ? new ApiClientError(noOrders, error.failure) : error;
    }
  };
  return {
    status: () => get('/v1/status'),
    bgpPeers: async () => (await get<{ peers: readonly BgpPeerView[] }>('/v1/bgp/peers')).peers,
    bgpRoutes: (query) => get(`/v1/bgp/routes?${new URLSearchParams(query)}`),
    bgpPlan: () => post('/v1/bgp/plan'),
    bgpReload: () => post('/v1/bgp/reload'),
    bgpReset: (name, text) => {
      const query = text === undefined ? '' : `?${new URLSearchParams({ text })}`;
      return post(`/v1/bgp/peers/${encodeURIComponent(name)}/reset${query}`);
    },
    bgpDump: (file) => post(`/v1/bgp/dump?${new URLSearchParams({ file })}`),
    policyEndpoint: ({ namespace, name }) =>
      get(`/v1/policy/endpoints/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`),
    policyExplain: ({ port, staged, ...ends }) =>
      get(
        `/v1/policy/explain?${new URLSearchParams({ ...ends, port: String(port), ...(staged && { staged: 'true' }) })}`,
      ),
    datastore: () => get('/v1/datastore'),
    config: async () => (await get<{ values: readonly ConfigValueView[] }>('/v1/config')).values,
    flows: (query) => get(`/v1/flows?${new URLSearchParams(query)}`),
    flowCounts: async () => (await get<{ counts: readonly FlowCountView[] }>('/v1/flows/counts')).counts,
  };
}

const noOrders =
  'an agent takes no orders: it does what its objects say (BGPPeer, BGPConfiguration). The socket of a stand-alone speaker is named with --socket';

function isNotThere(error: unknown): error is ApiClientError {
  return error instanceof ApiClientError && error.failure.code === 'API_ERROR' && error.failure.error === 'NOT_FOUND';
}

type Method = 'GET' | 'POST';

async function request(socketPath: string, path: string, method: Method = 'GET'): Promise<unknown> {
  const { status, body } = await exchange(socketPath, path, method).catch((error: NodeJS.ErrnoException) => {
    throw new ApiClientError(unreachableMessage(socketPath, error), {
      code: 'AGENT_UNREACHABLE',
      socketPath,
      cause: error.code ?? errorText(error),
    });
  });
  const value = parseJson(body);
  if (status < 400 && value !== undefined) return value;
  const { code, message } = (value as { error?: { code?: ApiErrorCode; message?: string } } | undefined)?.error ?? {};
  throw new ApiClientError(message ?? `the agent answered ${path} with HTTP status ${status}`, {
    code: 'API_ERROR',
    status,
    error: code ?? 'UNKNOWN',
  });
}

function unreachableMessage(socketPath: string, error: NodeJS.ErrnoException): string {
  const ask = 'is the agent running on this node? Another socket is named with --socket or POPLIN_API_SOCKET';
  if (error.code === 'ENOENT') return `there is no socket ${socketPath}: ${ask}`;
  if (error.code === 'ECONNREFUSED') return `nobody serves ${socketPath}: ${ask}`;
  if (error.code === 'EACCES') return `${socketPath} may not be opened by this user: run as root`;
  return `no answer from ${socketPath}: ${errorText(error)}`;
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function exchange(
  socketPath: string,
  path: string,
  method: Method,
): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const call = http.request({ socketPath, path, method, agent: false, timeout: answerTimeoutMs }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > answerBytesMax) call.destroy(new Error(`the answer is larger than ${answerBytesMax} bytes`));
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
      response.on('error', reject);
    });
    call.on('timeout', () => call.destroy(new Error(`the agent is silent for ${answerTimeoutMs / 1000} s`)));
    call.on('error', reject);
    call.end();
  });
}
