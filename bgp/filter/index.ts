export { changeAttributes } from './attributes.ts';
export { type CompiledFilter, compileFilter, rejected } from './compile.ts';
export type * from './types.ts';
