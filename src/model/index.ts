export * from './cluster-policy.ts';
export * from './objects.ts';
export * from './policy.ts';
export * from './pools.ts';
export * from './routes.ts';
