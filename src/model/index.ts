export * from './objects.ts';
export * from './policy.ts';
export * from './routes.ts';
