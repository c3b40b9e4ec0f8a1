export * from './client.ts';
export { ApiError, type ApiErrorBody, type ApiErrorCode, apiErrorStatus } from './errors.ts';
export { createProbeServer, ProbeServerError, type ProbeServerFailure, type ProbeView } from './probe-server.ts';
export { type ApiServerDeps, type ApiServerOptions, createApiServer } from './server.ts';
export * from './view.ts';
