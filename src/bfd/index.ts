/** BFD with real sockets, in a process of its own. */
export { type BfdProcess, createBfdProcess } from './process.ts';
export type { BfdTiming } from './protocol.ts';
