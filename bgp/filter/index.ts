export type { NextHopChange } from './change.ts';
export { formatExtendedCommunity } from './community.ts';
export { type CompiledFilter, compileFilter, type FilterState, termFault } from './compile.ts';
export { namePattern } from './conditions.ts';
export { ownRoute, type RouteOrigins } from './route-view.ts';
export * from './types.ts';
