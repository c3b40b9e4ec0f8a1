export * from './health.ts';
export * from './limits.ts';
export * from './logger.ts';
export * from './metrics.ts';
