export * from './client.ts';
export { ApiError, type ApiErrorBody, type ApiErrorCode, apiErrorStatus } from './errors.ts';
export * from './explain-view.ts';
export * from './flows-view.ts';
export { createProbeServer, ProbeServerError, type ProbeServerFailure, type ProbeView } from './probe-server.ts';
export { type ApiServerDeps, createApiServer } from './server.ts';
export type { ApiServerOptions } from './socket-server.ts';
export { createSpeakerApiServer, type SpeakerApiDeps } from './speaker-server.ts';
export * from './view.ts';
