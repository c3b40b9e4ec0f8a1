export * from './calico-policy.ts';
export * from './cluster-policy.ts';
export * from './objects.ts';
export * from './policy.ts';
export * from './pools.ts';
export * from './routes.ts';
export { parseSelector, type SelectorError } from './selector/parse.ts';
export * from './selector/selector.ts';
export * from './staged-policy.ts';
