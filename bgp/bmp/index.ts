/** BMP: monitoring stations are told of sessions and tables (RFC 7854, RFC 8671, RFC 9069). */
export { BmpMonitor } from './monitor.ts';
export type { BmpHost } from './station.ts';
export * from './types.ts';
