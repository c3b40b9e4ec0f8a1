export * from './clock.ts';
export * from './delta-tracker.ts';
export * from './errors.ts';
export * from './ip.ts';
export * from './lifecycle.ts';
export * from './log.ts';
export * from './nearest.ts';
export * from './secret.ts';
